/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "tests/support/suite_node.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>

/*
 * An agent dies, another takes over. The first lives in a child that leaves
 * without a word; the fault backend's VMMs die with it, so the second finds
 * what a host finds whose VMM was killed at the same moment.
 */

static void make_dir(void)
{
	node = (TestNode){ .state_dir = "/tmp/hearth-test-XXXXXX" };
	cr_assert_not_null(mkdtemp(node.state_dir));
}

TestSuite(recovery, .init = make_dir, .fini = remove_node);

/* Runs @first on a node of its own, which then dies at once. */
static void agent_that_dies(void (*first)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		test_node_open(&node);
		first();
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the first agent: %d", status);
}

/* In the child: failing is leaving with another code. */
static void must(bool holds)
{
	if (!holds)
		_exit(1);
}

static void create_and_begin(VmDesired desired, const char *fault, VmOp op, VmState busy)
{
	static TestAnswer unanswered; /* written to for as long as the child lives */
	VmCall call = { .vm_id = "web-1" };
	TestAnswer created = test_create(&node, "web-1", test_spec(desired, fault));

	must(created.record);
	test_begin(&node, op, &call, &unanswered);
	must(test_reaches(&node, "web-1", busy));
}

static void begin_start(void)
{
	create_and_begin(VM_DESIRED_UNSET, "start-hangs", VM_OP_START, VM_STARTING);
}

static void begin_stop(void)
{
	create_and_begin(VM_DESIRED_RUNNING, "stop-hangs", VM_OP_STOP, VM_STOPPING);
}

static void leave_running(void)
{
	must(test_create(&node, "web-1", test_spec(VM_DESIRED_RUNNING, NULL)).record);
}

static void leave_running_in_memory(void)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	spec->backend = VM_BACKEND_IN_MEMORY;
	must(test_create(&node, "web-1", spec).record);
}

/* The store remembers another boot of the host. */
static void pretend_reboot(void)
{
	static const char earlier[] = "00000000-0000-4000-8000-000000000000";
	char before[37];
	Error err = { 0 };

	must(store_exchange_boot_id(runtime_store(node.runtime), earlier, before, &err) == 0);
}

static void leave_running_before_reboot(void)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	spec->restart_policy = new0(VmRestartPolicy);
	spec->restart_policy->mode = VM_RESTART_ON_FAILURE;
	spec->restart_policy->initial_backoff = (int64_t)3600 * USEC_PER_SEC;
	must(test_create(&node, "restarts", spec).record);
	leave_running_in_memory();
	pretend_reboot();
}

static void leave_expiring(void)
{
	VmSpec *spec = test_spec(VM_DESIRED_UNSET, NULL);

	spec->expires_at = clock_wall_us() + 200 * (int64_t)USEC_PER_MSEC;
	spec->expire_action = VM_EXPIRE_DESTROY;
	must(test_create(&node, "web-1", spec).record);
}

static void begin_pause_before_reboot(void)
{
	create_and_begin(VM_DESIRED_RUNNING, "pause-hangs", VM_OP_PAUSE, VM_PAUSING);
	pretend_reboot();
}

static void begin_start_and_expire(void)
{
	static TestAnswer unanswered;
	VmCall call = { .vm_id = "web-1" };
	VmSpec *spec = test_spec(VM_DESIRED_UNSET, "start-hangs");

	spec->expires_at = clock_wall_us() + 300 * (int64_t)USEC_PER_MSEC;
	spec->expire_action = VM_EXPIRE_DESTROY;
	must(test_create(&node, "web-1", spec).record);
	test_begin(&node, VM_OP_START, &call, &unanswered);
	must(test_reaches(&node, "web-1", VM_STARTING));
}

static void leave_two(void)
{
	must(test_create(&node, "web-1", test_spec(VM_DESIRED_UNSET, NULL)).record);
	must(test_create(&node, "web-2", test_spec(VM_DESIRED_UNSET, NULL)).record);
}

/* A VM whose balloon of 8 MiB is being made one of 9 when its agent dies. */
static void begin_update_of(VmBackend backend, const char *fault)
{
	static TestAnswer unanswered;
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, fault), *to;
	VmCall call = { .vm_id = "web-1", .update_mask = RUNTIME_UPDATE_BALLOON };

	spec->backend = backend;
	spec->devices = new0(VmDevices);
	spec->devices->balloon = new0(VmBalloon);
	spec->devices->balloon->amount_mib = 8;
	to = spec_copy(spec);
	to->devices->balloon->amount_mib = 9;
	call.update = to;
	must(test_create(&node, "web-1", spec).record);
	test_begin(&node, VM_OP_UPDATE, &call, &unanswered);
}

static void wait_for_update(void)
{
	while (fault_updates(node.fault, "web-1") == 0)
		clock_sleep_us(USEC_PER_MSEC);
}

static void begin_update(void)
{
	begin_update_of(VM_BACKEND_QEMU, "update-waits,whole-fails");
	wait_for_update();
}

static void begin_update_whose_undo_waits(void)
{
	begin_update_of(VM_BACKEND_QEMU, "update-waits,whole-waits");
	wait_for_update();
}

static void die_in_update(Watcher *watcher)
{
	cleanup_(record_unrefp) VmRecord *record = look("web-1");

	(void)watcher;
	if (record && record->status.operation &&
	    text_equal(record->status.operation->verb, "update"))
		_exit(0);
}

/* An update in memory is over in no time: the agent dies as soon as the intent is durable. */
static void begin_update_in_memory(void)
{
	static Watcher watcher = { .wake = die_in_update };

	registry_watch(runtime_registry(node.runtime), &watcher);
	begin_update_of(VM_BACKEND_IN_MEMORY, NULL);
	clock_sleep_us(10 * (int64_t)USEC_PER_SEC);
	must(false);
}

/* What the next agent says of the update; to unref. */
static VmRecord *look_after_update(VmState state)
{
	VmRecord *record;

	while (!runtime_adopted(node.runtime))
		clock_sleep_us(USEC_PER_MSEC);
	record = look("web-1");
	cr_assert_eq(record->status.state, state);
	cr_assert_null(record->status.operation);
	cr_assert_str_eq(record->status.last_operation->verb, "update");
	cr_assert_eq(record->status.last_operation->outcome, OPERATION_FAILED);
	cr_assert_eq(record->generation, 1);
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 8);
	return record;
}

static void check_failed(ExitReason reason)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	record = look("web-1");
	cr_assert_eq(record->status.last_exit->reason, reason);
}

Test(recovery, an_interrupted_start_is_carried_on)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	agent_that_dies(begin_start);
	node.calm = true;
	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
	record = look("web-1");
	cr_assert_str_eq(record->status.last_operation->verb, "start");
	cr_assert_eq(record->status.last_operation->outcome, OPERATION_SUCCEEDED);
	cr_assert_eq(fault_starts(node.fault, "web-1"), 1);
}

Test(recovery, an_interrupted_start_gives_way_to_a_destroy)
{
	VmCall call = { .vm_id = "web-1" };
	TestAnswer answer;

	agent_that_dies(begin_start);
	test_node_open(&node);

	answer = test_call(&node, VM_OP_DESTROY, &call);

	cr_assert_eq(answer.record->status.state, VM_DESTROYED);
	test_answer_clear(&answer);
}

Test(recovery, an_interrupted_stop_is_carried_on)
{
	agent_that_dies(begin_stop);
	node.calm = true;
	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_STOPPED));
}

Test(recovery, a_vmm_that_is_gone_is_a_failure_of_its_vm)
{
	agent_that_dies(leave_running);
	test_node_open(&node);

	check_failed(EXIT_UNKNOWN);
}

Test(recovery, an_in_memory_vm_runs_on)
{
	agent_that_dies(leave_running_in_memory);
	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
	cr_assert(runtime_adopted(node.runtime));
}

Test(recovery, after_a_reboot_of_the_host_all_that_ran_says_so)
{
	agent_that_dies(leave_running_before_reboot);
	test_node_open(&node);

	check_failed(EXIT_HOST_REBOOT);
	cr_assert(test_reaches(&node, "restarts", VM_BACKOFF));
}

/* Its next restart is a day away, as the clock has been put back by one since. */
static void leave_in_backoff(void)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);
	VmRecord *record;
	Change *change;

	spec->restart_policy = new0(VmRestartPolicy);
	spec->restart_policy->mode = VM_RESTART_ON_FAILURE;
	spec->restart_policy->max_backoff = 100 * (int64_t)USEC_PER_MSEC;
	must(test_create(&node, "web-1", spec).record);
	record = record_copy(look("web-1"));
	record->status.state = VM_BACKOFF;
	record->status.next_restart_time = clock_wall_us() + 86400 * (int64_t)USEC_PER_SEC;
	change = change_new(CHANGE_MODIFIED, record, "Tested");
	store_submit(runtime_store(node.runtime), change);
	must(test_reaches(&node, "web-1", VM_BACKOFF));
}

Test(recovery, no_restart_waits_longer_than_the_policy_says_though_the_clock_was_put_back)
{
	agent_that_dies(leave_in_backoff);
	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
}

Test(recovery, an_expiry_is_carried_out_by_the_next_agent)
{
	agent_that_dies(leave_expiring);
	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_DESTROYED));
}

Test(recovery, a_pause_that_a_reboot_interrupted_ends_with_the_reboot)
{
	agent_that_dies(begin_pause_before_reboot);
	test_node_open(&node);

	check_failed(EXIT_HOST_REBOOT);
}

Test(recovery, an_expiry_that_is_due_cuts_the_interrupted_start_short)
{
	agent_that_dies(begin_start_and_expire);
	clock_sleep_us(300 * (int64_t)USEC_PER_MSEC);
	test_node_open(&node);

	cr_assert(test_reaches(&node, "web-1", VM_DESTROYED));
}

Test(recovery, a_limit_lowered_below_what_there_is_keeps_every_vm)
{
	TestAnswer refused;

	agent_that_dies(leave_two);
	node.max_vms = 1;
	test_node_open(&node);

	refused = test_create(&node, "web-3", test_spec(VM_DESIRED_UNSET, NULL));

	cr_assert_eq(refused.err.kind, ERROR_CAPACITY);
	cr_assert_eq(test_run(&node, VM_OP_PAUSE, "web-1").err.kind, ERROR_INVALID_TRANSITION);
	cr_assert_eq(test_run(&node, VM_OP_PAUSE, "web-2").err.kind, ERROR_INVALID_TRANSITION);
}

Test(recovery, an_interrupted_update_is_undone)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	agent_that_dies(begin_update);
	node.calm = node.adopts = true;
	test_node_open(&node);

	record = look_after_update(VM_RUNNING);
	cr_assert_not_null(strstr(record->status.last_operation->error->message,
				  "the agent ended while it was carried out; undone"));
	cr_assert_eq(fault_updates(node.fault, "web-1"), 1);
	cr_assert_eq(fault_balloon_mib(node.fault, "web-1"), 8);
	cr_assert_eq(record->status.resolved->vmm_pid, 4242);
	run(VM_OP_PAUSE, "web-1", VM_PAUSED);
}

Test(recovery, an_interrupted_update_that_cannot_be_undone_poisons)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	agent_that_dies(begin_update);
	node.adopts = true;
	test_node_open(&node);

	record = look_after_update(VM_POISONED);
	cr_assert_not_null(strstr(record->status.last_operation->error->message, "told to fail"));
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
}

Test(recovery, an_interrupted_update_ends_with_its_vmm)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	agent_that_dies(begin_update);
	test_node_open(&node);

	record = look_after_update(VM_FAILED);
	cr_assert_eq(record->status.last_exit->reason, EXIT_UNKNOWN);
	cr_assert_eq(fault_updates(node.fault, "web-1"), 0);
}

Test(recovery, an_interrupted_update_in_memory_is_undone)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	agent_that_dies(begin_update_in_memory);
	test_node_open(&node);

	record = look_after_update(VM_RUNNING);

	cr_assert_not_null(record);
}

/* To unref. */
static VmSpec *balloon_of_ten(void)
{
	VmSpec *values = test_spec(VM_DESIRED_UNSET, NULL);

	values->devices = new0(VmDevices);
	values->devices->balloon = new0(VmBalloon);
	values->devices->balloon->amount_mib = 10;
	return values;
}

Test(recovery, a_vm_not_yet_adopted_is_updated_once_it_is)
{
	cleanup_(spec_unrefp) VmSpec *values = balloon_of_ten();
	VmCall call = { .vm_id = "web-1", .update = values, .update_mask = RUNTIME_UPDATE_BALLOON };
	TestAnswer answer;

	agent_that_dies(begin_update_whose_undo_waits);
	node.adopts = true;
	test_node_open(&node);
	wait_for_update();

	test_begin(&node, VM_OP_UPDATE, &call, &answer);
	fault_let_go(node.fault);

	cr_assert(test_wait(&answer));
	cr_assert_eq(state_of(&answer), VM_RUNNING);
	cr_assert_eq(fault_balloon_mib(node.fault, "web-1"), 10);
	test_answer_clear(&answer);
}

/* Waits until another update is under way, so that @call would be refused. */
static void wait_until_refused(const VmCall *call)
{
	VmCall dry = *call;
	TestAnswer answer = { 0 };

	dry.validate_only = true;
	while (!error_is_set(&answer.err)) {
		answer = test_call(&node, VM_OP_UPDATE, &dry);
		test_answer_clear(&answer);
	}
	cr_assert_eq(answer.err.kind, ERROR_INVALID_TRANSITION);
}

Test(recovery, an_update_that_waits_gives_way_to_a_stop)
{
	cleanup_(spec_unrefp) VmSpec *values = balloon_of_ten();
	VmCall call = { .vm_id = "web-1", .update = values, .update_mask = RUNTIME_UPDATE_BALLOON };
	VmCall stop = { .vm_id = "web-1" };
	TestAnswer updated, stopped;

	agent_that_dies(begin_update_whose_undo_waits);
	node.adopts = true;
	test_node_open(&node);
	wait_for_update();
	test_begin(&node, VM_OP_UPDATE, &call, &updated);
	wait_until_refused(&call);

	run_fails(VM_OP_PAUSE, "web-1", ERROR_INVALID_TRANSITION);
	test_begin(&node, VM_OP_STOP, &stop, &stopped);

	cr_assert(test_wait(&updated));
	cr_assert_eq(updated.err.kind, ERROR_INVALID_TRANSITION);
	fault_let_go(node.fault);
	cr_assert(test_wait(&stopped));
	cr_assert_eq(state_of(&stopped), VM_STOPPED);
	cr_assert_eq(fault_updates(node.fault, "web-1"), 1);
	test_answer_clear(&stopped);
}
