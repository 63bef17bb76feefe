/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/vm.h"
#include "tests/support/suite_node.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(runtime, .init = open_node, .fini = remove_node);

Test(runtime, a_vm_lives_from_create_to_destroy)
{
	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);
	run(VM_OP_START, "web-1", VM_RUNNING);
	run(VM_OP_PAUSE, "web-1", VM_PAUSED);
	run(VM_OP_RESUME, "web-1", VM_RUNNING);
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	run(VM_OP_START, "web-1", VM_RUNNING);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);

	cr_assert_null(look("web-1"));
	cr_assert_not(fault_alive(node.fault, "web-1"));
	run_fails(VM_OP_DESTROY, "web-1", ERROR_VM_NOT_FOUND);
}

Test(runtime, a_verb_already_satisfied_changes_nothing)
{
	cleanup_(record_unrefp) VmRecord *before = NULL;
	cleanup_(record_unrefp) VmRecord *after = NULL;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	before = look("web-1");

	run(VM_OP_START, "web-1", VM_RUNNING);

	after = look("web-1");
	cr_assert_eq(before, after);
	cr_assert_eq(fault_starts(node.fault, "web-1"), 1);
}

Test(runtime, a_verb_already_satisfied_still_says_what_is_desired)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	fault_exit(node.fault, "web-1", EXIT_GUEST_SHUTDOWN);
	cr_assert(test_reaches(&node, "web-1", VM_STOPPED));

	run(VM_OP_STOP, "web-1", VM_STOPPED);

	record = look("web-1");
	cr_assert_eq(spec_desired(record->spec), VM_DESIRED_STOPPED);
	cr_assert_eq(record->generation, 2);
	cr_assert_null(record->status.operation);
}

Test(runtime, a_forced_stop_hastens_the_one_that_runs)
{
	VmCall call = { .vm_id = "web-1" };
	VmCall force = { .vm_id = "web-1", .ladder = STOP_AT_ONCE };
	TestAnswer patient, forced;

	create("web-1", test_spec(VM_DESIRED_RUNNING, "stop-hangs"), VM_RUNNING);
	test_begin(&node, VM_OP_STOP, &call, &patient);
	cr_assert(test_reaches(&node, "web-1", VM_STOPPING));

	forced = test_call(&node, VM_OP_STOP, &force);

	cr_assert_eq(state_of(&forced), VM_STOPPED);
	cr_assert(test_wait(&patient));
	cr_assert_eq(state_of(&patient), VM_STOPPED);
	test_answer_clear(&patient);
	test_answer_clear(&forced);
}

Test(runtime, a_verb_that_does_not_fit_says_from_where_to_where)
{
	TestAnswer answer;
	char message[ERROR_MESSAGE_MAX];

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	answer = test_run(&node, VM_OP_PAUSE, "web-1");

	cr_assert_eq(answer.err.kind, ERROR_INVALID_TRANSITION);
	cr_assert_str_eq(error_message(&answer.err, message),
			 "invalid vm transition for 'web-1': created -> paused");
}

Test(runtime, a_failed_start_leaves_failed_with_its_reason)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_UNSET, "start-fails"), VM_CREATED);

	answer = test_run(&node, VM_OP_START, "web-1");

	record = look("web-1");
	cr_assert_eq(answer.err.kind, ERROR_VMM_FAILED);
	cr_assert_str_eq(answer.err.vm_id, "web-1");
	cr_assert_eq(record->status.state, VM_FAILED);
	cr_assert_eq(record->status.last_operation->outcome, OPERATION_FAILED);
	cr_assert_str_eq(record->status.last_operation->error->message, "vmm failed: told to fail");
	cr_assert_null(record->status.operation);
}

Test(runtime, an_undo_that_fails_poisons_the_vm_and_no_other)
{
	create("good", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	create("bad", test_spec(VM_DESIRED_UNSET, "undo-fails"), VM_CREATED);

	run_fails(VM_OP_START, "bad", ERROR_VMM_FAILED);

	cr_assert(test_reaches(&node, "bad", VM_POISONED));
	run_fails(VM_OP_START, "bad", ERROR_STATE_POISONED);
	run_fails(VM_OP_STOP, "bad", ERROR_STATE_POISONED);
	run(VM_OP_PAUSE, "good", VM_PAUSED);
	run(VM_OP_DESTROY, "bad", VM_DESTROYED);
}

Test(runtime, a_stop_preempts_a_start_that_hangs)
{
	VmCall call = { .vm_id = "web-1" };
	TestAnswer start;

	create("web-1", test_spec(VM_DESIRED_UNSET, "start-hangs"), VM_CREATED);
	test_begin(&node, VM_OP_START, &call, &start);
	cr_assert(test_reaches(&node, "web-1", VM_STARTING));

	run(VM_OP_STOP, "web-1", VM_STOPPED);

	cr_assert(test_wait(&start));
	cr_assert_eq(start.err.kind, ERROR_INVALID_TRANSITION);
	cr_assert_str_eq(start.err.from, "stopping");
	cr_assert_str_eq(start.err.to, "running");
}

Test(runtime, a_start_that_gives_way_is_told_as_preempted_and_not_as_failed)
{
	VmCall call = { .vm_id = "web-1" };
	unsigned preempted = 0, failed = 0;
	StoreEvent events[8];
	TestAnswer start;
	Error err = { 0 };
	size_t n = 0;

	create("web-1", test_spec(VM_DESIRED_UNSET, "start-hangs"), VM_CREATED);
	test_begin(&node, VM_OP_START, &call, &start);
	cr_assert(test_reaches(&node, "web-1", VM_STARTING));

	run(VM_OP_STOP, "web-1", VM_STOPPED);

	cr_assert(test_wait(&start));
	cr_assert_eq(
		store_list_events(runtime_store(node.runtime), "web-1", "", 0, events, 8, &n, &err),
		0);
	for (size_t i = 0; i < n; i++) {
		preempted += strcmp(events[i].reason, "Preempted") == 0;
		failed += events[i].state == VM_FAILED;
		store_event_clear(&events[i]);
	}
	cr_assert_eq(preempted, 1);
	cr_assert_eq(failed, 0);
}

Test(runtime, a_destroy_wins_over_a_stop_that_hangs_and_one_that_waits)
{
	VmCall call = { .vm_id = "web-1" };
	TestAnswer start, stop;

	create("web-1", test_spec(VM_DESIRED_UNSET, "start-hangs"), VM_CREATED);
	test_begin(&node, VM_OP_START, &call, &start);
	cr_assert(test_reaches(&node, "web-1", VM_STARTING));
	test_begin(&node, VM_OP_STOP, &call, &stop);

	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);

	cr_assert(test_wait(&start) && test_wait(&stop));
	cr_assert_null(look("web-1"));
	test_answer_clear(&start);
	test_answer_clear(&stop);
}

Test(runtime, equal_verbs_join_the_running_operation)
{
	VmCall call = { .vm_id = "web-1" };
	TestAnswer first, second;

	create("web-1", test_spec(VM_DESIRED_RUNNING, "stop-hangs"), VM_RUNNING);
	test_begin(&node, VM_OP_STOP, &call, &first);
	cr_assert(test_reaches(&node, "web-1", VM_STOPPING));
	test_begin(&node, VM_OP_STOP, &call, &second);

	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);

	cr_assert(test_wait(&first) && test_wait(&second));
	cr_assert_eq(first.err.kind, second.err.kind);
	test_answer_clear(&first);
	test_answer_clear(&second);
}

Test(runtime, a_stop_that_fails_quarantines)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, "stop-fails"), VM_RUNNING);

	run_fails(VM_OP_STOP, "web-1", ERROR_SHUTDOWN);

	cr_assert(test_reaches(&node, "web-1", VM_POISONED));
}

Test(runtime, a_pause_that_fails_leaves_it_running)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, "pause-fails"), VM_RUNNING);

	run_fails(VM_OP_PAUSE, "web-1", ERROR_VMM_FAILED);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
}

Test(runtime, an_exit_is_noticed_and_told_with_its_reason)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);

	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	record = look("web-1");
	cr_assert_eq(record->status.last_exit->reason, EXIT_VMM_SIGNAL);
	cr_assert_not(record->status.last_exit->requested);
	cr_assert_eq(record->status.resolved->vmm_pid, 0);
}

Test(runtime, a_late_word_of_an_earlier_run_ends_nothing)
{
	cleanup_(vm_unrefp) Vm *vm = NULL;
	uint64_t earlier;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	vm = vm_find(node.runtime, "web-1");
	lock_take(&vm->lock);
	earlier = vm->run;
	lock_drop(&vm->lock);
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	run(VM_OP_START, "web-1", VM_RUNNING);

	vm_look_into_exit(vm, earlier);

	run(VM_OP_PAUSE, "web-1", VM_PAUSED);
}

Test(runtime, closing_waits_for_creates_under_way)
{
	TestAnswer answers[20];
	cleanup_(spec_unrefp) VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	for (unsigned i = 0; i < array_size(answers); i++) {
		cleanup_free char *vm_id = text_printf("vm-%u", i);

		test_begin_create(&node, vm_id, "", spec, &answers[i]);
	}
	test_node_close(&node);

	for (unsigned i = 0; i < array_size(answers); i++) {
		cr_assert(answers[i].answered);
		test_answer_clear(&answers[i]);
	}
}

Test(runtime, a_guest_that_powers_off_is_stopped_not_failed)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	fault_exit(node.fault, "web-1", EXIT_GUEST_SHUTDOWN);

	cr_assert(test_reaches(&node, "web-1", VM_STOPPED));
}

static VmSpec *restarting(VmRestartMode mode, uint32_t most, int64_t backoff)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	spec->restart_policy = new0(VmRestartPolicy);
	spec->restart_policy->mode = mode;
	spec->restart_policy->max_restarts = most;
	spec->restart_policy->initial_backoff = backoff;
	return spec;
}

Test(runtime, a_restart_policy_is_carried_out_until_its_count)
{
	create("web-1", restarting(VM_RESTART_ON_FAILURE, 1, 10000), VM_RUNNING);

	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);
	while (fault_starts(node.fault, "web-1") < 2)
		clock_sleep_us(1000);
	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);

	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	cr_assert_eq(fault_starts(node.fault, "web-1"), 2);
}

Test(runtime, a_stop_ends_the_back_off)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", restarting(VM_RESTART_ALWAYS, 0, (int64_t)3600 * USEC_PER_SEC), VM_RUNNING);
	fault_exit(node.fault, "web-1", EXIT_GUEST_SHUTDOWN);
	cr_assert(test_reaches(&node, "web-1", VM_BACKOFF));
	record = look("web-1");
	cr_assert_gt(record->status.next_restart_time, clock_wall_us());

	run(VM_OP_STOP, "web-1", VM_STOPPED);

	cr_assert_eq(fault_starts(node.fault, "web-1"), 1);
}

Test(runtime, expiry_stops_or_destroys)
{
	VmSpec *stops = test_spec(VM_DESIRED_RUNNING, NULL);
	VmSpec *goes = test_spec(VM_DESIRED_RUNNING, NULL);

	stops->expires_at = goes->expires_at = clock_wall_us() + 50000;
	goes->expire_action = VM_EXPIRE_DESTROY;

	create("stops", stops, VM_RUNNING);
	create("goes", goes, VM_RUNNING);

	cr_assert(test_reaches(&node, "stops", VM_STOPPED));
	cr_assert(test_reaches(&node, "goes", VM_DESTROYED));
}

Test(runtime, expectations_are_checked)
{
	VmCall uid = { .vm_id = "web-1", .expected_uid = "another" };
	VmCall revision = { .vm_id = "web-1", .expected_revision = 99 };
	VmCall generation = { .vm_id = "web-1", .expected_generation = 99 };
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	answer = test_call(&node, VM_OP_START, &uid);
	cr_assert_eq(answer.err.kind, ERROR_CONFLICT);
	answer = test_call(&node, VM_OP_START, &revision);
	cr_assert_eq(answer.err.kind, ERROR_CONFLICT);
	answer = test_call(&node, VM_OP_START, &generation);
	cr_assert_eq(answer.err.kind, ERROR_CONFLICT);
	cr_assert_eq(fault_starts(node.fault, "web-1"), 0);
}

Test(runtime, validating_only_changes_nothing)
{
	VmCall start = { .vm_id = "web-2", .validate_only = true };
	TestAnswer answer = { 0 };

	create("web-2", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);
	answer = test_call(&node, VM_OP_START, &start);
	cr_assert_eq(state_of(&answer), VM_CREATED);
	cr_assert_eq(fault_starts(node.fault, "web-2"), 0);
	test_answer_clear(&answer);
}

Test(runtime, an_update_that_changes_nothing_is_no_change)
{
	cleanup_(spec_unrefp) VmSpec *values = test_spec(VM_DESIRED_UNSET, NULL);
	VmCall call = { .vm_id = "web-1", .update = values, .update_mask = RUNTIME_UPDATE_LABELS };
	cleanup_(record_unrefp) VmRecord *before = NULL;
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);
	before = look("web-1");

	answer = test_call(&node, VM_OP_UPDATE, &call);

	cr_assert_eq(answer.record, before);
	test_answer_clear(&answer);
}

Test(runtime, an_update_is_a_new_generation)
{
	cleanup_(spec_unrefp) VmSpec *values = test_spec(VM_DESIRED_UNSET, "start-fails");
	VmCall call = { .vm_id = "web-1", .update = values, .update_mask = RUNTIME_UPDATE_LABELS };
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	answer = test_call(&node, VM_OP_UPDATE, &call);

	cr_assert_eq(answer.record->generation, 2);
	cr_assert_str_eq(field_map_get(&answer.record->spec->labels, "fault"), "start-fails");
	test_answer_clear(&answer);
}

Test(runtime, everything_is_there_again_after_a_restart)
{
	cleanup_(record_unrefp) VmRecord *before = NULL;
	cleanup_(record_unrefp) VmRecord *after = NULL;

	create("stays", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);
	before = look("stays");
	test_node_close(&node);

	test_node_open(&node);

	after = look("stays");
	cr_assert_str_eq(before->uid, after->uid);
	cr_assert_eq(before->revision, after->revision);
	cr_assert_eq(after->status.state, VM_CREATED);
}

/* The fault backend forgets its VMMs with the agent: so they ended meanwhile, nobody knows how. */
Test(runtime, a_vm_that_ended_while_the_agent_was_away_says_so)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	test_node_close(&node);

	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	record = look("web-1");
	cr_assert_eq(record->status.last_exit->reason, EXIT_UNKNOWN);
}
