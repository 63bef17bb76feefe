/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptors.h"
#include "runtime/vm.h"

#include <sys/param.h>

/*
 * A VM's part of the node: its place, which it has while it exists, and its room, which is taken
 * when it is to run and given back when it is at rest again.
 */

enum {
	/* Beside its console: what its VMM says, metrics, records of its keeper. */
	RUN_DIR_KIB = 1024,
	KIB = 1024,
	START_DESCRIPTORS = 8, /* that a start has open at a time, at most */
};

typedef enum Room {
	ROOM_NONE,
	ROOM_KEPT, /* what it has it keeps, if it has any */
	ROOM_TAKEN,
} Room;

static const Room rooms[VM_STATE_COUNT_] = {
	[VM_STARTING] = ROOM_TAKEN,     [VM_RUNNING] = ROOM_TAKEN,  [VM_PAUSING] = ROOM_TAKEN,
	[VM_PAUSED] = ROOM_TAKEN,       [VM_RESUMING] = ROOM_TAKEN, [VM_BACKOFF] = ROOM_TAKEN,
	[VM_SNAPSHOTTING] = ROOM_TAKEN, [VM_STOPPING] = ROOM_KEPT,  [VM_DESTROYING] = ROOM_KEPT,
	[VM_POISONED] = ROOM_KEPT,
};

static bool has_processes(const Backend *backend)
{
	return backend->ops->capabilities & BACKEND_PROCESS;
}

Need vm_room_of(const Backend *backend, const VmSpec *spec)
{
	uint64_t pages = spec_huge_pages(spec);
	Need need = { { 0 } };

	if (!has_processes(backend))
		return need;
	need.of[RESOURCE_VCPUS] = spec_vcpus(spec);
	need.of[RESOURCE_HUGE_PAGES] = pages;
	need.of[RESOURCE_MEMORY] = pages ? 0 : spec_memory_mib(spec);
	return need;
}

Need vm_place_of(const Runtime *runtime, const Backend *backend)
{
	uint64_t kib = runtime->config.backend.console_max_bytes / KIB + RUN_DIR_KIB;
	Need need = { .of[RESOURCE_VMS] = 1 };

	if (has_processes(backend))
		need.of[RESOURCE_DISK] = (kib + KIB - 1) / KIB;
	return need;
}

int vm_take_place(Vm *vm, bool with_room, Error *err)
{
	Need place = vm_place_of(vm->runtime, vm->backend);
	Need room = vm_room_of(vm->backend, vm->latest->spec);
	Need all = place;

	if (with_room)
		need_add(&all, &room);
	if (budget_take(vm->runtime->budget, &all, err) < 0)
		return -1;
	vm->place = place;
	if (with_room)
		vm->room = room;
	vm->has_room = with_room;
	return 0;
}

void vm_force_room(Vm *vm)
{
	if (vm->has_room)
		return;
	vm->room = vm_room_of(vm->backend, vm->latest->spec);
	vm->has_room = true;
	budget_force(vm->runtime->budget, &vm->room);
}

void vm_force_place(Vm *vm)
{
	vm->place = vm_place_of(vm->runtime, vm->backend);
	budget_force(vm->runtime->budget, &vm->place);
	/* What an earlier agent was about to end, or could not, may be there still. */
	if (rooms[vm->latest->status.state] != ROOM_NONE)
		vm_force_room(vm);
}

void vm_give_place(Vm *vm)
{
	budget_give(vm->runtime->budget, &vm->place);
	vm->place = (Need){ { 0 } };
}

int vm_take_room(Vm *vm, bool dry, Error *err)
{
	Need need = vm_room_of(vm->backend, vm->latest->spec);
	Budget *budget = vm->runtime->budget;

	if (vm->has_room)
		return 0;
	if (dry)
		return budget_check(budget, &need, err);
	if (budget_take(budget, &need, err) < 0)
		return -1;
	vm->room = need;
	vm->has_room = true;
	return 0;
}

void vm_give_room(Vm *vm)
{
	if (vm->has_room)
		budget_give(vm->runtime->budget, &vm->room);
	vm->has_room = false;
}

void vm_settle_room(Vm *vm)
{
	Room room = rooms[vm->latest->status.state];

	/* A start that waits begins at once. */
	if (room == ROOM_NONE && !(vm->next && vm->next->op == VM_OP_START))
		vm_give_room(vm);
	if (room == ROOM_TAKEN)
		vm_force_room(vm);
}

int vm_check_descriptors(Runtime *runtime, const Backend *backend, Error *err)
{
	size_t live = runtime->live_operations;
	size_t need = START_DESCRIPTORS * MAX(1, MIN(live, runtime->config.max_operations));
	size_t left;

	if (!has_processes(backend))
		return 0;
	left = descriptors_left();
	return left >= need ? 0 : error_add_capacity(err, "open_files", need, left);
}
