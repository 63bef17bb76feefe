/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <string.h>

/* A refused request on its way to hear what the host has against it as well. */
typedef struct Inspection {
	Work work;
	Runtime *runtime;
	VmSpec *spec;
	Error found;
	VmReply *reply;
	void *user;
} Inspection;

static bool is_found(const Error *err, const char *field)
{
	const char *other, *description;
	uint32_t at = 0;

	while (error_next_violation(err, &at, &other, &description))
		if (strcmp(other, field) == 0)
			return true;
	return false;
}

/* Adds @more's violations to @err's, but for fields that have one. */
static void add_violations(Error *err, const Error *more)
{
	const char *field, *description;
	uint32_t at = 0;

	while (error_next_violation(more, &at, &field, &description))
		if (!is_found(err, field))
			(void)error_add_violation(err, field, "%s", description);
}

static void inspect(Work *work)
{
	Inspection *inspection = container_of(work, Inspection, work);
	VmBackend id = inspection->spec->backend;
	Backend *backend;
	Error more = { 0 };

	if (!id)
		id = inspection->runtime->config.default_backend;
	backend = inspection->runtime->backends[id];
	if (inspection->spec->drives.count > SPEC_DRIVES_MAX)
		backend = NULL; /* not worth a look at each */
	if (backend && backend->ops->check(backend, inspection->spec, &more) < 0)
		add_violations(&inspection->found, &more);
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
