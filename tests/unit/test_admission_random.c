/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whatever is asked of VMs, in whatever order: what is taken of the node is what those have that
 * are there, and one that rests has no room.
 */

#include "base/clock.h"
#include "runtime/vm.h"
#include "tests/support/suite_node.h"

#include <stdio.h>
#include <string.h>

enum {
	VCPUS = 6,
	MEMORY = 2048,
	PAGES = 1024,
	MACHINES = 6,
	SEEDS = 4,
	ROUNDS = 40,
	AT_ONCE = 8, /* calls that nobody waits for until all are made */
	PATIENCE_SEC = 10,
};

static void open_tight_node(void)
{
	node.adopts = true;
	node.max_vms = MACHINES - 1;
	node.allocatable = (Need){ { VCPUS, MEMORY, PAGES } };
	test_node_open(&node);
}

TestSuite(admission_random, .init = open_tight_node, .fini = remove_node);

/* May a VM have room, of which no operation runs? */
static const struct {
	bool must, may;
} has_room[VM_STATE_COUNT_] = {
	[VM_RUNNING] = { true, true },
	[VM_PAUSED] = { true, true },
	[VM_BACKOFF] = { true, true },
	[VM_POISONED] = { false, true },
};

/* Adds what @vm has to @sum; false: it should not have that, or have more. */
static bool add_vm(Need *sum, Vm *vm)
{
	bool right = true;

	lock_take(&vm->lock);
	need_add(sum, &vm->place);
	if (vm->has_room) {
		Need room = vm_room_of(vm->backend, vm->latest->spec);

		need_add(sum, &room);
	}
	if (!vm->running && !vm->gone) {
		VmState state = vm->latest->status.state;

		right = vm->has_room ? has_room[state].may : !has_room[state].must;
	}
	lock_drop(&vm->lock);
	return right;
}

static bool adds_up(void)
{
	size_t count;
	cleanup_free Vm **all = vm_all(node.runtime, &count);
	Need sum = { { 0 } };
	NodeCapacity now;
	bool right = true;

	for (size_t i = 0; i < count; i++) {
		right = add_vm(&sum, all[i]) && right;
		vm_unref(all[i]);
	}
	runtime_capacity(node.runtime, &now);
	return right && memcmp(&sum, &now.taken, sizeof sum) == 0 && sum.of[RESOURCE_VMS] == count;
}

/* Restarts go on meanwhile, so that one look may see two moments. */
static void check_adds_up(void)
{
	int64_t deadline = clock_mono_us() + (int64_t)PATIENCE_SEC * USEC_PER_SEC;
	bool right = adds_up();

	while (!right && clock_mono_us() < deadline) {
		clock_sleep_us(USEC_PER_MSEC);
		right = adds_up();
	}
	cr_assert(right, "what is taken is not what VMs have");
}

static VmSpec *random_spec(unsigned dice)
{
	static const char *const faults[] = { NULL, NULL, "start-fails", "undo-fails",
					      "pause-fails" };
	static const VmDesired wanted[] = { VM_DESIRED_RUNNING, VM_DESIRED_STOPPED,
					    VM_DESIRED_PAUSED };
	VmSpec *spec =
		test_spec(wanted[dice % array_size(wanted)], faults[dice / 4 % array_size(faults)]);

	spec->machine = new0(VmMachine);
	spec->machine->vcpus = dice / 32 % 4 + 1;
	spec->machine->memory_mib = 256U << dice / 128 % 3;
	spec->machine->huge_pages = dice & 512 ? VM_HUGE_PAGES_2M : VM_HUGE_PAGES_NONE;
	if (dice & 1024) {
		spec->restart_policy = new0(VmRestartPolicy);
		spec->restart_policy->mode = VM_RESTART_ALWAYS;
		spec->restart_policy->initial_backoff = USEC_PER_MSEC;
		spec->restart_policy->max_backoff = USEC_PER_SEC;
	}
	return spec;
}

static void ask(unsigned *seed, TestAnswer *answer)
{
	static const VmOp ops[] = { VM_OP_START, VM_OP_START,  VM_OP_STOP,
				    VM_OP_PAUSE, VM_OP_RESUME, VM_OP_DESTROY };
	unsigned dice = (unsigned)rand_r(seed);
	char vm_id[16];
	VmCall call = { .vm_id = vm_id };

	(void)snprintf(vm_id, sizeof vm_id, "vm-%u", dice % MACHINES);
	dice /= MACHINES;
	if (dice % 8 == 0 && fault_alive(node.fault, vm_id))
		fault_exit(node.fault, vm_id, EXIT_VMM_SIGNAL);
	if (dice % 3 == 0) {
		VmSpec *spec = random_spec(dice / 3);

		test_begin_create(&node, vm_id, "", spec, answer);
		spec_unref(spec);
	} else {
		test_begin(&node, ops[dice / 3 % array_size(ops)], &call, answer);
	}
}

static void destroy_all(void)
{
	size_t count;
	cleanup_free Vm **all = vm_all(node.runtime, &count);

	for (size_t i = 0; i < count; i++) {
		run(VM_OP_DESTROY, all[i]->id, VM_DESTROYED);
		vm_unref(all[i]);
	}
}

/* All that @seed leads to, and the end of it. */
static void play(unsigned seed)
{
	static const Need none;
	NodeCapacity now;

	for (int round = 0; round < ROUNDS; round++) {
		TestAnswer answers[AT_ONCE];

		for (int i = 0; i < AT_ONCE; i++)
			ask(&seed, &answers[i]);
		for (int i = 0; i < AT_ONCE; i++) {
			cr_assert(test_wait(&answers[i]));
			test_answer_clear(&answers[i]);
		}
		check_adds_up();
	}
	destroy_all();
	runtime_capacity(node.runtime, &now);
	cr_assert_eq(memcmp(&now.taken, &none, sizeof none), 0);
}

Test(admission_random, what_is_taken_is_what_vms_have)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++)
		play(seed);
}

Test(admission_random, the_next_agent_counts_the_same)
{
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		TestAnswer answers[AT_ONCE];
		unsigned random = seed;

		for (int i = 0; i < AT_ONCE; i++)
			ask(&random, &answers[i]);
		for (int i = 0; i < AT_ONCE; i++) {
			cr_assert(test_wait(&answers[i]));
			test_answer_clear(&answers[i]);
		}
		test_node_close(&node);
		test_node_open(&node);
		check_adds_up();
	}
}
