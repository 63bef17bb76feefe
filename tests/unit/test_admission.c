/* SPDX-License-Identifier: Apache-2.0 */

/* What VMs that run may have of the node together: who is let in, and when it is given back. */

#include "runtime/vm.h"
#include "tests/support/suite_node.h"

#include <stdio.h>
#include <string.h>

enum {
	VCPUS = 4,
	MEMORY = 1024,
};

static void open_small_node(void)
{
	node = (TestNode){ .allocatable = { { VCPUS, MEMORY } } };
	test_node_open(&node);
}

TestSuite(admission, .init = open_small_node, .fini = remove_node);

static VmSpec *sized(VmDesired desired, const char *fault, uint32_t vcpus, uint64_t memory_mib)
{
	VmSpec *spec = test_spec(desired, fault);

	spec->machine = new0(VmMachine);
	spec->machine->vcpus = vcpus;
	spec->machine->memory_mib = memory_mib;
	return spec;
}

static void check_taken(uint64_t vcpus, uint64_t memory_mib)
{
	NodeCapacity now;

	runtime_capacity(node.runtime, &now);
	cr_assert_eq(now.taken.of[RESOURCE_VCPUS], vcpus);
	cr_assert_eq(now.taken.of[RESOURCE_MEMORY], memory_mib);
}

static void create_lacks(const char *vm_id, VmSpec *spec, const char *what)
{
	TestAnswer answer = test_create(&node, vm_id, spec);
	char message[ERROR_MESSAGE_MAX];

	cr_assert_eq(answer.err.kind, ERROR_CAPACITY);
	(void)error_message(&answer.err, message);
	cr_assert(strstr(message, what), "%s", message);
	test_answer_clear(&answer);
}

Test(admission, what_runs_takes_its_part_and_what_rests_gives_it_back)
{
	create("web-1", sized(VM_DESIRED_STOPPED, NULL, 2, 256), VM_CREATED);
	check_taken(0, 0);
	run(VM_OP_START, "web-1", VM_RUNNING);
	check_taken(2, 256);
	run(VM_OP_PAUSE, "web-1", VM_PAUSED);
	check_taken(2, 256);
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	check_taken(0, 0);
	create("web-2", sized(VM_DESIRED_RUNNING, NULL, 4, 1024), VM_RUNNING);
	check_taken(4, 1024);
	run(VM_OP_DESTROY, "web-2", VM_DESTROYED);
	check_taken(0, 0);
}

Test(admission, one_that_does_not_fit_is_refused_and_leaves_nothing)
{
	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 3, 256), VM_RUNNING);

	create_lacks("web-2", sized(VM_DESIRED_RUNNING, NULL, 2, 256),
		     "insufficient vcpus: requested 2, available 1");
	create_lacks("web-2", sized(VM_DESIRED_RUNNING, NULL, 1, 1024),
		     "insufficient memory_mib: requested 1024, available 768");

	cr_assert_null(look("web-2"));
	cr_assert_eq(fault_starts(node.fault, "web-2"), 0);
	check_taken(3, 256);
	create("web-2", sized(VM_DESIRED_RUNNING, NULL, 1, 768), VM_RUNNING);
}

Test(admission, all_that_there_is_too_little_of_is_said_at_once)
{
	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 3, 512), VM_RUNNING);

	create_lacks("web-2", sized(VM_DESIRED_RUNNING, NULL, 2, 1000),
		     "vcpus: requested 2, available 1; memory_mib: requested 1000, available 512");
}

Test(admission, memory_of_huge_pages_is_counted_in_those)
{
	VmSpec *spec = sized(VM_DESIRED_RUNNING, NULL, 1, 2048);
	VmSpec *fits = sized(VM_DESIRED_RUNNING, NULL, 1, 1500);
	NodeCapacity now;

	node.allocatable.of[RESOURCE_HUGE_PAGES] = 1000;
	test_node_change_host(&node);
	spec->machine->huge_pages = VM_HUGE_PAGES_2M;
	fits->machine->huge_pages = VM_HUGE_PAGES_2M;

	create_lacks("web-1", spec, "insufficient huge_pages_2m: requested 1024, available 1000");
	create("web-1", fits, VM_RUNNING);

	check_taken(1, 0);
	runtime_capacity(node.runtime, &now);
	cr_assert_eq(now.allocatable.of[RESOURCE_HUGE_PAGES], 1000);
	cr_assert_eq(now.taken.of[RESOURCE_HUGE_PAGES], 750);
}

/* The doctor's word on the capacity. */
static DoctorCheck capacity_check(void)
{
	DoctorCheck checks[32];
	size_t count = runtime_doctor(node.runtime, checks, array_size(checks));

	for (size_t i = 0; i < count; i++)
		if (strcmp(checks[i].name, "capacity") == 0)
			return checks[i];
	return (DoctorCheck){ .name = "" };
}

Test(admission, a_host_that_has_lost_what_vms_have_is_told_of)
{
	DoctorCheck before, after;

	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 1, 768), VM_RUNNING);
	before = capacity_check();
	node.allocatable.of[RESOURCE_MEMORY] = 512;
	test_node_change_host(&node);
	after = capacity_check();

	cr_assert_eq(before.status, CHECK_OK);
	cr_assert_eq(after.status, CHECK_DEGRADED);
	cr_assert_str_eq(after.message, "memory_mib: VMs have 768 of 512");
	create_lacks("web-2", sized(VM_DESIRED_RUNNING, NULL, 1, 1),
		     "insufficient memory_mib: requested 1, available 0");
	check_taken(1, 768);
}

Test(admission, a_vm_has_its_place_until_it_is_destroyed)
{
	NodeCapacity before, there, after;
	runtime_capacity(node.runtime, &before);

	create("web-1", sized(VM_DESIRED_STOPPED, NULL, 1, 256), VM_CREATED);
	runtime_capacity(node.runtime, &there);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	runtime_capacity(node.runtime, &after);

	cr_assert_eq(there.taken.of[RESOURCE_VMS], before.taken.of[RESOURCE_VMS] + 1);
	cr_assert_gt(there.taken.of[RESOURCE_DISK], before.taken.of[RESOURCE_DISK]);
	cr_assert_eq(memcmp(&after.taken, &before.taken, sizeof after.taken), 0);
}

Test(admission, a_start_that_does_not_fit_changes_nothing)
{
	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 4, 256), VM_RUNNING);
	create("web-2", sized(VM_DESIRED_STOPPED, NULL, 1, 256), VM_CREATED);

	run_fails(VM_OP_START, "web-2", ERROR_CAPACITY);

	cr_assert(test_reaches(&node, "web-2", VM_CREATED));
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	run(VM_OP_START, "web-2", VM_RUNNING);
	run(VM_OP_START, "web-2", VM_RUNNING);
	check_taken(1, 256);
}

Test(admission, to_ask_whether_it_would_fit_takes_nothing)
{
	VmSpec *spec = sized(VM_DESIRED_RUNNING, NULL, 4, 256);
	VmSpec *large = sized(VM_DESIRED_RUNNING, NULL, 5, 256);
	CreateCall call = { .vm_id = "web-1", .spec = spec, .validate_only = true };
	TestAnswer fits = test_create_call(&node, &call), lacks;

	call.spec = large;
	lacks = test_create_call(&node, &call);

	cr_assert_eq(fits.err.kind, ERROR_NONE);
	cr_assert_eq(lacks.err.kind, ERROR_CAPACITY);
	check_taken(0, 0);
	test_answer_clear(&fits);
	test_answer_clear(&lacks);
	spec_unref(spec);
	spec_unref(large);
}

Test(admission, a_start_that_fails_gives_it_back)
{
	create("web-1", sized(VM_DESIRED_STOPPED, "start-fails", 2, 256), VM_CREATED);
	for (int i = 0; i < 3; i++) {
		TestAnswer answer = test_run(&node, VM_OP_START, "web-1");

		cr_assert_eq(state_of(&answer), VM_STATE_UNSET);
		test_answer_clear(&answer);
	}

	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	check_taken(0, 0);
}

Test(admission, what_is_about_to_be_restarted_keeps_it)
{
	VmSpec *spec = sized(VM_DESIRED_RUNNING, NULL, 3, 256);

	spec->restart_policy = new0(VmRestartPolicy);
	spec->restart_policy->mode = VM_RESTART_ALWAYS;
	spec->restart_policy->initial_backoff = 3600 * INT64_C(1000000);
	spec->restart_policy->max_backoff = 3600 * INT64_C(1000000);
	create("web-1", spec, VM_RUNNING);
	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);
	cr_assert(test_reaches(&node, "web-1", VM_BACKOFF));

	check_taken(3, 256);
	create_lacks("web-2", sized(VM_DESIRED_RUNNING, NULL, 2, 256), "insufficient vcpus");
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	check_taken(0, 0);
}

Test(admission, one_that_ends_by_itself_gives_it_back)
{
	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 3, 256), VM_RUNNING);
	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);
	cr_assert(test_reaches(&node, "web-1", VM_FAILED));

	check_taken(0, 0);
}

Test(admission, the_next_agent_counts_what_runs_though_it_has_smaller_limits)
{
	node.adopts = true;
	test_node_close(&node);
	test_node_open(&node);
	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 4, 512), VM_RUNNING);
	test_node_close(&node);
	node.allocatable = (Need){ { 2, 256 } };
	test_node_open(&node);
	while (!runtime_adopted(node.runtime))
		(void)usleep(1000);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
	check_taken(4, 512);
	create_lacks("web-2", sized(VM_DESIRED_RUNNING, NULL, 1, 1),
		     "insufficient vcpus: requested 1, available 0");
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	check_taken(0, 0);
}

Test(admission, a_start_behind_a_stop_keeps_what_the_vm_has)
{
	TestAnswer stop, start;
	const VmCall call = { .vm_id = "web-1", .return_when = RETURN_WHEN_DONE };

	create("web-1", sized(VM_DESIRED_RUNNING, NULL, 4, 512), VM_RUNNING);
	test_begin(&node, VM_OP_STOP, &call, &stop);
	test_begin(&node, VM_OP_START, &call, &start);
	cr_assert(test_wait(&stop));
	cr_assert(test_wait(&start));
	test_answer_clear(&stop);
	test_answer_clear(&start);

	run(VM_OP_STOP, "web-1", VM_STOPPED);
	check_taken(0, 0);
}

/* Makes the VM, and asks for its start and for its stop before it is durable. */
static void start_and_stop_unborn(const char *vm_id)
{
	const VmCall call = { .vm_id = vm_id };
	VmSpec *spec = sized(VM_DESIRED_STOPPED, NULL, 1, 64);
	TestAnswer created, start, stop;
	Vm *vm = NULL;

	test_begin_create(&node, vm_id, "", spec, &created);
	while (!vm)
		vm = vm_find(node.runtime, vm_id);
	test_begin(&node, VM_OP_START, &call, &start);
	test_begin(&node, VM_OP_STOP, &call, &stop);
	cr_assert(test_wait(&created));
	cr_assert(test_wait(&start));
	cr_assert(test_wait(&stop));
	test_answer_clear(&created);
	test_answer_clear(&start);
	test_answer_clear(&stop);
	vm_unref(vm);
	spec_unref(spec);
}

Test(admission, a_start_that_is_displaced_while_it_waits_gives_it_back)
{
	for (int i = 0; i < 20; i++) {
		char vm_id[16];

		(void)snprintf(vm_id, sizeof vm_id, "web-%d", i);
		start_and_stop_unborn(vm_id);
		check_taken(0, 0);
	}
}

Test(admission, the_next_agent_counts_what_could_not_be_ended)
{
	TestAnswer answer =
		test_create(&node, "web-1", sized(VM_DESIRED_RUNNING, "undo-fails", 2, 256));
	cr_assert_eq(answer.err.kind, ERROR_VMM_FAILED);
	cr_assert(test_reaches(&node, "web-1", VM_POISONED));
	check_taken(2, 256);

	test_node_close(&node);
	test_node_open(&node);

	check_taken(2, 256);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	check_taken(0, 0);
	test_answer_clear(&answer);
}

/* What an agent leaves that dies between the two records of a creation that is to run its VM. */
static void leave_half_created(const char *vm_id)
{
	cleanup_(record_unrefp) VmRecord *whole = look(vm_id);
	VmRecord *half = record_copy(whole);
	VmSpec *spec = spec_copy(half->spec);

	spec->desired_state = VM_DESIRED_RUNNING;
	spec_unref(half->spec);
	half->spec = spec;
	fields_clear(&vm_operation_table, half->status.last_operation);
	free(take_ptr(half->status.last_operation));
	store_submit(runtime_store(node.runtime), change_new(CHANGE_MODIFIED, half, "Created"));
	test_node_close(&node);
}

Test(admission, a_creation_that_was_admitted_goes_on_though_limits_are_smaller)
{
	create("web-1", sized(VM_DESIRED_STOPPED, NULL, 4, 512), VM_CREATED);
	leave_half_created("web-1");
	node.allocatable = (Need){ { 2, 256 } };

	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
	check_taken(4, 512);
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	check_taken(0, 0);
}
