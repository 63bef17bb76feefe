/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

/* What each state says of the conditions. */
/* clang-format off */
static const struct {
	ConditionStatus running;
	const char *reason;
} condition_rules[VM_STATE_COUNT_] = {
	[VM_STATE_UNSET]  = { CONDITION_UNKNOWN, "Unknown" },
	[VM_CREATED]      = { CONDITION_FALSE,   "NeverStarted" },
	[VM_STARTING]     = { CONDITION_FALSE,   "Starting" },
	[VM_RUNNING]      = { CONDITION_TRUE,    "Running" },
	[VM_PAUSING]      = { CONDITION_TRUE,    "Running" },
	[VM_PAUSED]       = { CONDITION_FALSE,   "Paused" },
	[VM_RESUMING]     = { CONDITION_FALSE,   "Paused" },
	[VM_STOPPING]     = { CONDITION_TRUE,    "Running" },
	[VM_STOPPED]      = { CONDITION_FALSE,   "Stopped" },
	[VM_FAILED]       = { CONDITION_FALSE,   "Failed" },
	[VM_BACKOFF]      = { CONDITION_FALSE,   "BackOff" },
	[VM_POISONED]     = { CONDITION_UNKNOWN, "Poisoned" },
	[VM_DESTROYING]   = { CONDITION_FALSE,   "Destroying" },
	[VM_DESTROYED]    = { CONDITION_FALSE,   "Destroyed" },
};
/* clang-format on */

Vm *vm_new(Runtime *runtime, VmRecord *record, Backend *backend)
{
	Vm *vm = new0(Vm);

	assert(record->status.resolved && record->status.resolved->instance_id);

	vm->refs = 1;
	vm->runtime = runtime;
	lock_init(&vm->lock);
	text_copy(vm->id, sizeof vm->id, record->vm_id);
	text_copy(vm->instance_id, sizeof vm->instance_id, record->status.resolved->instance_id);
	vm->backend = backend;
	vm->latest = record;
	return vm;
}

Vm *vm_ref(Vm *vm)
{
	atomic_fetch_add_explicit(&vm->refs, 1, memory_order_relaxed);
	return vm;
}

void vm_unref(Vm *vm)
{
	if (!vm || atomic_fetch_sub_explicit(&vm->refs, 1, memory_order_acq_rel) > 1)
		return;
	record_unref(vm->latest);
	free(vm);
}

Vm *vm_find(Runtime *runtime, const char *id)
{
	Vm *vm;

	lock_take(&runtime->table_lock);
	HASH_FIND_STR(runtime->table, id, vm);
	if (vm)
		vm_ref(vm);
	lock_drop(&runtime->table_lock);
	return vm;
}

int vm_enter(Runtime *runtime, Vm *vm, size_t most)
{
	Vm *other;
	int r = 0;

	lock_take(&runtime->table_lock);
	HASH_FIND_STR(runtime->table, vm->id, other);
	if (other)
		r = -EEXIST;
	else if (runtime->vm_count >= most)
		r = -ENOSPC;
	else {
		(void)vm_ref(vm); /* not in the macro, which evaluates it more than once */
		HASH_ADD_STR(runtime->table, id, vm);
		runtime->vm_count++;
	}
	lock_drop(&runtime->table_lock);
	return r;
}

void vm_leave(Runtime *runtime, Vm *vm)
{
	lock_take(&runtime->table_lock);
	HASH_DEL(runtime->table, vm);
	runtime->vm_count--;
	lock_drop(&runtime->table_lock);
	vm_unref(vm);
}

char *vm_run_dir(const Vm *vm)
{
	return text_printf("%s/vms/%s", vm->runtime->state_dir, vm->instance_id);
}

Vm **vm_all(Runtime *runtime, size_t *count)
{
	Vm **all, *vm, *following;
	size_t n = 0;

	lock_take(&runtime->table_lock);
	all = new0_array(Vm *, runtime->vm_count);
	HASH_ITER(hh, runtime->table, vm, following)
	all[n++] = vm_ref(vm);
	lock_drop(&runtime->table_lock);
	*count = n;
	return all;
}

void vm_set_state(VmRecord *record, VmState state)
{
	record->status.state = state;
	record_set_condition(record, "VmmRunning", condition_rules[state].running,
			     condition_rules[state].reason, NULL);
	record_set_condition(record, "Ready", condition_rules[state].running,
			     condition_rules[state].reason, NULL);
	if (state != VM_BACKOFF)
		record->status.next_restart_time = 0;
}

VmRecord *vm_next_record(Vm *vm, VmState state)
{
	VmRecord *record = record_copy(vm->latest);

	vm_set_state(record, state);
	return record;
}

void vm_submit(Vm *vm, Change *change)
{
	VmRecord *old = vm->latest;

	vm->latest = record_ref(change->record);
	store_submit(vm->runtime->store, change);
	record_unref(old);
}
