/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <string.h>

/*
 * What an earlier agent left. VMs at rest need nothing; those that ran are
 * looked for; an interrupted operation is carried on where its intent says, as
 * the same operation: repeating a step that was done already is harmless, by
 * the backends' contract. An interrupted update of a VM that runs is undone: its
 * intent does not say what it was to be.
 */

/* Which operation a busy state belongs to, and the state its rule is that of. */
/* clang-format off */
static const struct {
	VmOp op;
	VmState from;
} interrupted[VM_STATE_COUNT_] = {
	[VM_STARTING]   = { VM_OP_START,   VM_STOPPED },
	[VM_PAUSING]    = { VM_OP_PAUSE,   VM_RUNNING },
	[VM_RESUMING]   = { VM_OP_RESUME,  VM_PAUSED },
	[VM_STOPPING]   = { VM_OP_STOP,    VM_RUNNING },
	[VM_DESTROYING] = { VM_OP_DESTROY, VM_RUNNING },
	[VM_SNAPSHOTTING] = { VM_OP_SNAPSHOT, VM_RUNNING }, /* or paused, as the spec says */
};
/* clang-format on */

static const char *verb_of(const VmRecord *record)
{
	/* Verbs are literals of this program: find the one the store has as text. */
	static const char *const verbs[] = { "create",  "start",   "stop",   "pause",   "resume",
					     "destroy", "restart", "expire", "snapshot" };
	const VmOperation *shown = record->status.operation;

	for (size_t i = 0; shown && shown->verb && i < array_size(verbs); i++)
		if (strcmp(verbs[i], shown->verb) == 0)
			return verbs[i];
	return "recover";
}

/* Carries the interrupted operation of @vm on. */
static void carry_on(Vm *vm)
{
	const VmRecord *record = vm->latest;
	const VmOperation *shown = record->status.operation;
	VmState state = record->status.state;
	const char *principal = shown && shown->principal ? shown->principal : "hearthd";
	Operation *operation = operation_new(vm, interrupted[state].op, verb_of(record), principal);

	if (shown && shown->operation_id)
		text_copy(operation->id, sizeof operation->id, shown->operation_id);
	operation->start_time = shown ? shown->start_time : 0;
	operation->resumed = true;
	operation->adopts = true;
	operation->accepted = true;
	operation->by_policy = strcmp(operation->verb, "restart") == 0;
	if (operation->by_policy)
		runtime_restart_begins(vm->runtime);
	operation->then_pause =
		operation->op == VM_OP_START && spec_desired(record->spec) == VM_DESIRED_PAUSED;
	operation->from = interrupted[state].from;
	if (state == VM_SNAPSHOTTING && spec_desired(record->spec) == VM_DESIRED_PAUSED)
		operation->from = VM_PAUSED;
	operation->rule = *vm_rule(operation->from, operation->op);
	operation->ladder = vm_default_ladder; /* the guest's time to end well begins anew */
	operation->work.run = operation_run;

	lock_take(&vm->lock);
	operation->before = record_ref(vm->latest);
	vm->running = operation;
	lock_drop(&vm->lock);
	workers_submit(operation_lane(operation), &operation->work);
}

/* Of a creation that is to run its VM, the first of two records alone may have become durable. */
static bool is_half_created(const VmRecord *record)
{
	return record->status.state == VM_CREATED && !record->status.last_operation &&
	       spec_desired(record->spec) != VM_DESIRED_STOPPED;
}

/* The other half. There was room for it when it was created. */
static void finish_creation(Vm *vm)
{
	Operation *operation = operation_new(vm, VM_OP_START, "create", "hearthd");

	operation->keep_desired = true;
	operation->then_pause = spec_desired(vm->latest->spec) == VM_DESIRED_PAUSED;
	lock_take(&vm->lock);
	if (!vm->gone)
		vm_force_room(vm);
	lock_drop(&vm->lock);
	vm_request(operation, NULL);
}

static bool must_be_looked_for(const Vm *vm, VmState state)
{
	if (!vm_state_has_vmm(state))
		return false;
	if (vm->latest->status.operation) /* an update */
		return true;
	return vm->runtime->host_rebooted || (vm->backend->ops->capabilities & BACKEND_PROCESS);
}

static bool recover_one(Vm *vm)
{
	VmState state = vm->latest->status.state;
	int64_t restart_at = vm->latest->status.next_restart_time;
	bool half_created = is_half_created(vm->latest);
	bool adopts = true;

	vm->rebooted = vm->runtime->host_rebooted;
	if (vm_state_is_busy(state))
		carry_on(vm);
	else if (must_be_looked_for(vm, state))
		vm_run_errand(vm, ERRAND_RECOVER, true);
	else
		adopts = false;

	/* Only now: a timer that is due claims the VM at once. */
	vm_arm_expiry(vm);
	if (state == VM_BACKOFF)
		vm_arm_restart(vm, restart_at);
	if (half_created)
		finish_creation(vm);
	return adopts;
}

void runtime_recover(Runtime *runtime)
{
	size_t count;
	cleanup_free Vm **all = vm_all(runtime, &count);

	/* One more than there are, so that the end is noticed once, here or there. */
	lock_take(&runtime->lock);
	runtime->to_adopt = count + 1;
	lock_drop(&runtime->lock);
	for (size_t i = 0; i < count; i++) {
		if (!recover_one(all[i]))
			runtime_recovered_one(runtime);
		vm_unref(all[i]);
	}
	runtime_recovered_one(runtime);
}

void runtime_recovered_one(Runtime *runtime)
{
	bool all;

	lock_take(&runtime->lock);
	all = --runtime->to_adopt == 0;
	lock_drop(&runtime->lock);
	if (all)
		registry_touch_node(runtime->registry);
}
