/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "tests/support/full_disk.h"
#include "tests/support/suite_node.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <unistd.h>

/*
 * What the core does when nothing can be written down: an intent that is
 * refused leaves its VM as it was, an outcome waits for room.
 */

static void free_disk_and_remove_node(void)
{
	fill_disk(false);
	remove_node();
}

TestSuite(full_disk, .init = open_node, .fini = free_disk_and_remove_node);

static void is_refused(const TestAnswer *answer)
{
	cr_assert_null(answer->record);
	cr_assert_eq(answer->err.kind, ERROR_STORE);
	cr_assert_eq(answer->err.cause, CAUSE_EXHAUSTED);
	cr_assert_str_eq(answer->err.vm_id, "web-1");
}

static VmSpec *with_drive(void)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_dup("root");
	drive->path = text_dup("/dev/null");
	return spec;
}

Test(full_disk, a_create_that_is_refused_leaves_nothing)
{
	TestAnswer answer;

	fill_disk(true);
	answer = test_create(&node, "web-1", with_drive());

	is_refused(&answer);
	cr_assert_null(look("web-1"));
	cr_assert_eq(fault_starts(node.fault, "web-1"), 0);
	fill_disk(false);
	create("web-1", with_drive(), VM_RUNNING);
}

Test(full_disk, a_start_that_is_refused_leaves_the_vm_as_it_was)
{
	cleanup_(record_unrefp) VmRecord *before = NULL;
	cleanup_(record_unrefp) VmRecord *after = NULL;
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);
	before = look("web-1");

	fill_disk(true);
	answer = test_run(&node, VM_OP_START, "web-1");

	is_refused(&answer);
	after = look("web-1");
	cr_assert_eq(before, after);
	cr_assert_eq(fault_starts(node.fault, "web-1"), 0);
	fill_disk(false);
	run(VM_OP_START, "web-1", VM_RUNNING);
}

Test(full_disk, a_stop_that_is_refused_leaves_the_vm_running)
{
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	fill_disk(true);
	answer = test_run(&node, VM_OP_STOP, "web-1");

	is_refused(&answer);
	cr_assert(fault_alive(node.fault, "web-1"));
	fill_disk(false);
	run(VM_OP_PAUSE, "web-1", VM_PAUSED);
}

Test(full_disk, an_update_that_is_refused_does_not_come_true_later)
{
	cleanup_(spec_unrefp) VmSpec *values = test_spec(VM_DESIRED_UNSET, "start-fails");
	VmCall call = { .vm_id = "web-1", .update = values, .update_mask = RUNTIME_UPDATE_LABELS };
	TestAnswer answer;

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	fill_disk(true);
	answer = test_call(&node, VM_OP_UPDATE, &call);

	is_refused(&answer);
	fill_disk(false);
	run(VM_OP_START, "web-1", VM_RUNNING);
}

/* Its drives would be @spec's, had there been room to write that down. */
static void check_drives_refused(VmSpec *spec, VmSpec *values, VmState state)
{
	VmCall call = { .vm_id = "web-1", .update = values, .update_mask = RUNTIME_UPDATE_DRIVES };
	cleanup_(record_unrefp) VmRecord *before = NULL;
	cleanup_(record_unrefp) VmRecord *after = NULL;
	VmSpec *old = spec_copy(spec), *new = spec_copy(values);
	TestAnswer answer;

	spec->desired_state = state == VM_RUNNING ? VM_DESIRED_RUNNING : VM_DESIRED_STOPPED;
	old->desired_state = new->desired_state = VM_DESIRED_STOPPED;
	create("web-1", spec, state);
	before = look("web-1");

	fill_disk(true);
	answer = test_call(&node, VM_OP_UPDATE, &call);

	is_refused(&answer);
	fill_disk(false);
	after = look("web-1");
	cr_assert_eq(before, after);
	cr_assert_eq(fault_updates(node.fault, "web-1"), 0);
	answer = test_create(&node, "web-2", old);
	cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);
	create("web-2", new, VM_CREATED);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	run(VM_OP_DESTROY, "web-2", VM_DESTROYED);
}

Test(full_disk, an_update_of_drives_that_is_refused_keeps_the_old_and_frees_the_new)
{
	static const VmState states[] = { VM_CREATED, VM_RUNNING };

	for (size_t i = 0; i < array_size(states); i++) {
		cleanup_(spec_unrefp) VmSpec *values = with_drive();
		VmDrive *drive = values->drives.items;
		int fd;

		free(drive->path);
		drive->path = text_printf("%s/other.img", node.state_dir);
		fd = open(drive->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		cr_assert_eq(write(fd, "x", 1), 1);
		closep(&fd);

		check_drives_refused(with_drive(), values, states[i]);
	}
}

/* Each of the calls builds on the one before, and all are refused, together or apart. */
Test(full_disk, of_a_chain_that_is_refused_nothing_is_left)
{
	cleanup_(spec_unrefp) VmSpec *values = test_spec(VM_DESIRED_UNSET, "pause-fails");
	VmCall update = { .vm_id = "web-1",
			  .update = values,
			  .update_mask = RUNTIME_UPDATE_LABELS };
	VmCall start = { .vm_id = "web-1" };
	cleanup_(record_unrefp) VmRecord *record = NULL;
	TestAnswer answers[30];

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	fill_disk(true);
	for (size_t i = 0; i < array_size(answers); i++)
		test_begin(&node, i % 3 == 1 ? VM_OP_START : VM_OP_UPDATE,
			   i % 3 == 1 ? &start : &update, &answers[i]);
	for (size_t i = 0; i < array_size(answers); i++) {
		cr_assert(test_wait(&answers[i]));
		is_refused(&answers[i]);
	}

	fill_disk(false);
	cr_assert(test_reaches(&node, "web-1", VM_CREATED));
	run(VM_OP_START, "web-1", VM_RUNNING);
	run(VM_OP_PAUSE, "web-1", VM_PAUSED);
	record = look("web-1");
	cr_assert_null(field_map_get(&record->spec->labels, "fault"));
	cr_assert_eq(fault_starts(node.fault, "web-1"), 1);
}

Test(full_disk, an_outcome_waits_for_room)
{
	VmCall patient = { .vm_id = "web-1" };
	VmCall force = { .vm_id = "web-1", .ladder = STOP_AT_ONCE };
	TestAnswer first, second;

	create("web-1", test_spec(VM_DESIRED_RUNNING, "stop-hangs"), VM_RUNNING);
	test_begin(&node, VM_OP_STOP, &patient, &first);
	cr_assert(test_reaches(&node, "web-1", VM_STOPPING));

	fill_disk(true);
	test_begin(&node, VM_OP_STOP, &force, &second);
	while (fault_alive(node.fault, "web-1"))
		clock_sleep_us(USEC_PER_MSEC);
	cr_assert_not(first.answered);
	fill_disk(false);

	cr_assert(test_wait(&first) && test_wait(&second));
	cr_assert_eq(first.record->status.state, VM_STOPPED);
	test_answer_clear(&first);
	test_answer_clear(&second);
}

Test(full_disk, a_restart_that_is_refused_is_tried_again)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	spec->restart_policy = new0(VmRestartPolicy);
	spec->restart_policy->mode = VM_RESTART_ALWAYS;
	spec->restart_policy->initial_backoff = 200 * (int64_t)USEC_PER_MSEC;
	create("web-1", spec, VM_RUNNING);
	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);
	cr_assert(test_reaches(&node, "web-1", VM_BACKOFF));

	fill_disk(true);
	clock_sleep_us(400 * (int64_t)USEC_PER_MSEC);
	fill_disk(false);

	cr_assert(test_reaches(&node, "web-1", VM_RUNNING));
}

Test(full_disk, an_expiry_that_is_refused_is_tried_again)
{
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	spec->expires_at = clock_wall_us() + 200 * (int64_t)USEC_PER_MSEC;
	create("web-1", spec, VM_RUNNING);

	fill_disk(true);
	clock_sleep_us(400 * (int64_t)USEC_PER_MSEC);
	fill_disk(false);

	cr_assert(test_reaches(&node, "web-1", VM_STOPPED));
}
