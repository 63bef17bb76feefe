/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "runtime/vm.h"

enum {
	CALM_SEC = 600, /* a run this long starts the count of restarts afresh */
	DEFAULT_INITIAL_BACKOFF_SEC = 1,
	DEFAULT_MAX_BACKOFF_SEC = 300,
};

const StopLadder vm_default_ladder = { 10 * USEC_PER_SEC, 5 * USEC_PER_SEC };

static void release_vm(void *user)
{
	vm_unref(user);
}

/* Puts @source in the place of what *@slot holds. */
static void replace(Vm *vm, LoopSource **slot, LoopSource *source)
{
	LoopSource *old;

	lock_take(&vm->lock);
	old = *slot;
	*slot = source;
	lock_drop(&vm->lock);
	loop_remove(vm->runtime->loop, old);
}

static void on_exit_noticed(void *user)
{
	vm_run_errand(user, ERRAND_EXIT, false);
}

void vm_watch_exit(Vm *vm, int fd)
{
	LoopSource *source =
		loop_add(vm->runtime->loop, fd, on_exit_noticed, release_vm, vm_ref(vm));

	if (!source) { /* out of descriptors: the sweep looks again */
		closep(&fd);
		vm_unref(vm);
		return;
	}
	replace(vm, &vm->exit_source, source);
}

void vm_unwatch_exit(Vm *vm)
{
	replace(vm, &vm->exit_source, NULL);
}

static void on_restart(void *user)
{
	Vm *vm = user;
	Operation *operation = operation_new(vm, VM_OP_START, "restart", "hearthd");

	operation->by_policy = true;
	operation->keep_desired = true;
	lock_take(&vm->lock);
	operation->then_pause = spec_desired(vm->latest->spec) == VM_DESIRED_PAUSED;
	lock_drop(&vm->lock);
	vm_request(operation, NULL);
}

void vm_arm_restart(Vm *vm, int64_t when)
{
	int64_t delay = when - clock_wall_us();
	LoopSource *source;

	source = loop_after(vm->runtime->loop, delay > 0 ? delay : 0, on_restart, release_vm,
			    vm_ref(vm));
	if (!source)
		vm_unref(vm);
	replace(vm, &vm->restart_source, source);
}

static void on_expiry(void *user)
{
	Vm *vm = user;
	VmOp op = VM_OP_STOP;
	Operation *operation;
	int64_t expires_at;

	lock_take(&vm->lock);
	expires_at = vm->latest->spec->expires_at;
	if (vm->latest->spec->expire_action == VM_EXPIRE_DESTROY)
		op = VM_OP_DESTROY;
	lock_drop(&vm->lock);
	if (!expires_at || expires_at > clock_wall_us())
		return;

	operation = operation_new(vm, op, "expire", "hearthd");
	operation->ladder = vm_default_ladder;
	vm_request(operation, NULL);
}

void vm_arm_expiry(Vm *vm)
{
	LoopSource *source = NULL;
	int64_t expires_at;

	lock_take(&vm->lock);
	expires_at = vm->latest->spec->expires_at;
	lock_drop(&vm->lock);
	if (expires_at) {
		source = loop_at(vm->runtime->loop, expires_at, on_expiry, release_vm, vm_ref(vm));
		if (!source)
			vm_unref(vm);
	}
	replace(vm, &vm->expire_source, source);
}

void vm_disarm(Vm *vm)
{
	replace(vm, &vm->restart_source, NULL);
}

void vm_forget(Vm *vm)
{
	replace(vm, &vm->restart_source, NULL);
	replace(vm, &vm->expire_source, NULL);
	replace(vm, &vm->exit_source, NULL);
}

static int64_t backoff_of(const VmRestartPolicy *policy, uint32_t restarts)
{
	int64_t wait = policy->initial_backoff;
	int64_t most = policy->max_backoff;

	if (!wait)
		wait = (int64_t)DEFAULT_INITIAL_BACKOFF_SEC * USEC_PER_SEC;
	if (!most)
		most = (int64_t)DEFAULT_MAX_BACKOFF_SEC * USEC_PER_SEC;
	if (most < wait) /* by default the longest is not below the first */
		most = wait;
	for (uint32_t i = 0; i < restarts && wait < most; i++)
		wait *= 2;
	return wait < most ? wait : most;
}

bool vm_apply_restart_policy(VmRecord *record, bool failure, int64_t run_started)
{
	const VmRestartPolicy *policy = record->spec->restart_policy;
	int64_t now = clock_wall_us();

	if (!policy || spec_desired(record->spec) == VM_DESIRED_STOPPED)
		return false;
	if (policy->mode != VM_RESTART_ALWAYS &&
	    !(policy->mode == VM_RESTART_ON_FAILURE && failure))
		return false;
	if (run_started && now - run_started >= (int64_t)CALM_SEC * USEC_PER_SEC)
		record->status.restart_count = 0;
	if (policy->max_restarts && record->status.restart_count >= policy->max_restarts)
		return false;

	record->status.next_restart_time = now + backoff_of(policy, record->status.restart_count);
	record->status.restart_count++;
	return true;
}
