/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm.h"

/*
 * Restarts that a policy asks for: only so many at a time, in the order in
 * which their moments came, so that a node whose VMs all ended together (it was
 * rebooted) does not start them all together. A VM that waits for its turn is
 * in BACKOFF still, and whatever else is asked of it is done at once.
 */

void runtime_restart_begins(Runtime *runtime)
{
	lock_take(&runtime->lock);
	runtime->restarting++;
	lock_drop(&runtime->lock);
}

/* The moment that @vm waits for; 0: none. */
static int64_t moment_of(Vm *vm)
{
	int64_t moment;

	lock_take(&vm->lock);
	moment = vm->latest->status.next_restart_time;
	lock_drop(&vm->lock);
	return moment;
}

/* Is it still to be restarted? It may have been started, stopped or destroyed while it waited, or
 * wait for another moment now. (What time it is says nothing: the clock may have been put back.) */
static bool is_due(Vm *vm, bool *then_pause)
{
	bool due;

	lock_take(&vm->lock);
	due = !vm->gone && vm->latest->status.state == VM_BACKOFF &&
	      vm->latest->status.next_restart_time == vm->turn_for;
	*then_pause = spec_desired(vm->latest->spec) == VM_DESIRED_PAUSED;
	lock_drop(&vm->lock);
	return due;
}

static void restart(Vm *vm)
{
	Operation *operation;
	bool then_pause;

	if (!is_due(vm, &then_pause))
		return;
	runtime_restart_begins(vm->runtime);
	operation = operation_new(vm, VM_OP_START, "restart", "hearthd");
	operation->by_policy = true;
	operation->keep_desired = true;
	operation->then_pause = then_pause;
	vm_request(operation, NULL);
}

/* The next one whose turn it is; NULL: none is let in, by this thread. */
static Vm *take_next(Runtime *runtime)
{
	Vm *vm = NULL;

	lock_take(&runtime->lock);
	if (runtime->restarting < runtime->config.max_restarts)
		vm = runtime->restart_first;
	if (vm) {
		runtime->restart_first = vm->restart_next;
		if (!runtime->restart_first)
			runtime->restart_last = NULL;
		vm->restart_next = NULL;
		vm->awaits_turn = false;
	}
	runtime->lets_in = vm != NULL;
	lock_drop(&runtime->lock);
	return vm;
}

/* One thread at a time lets in, and sees to what others add or end meanwhile: a restart that ends
 * at once, inside this very function, must not call it again. */
static void let_in(Runtime *runtime)
{
	bool another;
	Vm *vm;

	lock_take(&runtime->lock);
	another = runtime->lets_in || runtime->closing;
	runtime->lets_in = true;
	lock_drop(&runtime->lock);
	if (another)
		return;
	while ((vm = take_next(runtime))) {
		restart(vm);
		vm_unref(vm);
	}
}

void vm_restart(Vm *vm)
{
	Runtime *runtime = vm->runtime;
	int64_t moment = moment_of(vm);

	lock_take(&runtime->lock);
	vm->turn_for = moment;
	if (!vm->awaits_turn && !runtime->closing) {
		vm->awaits_turn = true;
		if (runtime->restart_last)
			runtime->restart_last->restart_next = vm_ref(vm);
		else
			runtime->restart_first = vm_ref(vm);
		runtime->restart_last = vm;
	}
	lock_drop(&runtime->lock);
	let_in(runtime);
}

void runtime_restart_over(Runtime *runtime)
{
	lock_take(&runtime->lock);
	runtime->restarting--;
	lock_drop(&runtime->lock);
	let_in(runtime);
}

void runtime_end_restarts(Runtime *runtime)
{
	Vm *vm;

	lock_take(&runtime->lock);
	runtime->closing = true;
	vm = take_ptr(runtime->restart_first);
	runtime->restart_last = NULL;
	lock_drop(&runtime->lock);
	while (vm) {
		Vm *next = vm->restart_next;

		vm_unref(vm);
		vm = next;
	}
}
