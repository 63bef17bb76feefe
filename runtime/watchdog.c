/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "runtime/vm.h"

#include <string.h>

enum {
	CALM_SEC = 600, /* a run this long starts the count of restarts afresh */
	RETRY_SEC = 1,
	DEFAULT_INITIAL_BACKOFF_SEC = 1,
	DEFAULT_MAX_BACKOFF_SEC = 300,
};

const StopLadder vm_default_ladder = { 10 * (int64_t)USEC_PER_SEC, 10 * (int64_t)USEC_PER_SEC,
				       5 * (int64_t)USEC_PER_SEC };

/* The VMM whose end is waited for; its notice may come late, when another runs. */
typedef struct ExitWatch {
	Vm *vm;
	uint64_t run;
} ExitWatch;

static void release_vm(void *user)
{
	vm_unref(user);
}

/* Puts @source in the place of what *@slot holds. A VM that is gone gets none any more. */
static void replace(Vm *vm, LoopSource **slot, LoopSource *source)
{
	LoopSource *old;

	lock_take(&vm->lock);
	old = *slot;
	if (vm->gone && source)
		old = source;
	else
		*slot = source;
	lock_drop(&vm->lock);
	loop_remove(vm->runtime->loop, old);
}

static void on_exit_noticed(void *user)
{
	const ExitWatch *watch = user;

	vm_look_into_exit(watch->vm, watch->run);
}

static void release_watch(void *user)
{
	ExitWatch *watch = user;

	vm_unref(watch->vm);
	free(watch);
}

/* Whatever is still to be said of an earlier VMM's end is void. */
static uint64_t next_run(Vm *vm)
{
	uint64_t run;

	lock_take(&vm->lock);
	run = ++vm->run;
	vm->exit_pending = false;
	lock_drop(&vm->lock);
	return run;
}

void vm_watch_exit(Vm *vm, int fd)
{
	ExitWatch *watch = new0(ExitWatch);
	LoopSource *source;

	*watch = (ExitWatch){ vm_ref(vm), next_run(vm) };
	source = loop_add(vm->runtime->loop, fd, on_exit_noticed, release_watch, watch);
	if (!source) { /* out of descriptors: the sweep looks again */
		closep(&fd);
		release_watch(watch);
		return;
	}
	replace(vm, &vm->exit_source, source);
}

void vm_unwatch_exit(Vm *vm)
{
	(void)next_run(vm);
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

/* However often it has been started; at least as long as a refused start waits. */
static int64_t longest_backoff(const VmRestartPolicy *policy)
{
	int64_t most = (int64_t)RETRY_SEC * USEC_PER_SEC;
	int64_t longest = policy ? backoff_of(policy, UINT32_MAX) : 0;

	return longest > most ? longest : most;
}

static void on_restart(void *user)
{
	vm_restart(user);
}

void vm_arm_restart(Vm *vm, int64_t when)
{
	int64_t delay = when - clock_wall_us(), most;
	LoopSource *source;

	/* The clock may have been put back since @when was set. */
	lock_take(&vm->lock);
	most = longest_backoff(vm->latest->spec->restart_policy);
	lock_drop(&vm->lock);
	if (delay > most)
		delay = most;
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
	if (!expires_at)
		return;
	if (expires_at > clock_wall_us()) { /* changed meanwhile, or the clock was */
		vm_arm_expiry(vm);
		return;
	}

	operation = operation_new(vm, op, "expire", "hearthd");
	operation->ladder = vm_default_ladder;
	vm_request(operation, NULL);
}

static void arm_expiry(Vm *vm, int64_t not_before)
{
	LoopSource *source = NULL;
	int64_t expires_at;

	lock_take(&vm->lock);
	expires_at = vm->latest->spec->expires_at;
	lock_drop(&vm->lock);
	if (expires_at) {
		expires_at = expires_at > not_before ? expires_at : not_before;
		source = loop_at(vm->runtime->loop, expires_at, on_expiry, release_vm, vm_ref(vm));
		if (!source)
			vm_unref(vm);
	}
	replace(vm, &vm->expire_source, source);
}

void vm_arm_expiry(Vm *vm)
{
	arm_expiry(vm, 0);
}

void vm_try_again(Vm *vm, const Operation *operation)
{
	int64_t soon = clock_wall_us() + (int64_t)RETRY_SEC * USEC_PER_SEC;

	if (operation->by_policy)
		vm_arm_restart(vm, soon);
	else if (strcmp(operation->verb, "expire") == 0)
		arm_expiry(vm, soon);
}

void vm_catch_up(Vm *vm)
{
	int64_t now = clock_wall_us(), restart_at, expires_at;
	bool restart, expire;

	lock_take(&vm->lock);
	restart_at = vm->latest->status.next_restart_time;
	expires_at = vm->latest->spec->expires_at;
	restart = vm->latest->status.state == VM_BACKOFF && !vm->running &&
		  restart_at + (int64_t)RETRY_SEC * USEC_PER_SEC < now;
	expire = expires_at && (expires_at < now || !vm->expire_source);
	lock_drop(&vm->lock);
	if (restart)
		vm_arm_restart(vm, now);
	if (expire)
		vm_arm_expiry(vm);
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
