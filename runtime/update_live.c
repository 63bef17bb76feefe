/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/spec_files.h"
#include "runtime/vm.h"

#include <errno.h>

/*
 * UpdateVm of what a VMM, or a network, has to be told of while it is there: an operation. Its
 * intent leaves the spec alone, so that an agent that dies in it is followed by
 * one that has the whole of what holds; its outcome has the new spec, or the
 * old one and why.
 */

/* Is another disk among @next's drives than among @spec's, which are as many? */
static bool names_other_disks(const VmSpec *spec, const VmSpec *next)
{
	for (size_t i = 0; i < next->drives.count; i++)
		if (!text_equal(spec_drive(spec, i)->path, spec_drive(next, i)->path))
			return true;
	return false;
}

static int check_files(const VmSpec *spec, const VmSpec *next, const char *image_dirs, Error *err)
{
	for (size_t i = 0; i < next->drives.count; i++)
		if (!text_equal(spec_drive(spec, i)->path, spec_drive(next, i)->path))
			spec_files_check_drive(next, i, image_dirs, err);
	return error_is_set(err) ? -1 : 0;
}

int vm_check_live(Vm *vm, const VmSpec *spec, const VmSpec *next, DriveClaim **drives, Error *err)
{
	const BackendOps *ops = vm->backend->ops;
	unsigned vmms = spec_update_difference(spec, next, RUNTIME_UPDATE_VMM);

	if (vm_check_network(vm->runtime, vm->backend, next, err) < 0)
		return -1;
	if (!vmms)
		return 0;
	if (!ops->update)
		return error_set(err, ERROR_UNSUPPORTED, "update of %s (%s)",
				 spec_update_name(vmms), vm_backend_name(ops->id));
	if (spec_update_check_live(spec, next, err) < 0)
		return -1;
	if ((ops->capabilities & BACKEND_PROCESS) &&
	    check_files(spec, next, vm->runtime->config.backend.image_dirs, err) < 0)
		return -1;
	if (!names_other_disks(spec, next))
		return 0;
	return drives_claim(vm->runtime, vm->id, next, CLAIM_FOR_LIVE, drives, err);
}

bool vm_may_begin(VmState state, VmOp op)
{
	return vm_rule(state, op)->answer == VM_GO &&
	       (op != VM_OP_UPDATE || vm_state_has_vmm(state));
}

int vm_claim_update(Operation *operation, const VmCall *call, const VmSpec *spec, Error *err)
{
	Vm *vm = operation->vm;
	VmState state;
	int r;

	if (vm_check_queue(operation, err) < 0)
		return -1;
	lock_take(&vm->lock);
	state = vm->latest->status.state;
	r = vm_may_update(vm, call, err);
	if (r == 0 && (vm->latest->spec != spec || !vm_may_begin(state, VM_OP_UPDATE)))
		r = -EAGAIN;
	if (r == 0 && vm->next)
		r = error_set_transition(err, vm->id, vm_state_name(vm_op_busy(vm->next->op)),
					 vm_op_goal(VM_OP_UPDATE));
	if (r == 0 && vm->running)
		vm->next = operation;
	else if (r == 0)
		vm_begin(vm, operation, vm_rule(state, VM_OP_UPDATE));
	lock_drop(&vm->lock);
	return r;
}

static int set_policy(Vm *vm, Job *job, const VmSpec *to, Error *err)
{
	if (!spec_update_difference(job->spec, to, RUNTIME_UPDATE_EGRESS))
		return 0;
	job_step(job, "policy");
	return network_set_policy(vm->backend->network, job->resolved, to, err);
}

/* First the policy, because it is undone in one step. */
static int carry_out(Vm *vm, Job *job, const VmSpec *to, Error *err)
{
	Error left = { 0 };

	if (set_policy(vm, job, to, err) < 0)
		return -1;
	if (!spec_update_difference(job->spec, to, RUNTIME_UPDATE_VMM) ||
	    vm->backend->ops->update(vm->backend, job, to, err) == 0)
		return 0;
	if (spec_update_difference(job->spec, to, RUNTIME_UPDATE_EGRESS) &&
	    network_set_policy(vm->backend->network, job->resolved, job->spec, &left) < 0)
		job->poisoned = true;
	return -1;
}

int vm_work_update(Operation *operation, Error *err)
{
	Vm *vm = operation->vm;
	Job *job = &operation->job;
	cleanup_(spec_unrefp) VmSpec *asked =
		spec_updated(job->spec, operation->update, operation->update_mask);
	cleanup_(spec_unrefp) VmSpec *to = disks_host_spec(asked, job->run_dir);

	if (carry_out(vm, job, to, err) < 0) {
		if (job->poisoned)
			vm->doubtful_drives = take_ptr(operation->drives);
		return -1;
	}
	if (operation->drives) { /* the old ones are held until the outcome is durable */
		DriveClaim *before = vm->drives;

		vm->drives = operation->drives;
		operation->drives = before;
	}
	return 0;
}

void vm_apply_update(VmRecord *record, const Operation *operation)
{
	VmSpec *spec = spec_updated(record->spec, operation->update, operation->update_mask);

	spec_unref(record->spec);
	record->spec = spec;
	if (record->status.observed_generation == record->generation)
		record->status.observed_generation++;
	record->generation++;
}

void vm_end_interrupted_update(Operation *operation)
{
	Vm *vm = operation->vm;
	const BackendOps *ops = vm->backend->ops;
	Job *job = &operation->job;
	bool interrupted;

	lock_take(&vm->lock);
	interrupted = vm->latest->status.operation;
	lock_drop(&vm->lock);
	if (!interrupted)
		return;
	job->whole = true;
	if (!operation->has_exit && ops->update &&
	    ops->update(vm->backend, job, job->spec, &operation->error) < 0)
		return;
	(void)error_set(&operation->error, ERROR_VMM_FAILED,
			"the agent ended while it was carried out%s",
			operation->has_exit ? "" : "; undone");
}
