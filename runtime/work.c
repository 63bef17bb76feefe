/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/guest_ask.h"
#include "runtime/run_record.h"
#include "runtime/vm_snapshot.h"

#include <string.h>

enum {
	CLOCK_PATIENCE = 2 * USEC_PER_SEC
};

/* An operation's work: 0 or -1, on the claimed VM, without a lock. */
typedef int WorkFn(Operation *operation, Error *err);

static const BackendOps *ops_of(const Operation *operation)
{
	return operation->vm->backend->ops;
}

static int unsupported(const Operation *operation, Error *err)
{
	return error_set(err, ERROR_UNSUPPORTED, "%s (%s)", operation->verb,
			 vm_backend_name(ops_of(operation)->id));
}

/* Ends the VMM, if there is one, and notes how it ended. */
static int end_vmm(Operation *operation, const StopLadder *ladder, Error *err)
{
	Vm *vm = operation->vm;

	vm_disarm(vm);
	vm_unwatch_exit(vm);
	if (ops_of(operation)->stop(vm->backend, &operation->job, ladder, err) < 0)
		return -1;
	operation->has_exit = operation->from == VM_RUNNING || operation->from == VM_PAUSED;
	if (operation->has_exit)
		ops_of(operation)->read_exit(vm->backend, &operation->job, &operation->exit);
	return 0;
}

/* From now on the VMM's end is noticed. */
static int watch_vmm(Operation *operation, Error *err)
{
	Vm *vm = operation->vm;
	int fd = -1;

	if (ops_of(operation)->exit_fd(vm->backend, &operation->job, &fd, err) < 0)
		return -1;
	if (fd >= 0)
		vm_watch_exit(vm, fd);
	return 0;
}

/* Its guest runs, or is about to. */
static int finish_start(Operation *operation, Error *err)
{
	if (watch_vmm(operation, err) < 0)
		return -1;
	if (!operation->job.restore)
		return 0;
	operation->resolved.restored = true;
	operation->resolved.identity_shared = true;
	if (!operation->then_pause)
		return restore_make_fresh(operation, err);
	operation->then_pause = false;
	operation->rule.done = VM_PAUSED;
	return 0;
}

static int work_start(Operation *operation, Error *err)
{
	const StopLadder kill_at_once = STOP_AT_ONCE;
	Vm *vm = operation->vm;
	Error ignored = { 0 };
	int r;

	vm->rebooted = false;
	if (operation->resumed &&
	    ops_of(operation)->stop(vm->backend, &operation->job, &kill_at_once, err) < 0) {
		operation->job.poisoned = true; /* what the earlier agent started may be alive */
		return -1;
	}
	if (!restore_is_due(operation->spec, &operation->resolved))
		restore_forget(&operation->resolved);
	else if (restore_prepare(operation, err) < 0)
		return -1;
	if (ops_of(operation)->capabilities & BACKEND_PROCESS) {
		r = file_make_dirs(operation->run_dir);
		if (r < 0)
			return error_set_errno(err, ERROR_VMM_FAILED, -r, "make %s",
					       operation->run_dir);
		if (disks_make(operation->runtime, &operation->job, err) < 0)
			return -1;
	}
	if (ops_of(operation)->start(vm->backend, &operation->job, err) < 0)
		return -1;
	if (finish_start(operation, err) == 0)
		return 0;
	vm_unwatch_exit(vm);
	if (ops_of(operation)->stop(vm->backend, &operation->job, &kill_at_once, &ignored) < 0)
		operation->job.poisoned = true;
	return -1;
}

/* The daemon in the guest, if there is one and it can be talked to now; a reference. */
static GuestLink *find_guest(Vm *vm)
{
	GuestLink *link;

	lock_take(&vm->lock);
	link = guest_link_ref(vm->guest);
	lock_drop(&vm->lock);
	if (!link || guest_link_is_open(link))
		return link;
	guest_link_unref(link);
	return NULL;
}

static int work_stop(Operation *operation, Error *err)
{
	if (operation->from == VM_RUNNING)
		operation->job.guest = find_guest(operation->vm);
	return end_vmm(operation, &operation->ladder, err);
}

int vm_watch_if_resumed(Operation *operation, Error *err)
{
	if (!operation->resumed)
		return 0;
	if (operation->vm->rebooted)
		(void)error_set(err, ERROR_VMM_FAILED, "the host was rebooted");
	else if (watch_vmm(operation, err) == 0)
		return 0;
	lock_take(&operation->vm->lock);
	operation->vm->exit_pending = true;
	lock_drop(&operation->vm->lock);
	return -1;
}

static int work_pause(Operation *operation, Error *err)
{
	if (!ops_of(operation)->pause)
		return unsupported(operation, err);
	if (vm_watch_if_resumed(operation, err) < 0)
		return -1;
	return ops_of(operation)->pause(operation->vm->backend, &operation->job, err);
}

void vm_step_clock(Operation *operation)
{
	cleanup_(guest_link_unrefp) GuestLink *guest = find_guest(operation->vm);
	const GuestQuery query = {
		.timeout = CLOCK_PATIENCE,
		.cancel_fd = operation->job.cancel_fd,
		.vmm = -1,
	};
	Error ignored = { 0 };

	if (!guest)
		return;
	job_step(&operation->job, "guest_clock");
	(void)!guest_set_clock(guest, &query, &ignored);
}

bool vm_has_vmm(Operation *operation)
{
	VmState seen = VM_STATE_UNSET;
	Error ignored = { 0 };
	int r = ops_of(operation)->look(operation->vm->backend, &operation->job, &seen, &ignored);

	return r < 0 || seen != VM_STOPPED;
}

/* It stands still again. */
static void undo_resume(Operation *operation)
{
	int cancel_fd = operation_hold(operation);
	Error left = { 0 };

	if (ops_of(operation)->pause(operation->vm->backend, &operation->job, &left) < 0)
		operation->job.poisoned = vm_has_vmm(operation);
	operation_let_go(operation, cancel_fd);
}

int vm_resume(Operation *operation, Error *err)
{
	if (ops_of(operation)->resume(operation->vm->backend, &operation->job, err) < 0)
		return -1;
	if (restore_make_fresh(operation, err) < 0) {
		undo_resume(operation);
		return -1;
	}
	vm_step_clock(operation);
	return 0;
}

static int work_resume(Operation *operation, Error *err)
{
	if (!ops_of(operation)->resume)
		return unsupported(operation, err);
	if (vm_watch_if_resumed(operation, err) < 0)
		return -1;
	return vm_resume(operation, err);
}

static int work_destroy(Operation *operation, Error *err)
{
	const StopLadder kill_at_once = STOP_AT_ONCE;
	Runtime *runtime = operation->runtime;
	int r;

	if (end_vmm(operation, &kill_at_once, err) < 0)
		return -1;
	r = ops_of(operation)->capabilities & BACKEND_PROCESS ? file_remove_tree(operation->run_dir)
							      : 0;
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "remove %s", operation->run_dir);
	drives_release(runtime, take_ptr(operation->vm->drives));
	drives_release(runtime, take_ptr(operation->vm->doubtful_drives));
	return 0;
}

/* clang-format off */
static WorkFn *const works[VM_OP_COUNT_] = {
	[VM_OP_START]   = work_start,
	[VM_OP_STOP]    = work_stop,
	[VM_OP_PAUSE]   = work_pause,
	[VM_OP_RESUME]  = work_resume,
	[VM_OP_UPDATE]  = vm_work_update,
	[VM_OP_SNAPSHOT] = vm_work_snapshot,
	[VM_OP_DESTROY] = work_destroy,
};
/* clang-format on */

/* The VMM ended by itself. */
static void work_exit(Operation *operation)
{
	Vm *vm = operation->vm;

	vm_unwatch_exit(vm);
	ops_of(operation)->read_exit(vm->backend, &operation->job, &operation->exit);
	operation->has_exit = true;
	if (vm->rebooted)
		operation->exit.reason = EXIT_HOST_REBOOT;
}

/* Its policy too: one that was being changed is as the spec has it afterwards. What is wrong is
 * told with the adoption; the filter lets nothing pass that it does not know. */
static void rejoin_network(Operation *operation)
{
	Error err = { 0 };

	if (network_attach(operation->vm->backend->network, &operation->job, &err) < 0 &&
	    !error_is_set(&operation->error))
		operation->error = err;
}

/* A VMM that is silent, or that this agent lacks the means to look for, has not ended for that. */
static bool says_nothing(const Error *err)
{
	return err->cause == CAUSE_TIMEOUT || err->cause == CAUSE_EXHAUSTED;
}

/* What became of a VM that ran when an earlier agent died. While nobody can tell, nobody waits for
 * its end either: the sweep looks again. */
static void work_recover(Operation *operation)
{
	Vm *vm = operation->vm;
	Error err = { 0 };

	if (vm->rebooted ||
	    ops_of(operation)->look(vm->backend, &operation->job, &operation->seen, &err) < 0 ||
	    operation->seen == VM_STOPPED || watch_vmm(operation, &err) < 0) {
		operation->unseen = error_is_set(&err) && says_nothing(&err);
		if (operation->unseen)
			operation->error = err;
		else
			work_exit(operation);
	}
	if (!operation->unseen)
		vm_end_interrupted_update(operation);
	if (!operation->has_exit)
		rejoin_network(operation);
}

static void prepare(Operation *operation)
{
	Vm *vm = operation->vm;
	Job *job = &operation->job;
	cleanup_(spec_unrefp) VmSpec *spec = NULL;

	operation->run_dir = vm_run_dir(vm);
	lock_take(&vm->lock);
	spec = spec_ref(vm->latest->spec);
	fields_copy(&vm_resolved_table, &operation->resolved, vm->latest->status.resolved);
	lock_drop(&vm->lock);
	operation->spec = disks_host_spec(spec, operation->run_dir);

	job->vm_id = vm->id;
	job->run_dir = operation->run_dir;
	job->spec = operation->spec;
	job->resolved = &operation->resolved;
	job->backend = vm->backend;
}

/* The VMM runs as @operation has left it: for a store that has to be made again. */
static void note_run(const Operation *operation)
{
	Vm *vm = operation->vm;
	cleanup_(record_unrefp) VmRecord *record = NULL;

	if (!(ops_of(operation)->capabilities & BACKEND_PROCESS))
		return;
	lock_take(&vm->lock);
	record = record_copy(vm->latest);
	lock_drop(&vm->lock);
	if (operation->op == VM_OP_UPDATE) {
		vm_apply_update(record, operation);
	} else {
		vm_set_state(record, VM_RUNNING);
		record->status.observed_generation = record->generation;
	}
	fields_clear(&vm_resolved_table, record->status.resolved);
	fields_copy(&vm_resolved_table, record->status.resolved, &operation->resolved);
	(void)!run_record_write(operation->run_dir, record); /* the store is the truth */
}

/* Does @op leave a VMM that is not as it was? */
static bool changes_run(VmOp op)
{
	return op == VM_OP_START || op == VM_OP_UPDATE;
}

void operation_run(Work *work)
{
	Operation *operation = container_of(work, Operation, work);

	prepare(operation);
	if (operation->errand == ERRAND_EXIT)
		work_exit(operation);
	else if (operation->errand == ERRAND_RECOVER)
		work_recover(operation);
	else if (operation->satisfied)
		; /* it is in the intent */
	else if (works[operation->op](operation, &operation->error) < 0 &&
		 operation->op == VM_OP_START)
		operation->resolved.vmm_pid = operation->resolved.keeper_pid = 0;
	else if (changes_run(operation->op) && !error_is_set(&operation->error))
		note_run(operation);
	vm_settle(operation);
}

Workers *operation_lane(const Operation *operation)
{
	Runtime *runtime = operation->runtime;
	bool urgent = operation->op == VM_OP_STOP || operation->op == VM_OP_DESTROY ||
		      operation->errand == ERRAND_EXIT;

	return urgent ? runtime->urgent : runtime->operations;
}
