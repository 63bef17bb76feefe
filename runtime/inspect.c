/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm.h"

/* A refused request on its way to hear what the host has against it as well. */
typedef struct Inspection {
	Work work;
	Runtime *runtime;
	VmSpec *spec;
	Error found;
	VmReply *reply;
	void *user;
} Inspection;

static void inspect(Work *work)
{
	Inspection *inspection = container_of(work, Inspection, work);
	VmBackend id = inspection->spec->backend;
	Backend *backend;
	Error more = { 0 };

	if (!id)
		id = inspection->runtime->config.default_backend;
	backend = id < VM_BACKEND_COUNT_ ? inspection->runtime->backends[id] : NULL;
	if (inspection->spec->drives.count > SPEC_DRIVES_MAX)
		backend = NULL; /* not worth a look at each */
	if (backend && vm_check_spec(inspection->runtime, backend, inspection->spec, &more) < 0)
		error_merge_violations(&inspection->found, &more);
	inspection->reply(inspection->user, NULL, &inspection->found);
	spec_unref(inspection->spec);
	free(inspection);
}

void runtime_inspect_spec(Runtime *runtime, VmSpec *spec, const Error *found, VmReply *reply,
			  void *user)
{
	Inspection *inspection = new0(Inspection);

	inspection->runtime = runtime;
	inspection->spec = spec_ref(spec);
	inspection->found = *found;
	inspection->reply = reply;
	inspection->user = user;
	inspection->work.run = inspect;
	workers_submit(runtime->desk, &inspection->work);
}
