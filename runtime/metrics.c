/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

enum {
	ASKING_MAX = 8, /* at once of one VM; Firecracker takes ten connections */
};

/* What a VM's VMM counts. It claims nothing: the VM may end, or be destroyed, meanwhile. */

/* The operations' steps are not for one that only looks. */
static int ask(Vm *vm, const VmRecord *record, bool cached, VmMetrics *ret, Error *err)
{
	cleanup_free char *run_dir = vm_run_dir(vm);
	VmResolved resolved = { 0 };
	Job job = {
		.vm_id = vm->id,
		.run_dir = run_dir,
		.spec = record->spec,
		.resolved = &resolved,
		.cancel_fd = -1,
		.backend = vm->backend,
	};
	int r;

	/* One that is silent is not to have the threads of all others. */
	if (atomic_fetch_add(&vm->asking, 1) >= ASKING_MAX) {
		atomic_fetch_sub(&vm->asking, 1);
		return error_set_cause(err, ERROR_METRICS, CAUSE_EXHAUSTED,
				       "%d calls wait for its VMM already", ASKING_MAX);
	}
	fields_copy(&vm_resolved_table, &resolved, record->status.resolved);
	r = vm->backend->ops->metrics(vm->backend, &job, cached, ret, err);
	fields_clear(&vm_resolved_table, &resolved);
	atomic_fetch_sub(&vm->asking, 1);
	return r;
}

int runtime_get_metrics(Runtime *runtime, const char *vm_id, const char *expected_uid, bool cached,
			VmMetrics *ret, Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	cleanup_(vm_unrefp) Vm *vm = NULL;

	if (runtime_get_vm(runtime, vm_id, expected_uid, &record, err) < 0)
		return -1;
	vm = vm_find(runtime, vm_id);
	if (!vm || !text_equal(vm->uid, record->uid))
		return error_set_vm(err, ERROR_VM_NOT_FOUND, vm_id);
	if (!vm->backend->ops->metrics)
		return error_set(err, ERROR_UNSUPPORTED, "metrics (%s)",
				 vm_backend_name(vm->backend->ops->id));
	if (!vm_state_has_vmm(record->status.state))
		return error_set(err, ERROR_METRICS, "the vm is %s: no VMM runs",
				 vm_state_name(record->status.state));
	text_copy(ret->uid, sizeof ret->uid, vm->uid);
	return ask(vm, record, cached, ret, err);
}
