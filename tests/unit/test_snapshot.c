/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots as operations on VMs, and VMs that go on from them. */

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/snapshot.h"
#include "tests/support/suite_node.h"
#include "tests/unit/update_suite.h"

#include <semaphore.h>

TestSuite(snapshot, .init = open_node, .fini = remove_node);

/* What CreateSnapshot has answered. */
typedef struct Answered {
	sem_t came;
	SnapshotState state;
	Error err;
} Answered;

static void came(void *user, const SnapshotInfo *info, const Error *err)
{
	Answered *answered = user;

	answered->state = info ? info->state : 0;
	answered->err = err ? *err : (Error){ 0 };
	(void)sem_post(&answered->came);
}

static void ask_over(Answered *answered, const char *vm_id, const char *snapshot_id,
		     SnapshotThen then, const char *parent)
{
	static const SnapshotLabels none;
	const SnapshotCall call = {
		.vm = { .vm_id = vm_id, .principal = "test" },
		.snapshot_id = snapshot_id,
		.then = then,
		.parent = parent,
		.labels = &none,
	};

	(void)sem_init(&answered->came, 0, 0);
	runtime_create_snapshot(node.runtime, &call, came, answered);
}

static void ask(Answered *answered, const char *vm_id, const char *snapshot_id, SnapshotThen then)
{
	ask_over(answered, vm_id, snapshot_id, then, "");
}

static Answered take(const char *vm_id, const char *snapshot_id, SnapshotThen then)
{
	Answered answered = { .state = 0 };

	ask(&answered, vm_id, snapshot_id, then);
	(void)sem_wait(&answered.came);
	return answered;
}

static void taken(const char *vm_id, const char *snapshot_id, SnapshotThen then)
{
	Answered answered = take(vm_id, snapshot_id, then);
	char message[ERROR_MESSAGE_MAX];

	cr_assert_eq(answered.state, SNAPSHOT_READY, "%s", error_message(&answered.err, message));
}

static void refused(const char *vm_id, const char *snapshot_id, ErrorKind kind)
{
	Answered answered = take(vm_id, snapshot_id, SNAPSHOT_THEN_UNSET);

	cr_assert_eq(answered.err.kind, kind, "%s: %s", error_kind_name(answered.err.kind),
		     answered.err.what);
}

static size_t count_snapshots(void)
{
	SnapshotInfo *infos;
	size_t count;

	snapshots_list(runtime_snapshots(node.runtime), NULL, NULL, &infos, &count);
	snapshot_infos_free(infos, count);
	return count;
}

static void is_in(const char *vm_id, VmState state, VmDesired desired)
{
	cleanup_(record_unrefp) VmRecord *record = look(vm_id);

	cr_assert_eq(record->status.state, state, "%s", vm_state_name(record->status.state));
	cr_assert_eq(spec_desired(record->spec), desired);
}

Test(snapshot, of_a_vm_that_runs_leaves_it_running)
{
	create("web-1", with_drive(VM_DESIRED_RUNNING, NULL, "a"), VM_RUNNING);

	taken("web-1", "one", SNAPSHOT_THEN_UNSET);

	is_in("web-1", VM_RUNNING, VM_DESIRED_RUNNING);
	cr_assert_not(fault_paused(node.fault, "web-1"));
}

Test(snapshot, says_what_becomes_of_its_vm)
{
	static const struct {
		SnapshotThen then;
		VmState state;
		VmDesired desired;
	} rows[] = {
		{ SNAPSHOT_THEN_PAUSE, VM_PAUSED, VM_DESIRED_PAUSED },
		{ SNAPSHOT_THEN_UNSET, VM_PAUSED, VM_DESIRED_PAUSED },
		{ SNAPSHOT_THEN_RESUME, VM_RUNNING, VM_DESIRED_RUNNING },
		{ SNAPSHOT_THEN_STOP, VM_STOPPED, VM_DESIRED_STOPPED },
	};

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	for (size_t i = 0; i < array_size(rows); i++) {
		char id[] = "s0";

		id[1] = (char)('0' + i);
		taken("web-1", id, rows[i].then);
		is_in("web-1", rows[i].state, rows[i].desired);
	}
	cr_assert_not(fault_alive(node.fault, "web-1"));
	cr_assert_eq(count_snapshots(), 4);
}

Test(snapshot, that_fails_leaves_nothing_and_its_vm_as_it_was)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, "snapshot-fails"), VM_RUNNING);
	create("web-2", test_spec(VM_DESIRED_PAUSED, "snapshot-fails"), VM_PAUSED);

	refused("web-1", "one", ERROR_SNAPSHOT_FAILED);
	refused("web-2", "one", ERROR_SNAPSHOT_FAILED);

	is_in("web-1", VM_RUNNING, VM_DESIRED_RUNNING);
	is_in("web-2", VM_PAUSED, VM_DESIRED_PAUSED);
	cr_assert_not(fault_paused(node.fault, "web-1"));
	cr_assert_eq(count_snapshots(), 0);
}

Test(snapshot, whose_undoing_fails_poisons_its_vm)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, "snapshot-poisons"), VM_RUNNING);

	refused("web-1", "one", ERROR_SNAPSHOT_FAILED);

	is_in("web-1", VM_POISONED, VM_DESIRED_RUNNING);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
}

Test(snapshot, is_of_a_vm_that_is_there_and_has_memory)
{
	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	refused("web-1", "one", ERROR_INVALID_TRANSITION);
	refused("web-2", "one", ERROR_VM_NOT_FOUND);

	cr_assert_eq(count_snapshots(), 0);
}

Test(snapshot, once_more_is_the_same_and_another_is_refused)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	taken("web-1", "one", SNAPSHOT_THEN_UNSET);

	taken("web-1", "one", SNAPSHOT_THEN_UNSET);
	cr_assert_eq(take("web-1", "one", SNAPSHOT_THEN_PAUSE).err.kind,
		     ERROR_SNAPSHOT_ALREADY_EXISTS);

	is_in("web-1", VM_RUNNING, VM_DESIRED_RUNNING);
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	taken("web-1", "one", SNAPSHOT_THEN_UNSET); /* it outlives its VM */
}

Test(snapshot, that_is_only_looked_at_leaves_nothing)
{
	static const SnapshotLabels none;
	const SnapshotCall call = {
		.vm = { .vm_id = "web-1", .principal = "test", .validate_only = true },
		.snapshot_id = "one",
		.labels = &none,
	};
	Answered answered = { .state = 0 };

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	(void)sem_init(&answered.came, 0, 0);
	runtime_create_snapshot(node.runtime, &call, came, &answered);
	(void)sem_wait(&answered.came);

	cr_assert_eq(answered.state, SNAPSHOT_CREATING);
	cr_assert_eq(count_snapshots(), 0);
	taken("web-1", "one", SNAPSHOT_THEN_UNSET);
}

Test(snapshot, gives_way_to_a_stop_and_to_a_destroy)
{
	static const struct {
		VmOp op;
		VmState state;
	} rows[] = { { VM_OP_STOP, VM_STOPPED }, { VM_OP_DESTROY, VM_DESTROYED } };

	for (size_t i = 0; i < array_size(rows); i++) {
		Answered answered = { .state = 0 };

		create("web-1", test_spec(VM_DESIRED_RUNNING, "snapshot-hangs"), VM_RUNNING);
		ask(&answered, "web-1", "one", SNAPSHOT_THEN_UNSET);
		cr_assert(test_reaches(&node, "web-1", VM_SNAPSHOTTING));

		run(rows[i].op, "web-1", rows[i].state);

		(void)sem_wait(&answered.came);
		cr_assert_eq(answered.err.kind, ERROR_INVALID_TRANSITION);
		cr_assert_eq(count_snapshots(), 0);
		if (rows[i].op != VM_OP_DESTROY)
			run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	}
}

static VmSpec *from_snapshot(VmDesired desired, const char *fault, bool shared)
{
	VmSpec *spec = test_spec(desired, fault);

	spec->restore_from = new0(VmRestoreFrom);
	spec->restore_from->vm_id = text_dup("web-1");
	spec->restore_from->snapshot_id = text_dup("one");
	spec->restore_from->allow_shared_identity = shared;
	return spec;
}

static void leave_snapshot(void)
{
	create("web-1", with_drive(VM_DESIRED_RUNNING, NULL, "a"), VM_RUNNING);
	taken("web-1", "one", SNAPSHOT_THEN_UNSET);
}

Test(snapshot, is_where_a_vm_goes_on_once_and_boots_later)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	leave_snapshot();
	create("web-2", from_snapshot(VM_DESIRED_RUNNING, NULL, true), VM_RUNNING);

	cr_assert(fault_restored(node.fault, "web-2"));
	record = look("web-2");
	cr_assert_eq(record->spec->drives.count, 1);
	cr_assert(spec_drive(record->spec, 0)->from_snapshot);
	cr_assert(text_equal(spec_drive(record->spec, 0)->path, ""));
	cr_assert(record->status.resolved->restored);
	run(VM_OP_STOP, "web-2", VM_STOPPED);
	run(VM_OP_START, "web-2", VM_RUNNING);
	cr_assert_not(fault_restored(node.fault, "web-2"));
}

Test(snapshot, is_where_a_vm_may_go_on_paused)
{
	leave_snapshot();
	create("web-2", from_snapshot(VM_DESIRED_PAUSED, NULL, true), VM_PAUSED);

	cr_assert(fault_restored(node.fault, "web-2"));
	cr_assert(fault_paused(node.fault, "web-2"));
	run(VM_OP_RESUME, "web-2", VM_RUNNING);
}

Test(snapshot, is_tried_again_by_a_vm_that_could_not_go_on)
{
	leave_snapshot();
	create("web-2", from_snapshot(VM_DESIRED_UNSET, "restore-fails", true), VM_CREATED);

	run_fails(VM_OP_START, "web-2", ERROR_VMM_FAILED);
	run_fails(VM_OP_START, "web-2", ERROR_VMM_FAILED);

	cr_assert_not(fault_alive(node.fault, "web-2"));
}

static void create_fails(VmSpec *spec, ErrorKind kind, const char *words)
{
	TestAnswer answer = test_create(&node, "web-9", spec);
	char message[ERROR_MESSAGE_MAX];

	(void)error_message(&answer.err, message);
	cr_assert_eq(answer.err.kind, kind, "%s %s", message, answer.err.what);
	cr_assert(strstr(message, words) || strstr(answer.err.what, words), "%s %s", message,
		  answer.err.what);
	test_answer_clear(&answer);
}

Test(snapshot, must_be_there_and_its_guest_have_an_identity)
{
	create_fails(from_snapshot(VM_DESIRED_RUNNING, NULL, true), ERROR_SNAPSHOT_NOT_FOUND,
		     "one");
	leave_snapshot();

	create_fails(from_snapshot(VM_DESIRED_RUNNING, NULL, false), ERROR_INVALID_REQUEST,
		     "allow_shared_identity");
}

Test(snapshot, stays_while_a_vm_that_goes_on_from_it_is_there)
{
	Snapshots *snapshots = runtime_snapshots(node.runtime);
	Error err = { 0 };

	leave_snapshot();
	create("web-2", from_snapshot(VM_DESIRED_UNSET, NULL, true), VM_CREATED);

	cr_assert_eq(snapshots_delete(snapshots, "web-1", "one", &err), -1);
	cr_assert_eq(err.kind, ERROR_IN_USE);
	run(VM_OP_DESTROY, "web-2", VM_DESTROYED);
	error_clear(&err);
	cr_assert_eq(snapshots_delete(snapshots, "web-1", "one", &err), 0, "%s", err.what);
}

/* ---- diffs ---- */

static VmSpec *tracked(VmDesired desired, const char *fault)
{
	VmSpec *spec = with_drive(desired, fault, "a");

	if (!spec->machine)
		spec->machine = new0(VmMachine);
	spec->machine->track_dirty_pages = true;
	return spec;
}

static Error take_over(const char *snapshot_id, const char *parent)
{
	Answered answered = { .state = 0 };

	ask_over(&answered, "web-1", snapshot_id, SNAPSHOT_THEN_UNSET, parent);
	(void)sem_wait(&answered.came);
	return answered.err;
}

static void taken_over(const char *snapshot_id, const char *parent)
{
	Error err = take_over(snapshot_id, parent);

	cr_assert_not(error_is_set(&err), "%s", err.what);
}

static void refused_over(const char *parent, ErrorKind kind, const char *words)
{
	size_t before = count_snapshots();
	Error err = take_over("refused", parent);

	cr_assert_eq(err.kind, kind, "%s: %s", error_kind_name(err.kind), err.what);
	cr_assert(strstr(err.what, words), "%s", err.what);
	cr_assert_eq(count_snapshots(), before);
}

static size_t depth_of(const char *snapshot_id)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };
	Error err = { 0 };

	cr_assert_eq(
		snapshots_get(runtime_snapshots(node.runtime), "web-1", snapshot_id, &info, &err),
		0, "%s", err.what);
	return info.depth;
}

Test(snapshot, of_what_has_changed_is_laid_over_the_last_one)
{
	create("web-1", tracked(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	taken_over("one", "");
	taken_over("two", "one");
	taken_over("three", "two");

	cr_expect_eq(depth_of("three"), 3);
	refused_over("one", ERROR_INVALID_REQUEST, "must be 'three'");
	refused_over("nothing", ERROR_INVALID_REQUEST, "must be 'three'");
	taken_over("full", "");
	cr_expect_eq(depth_of("full"), 1);
	refused_over("three", ERROR_INVALID_REQUEST, "must be 'full'");
}

Test(snapshot, of_what_has_changed_needs_a_run_whose_pages_are_tracked)
{
	create("web-1", with_drive(VM_DESIRED_RUNNING, NULL, "a"), VM_RUNNING);
	taken_over("one", "");
	refused_over("one", ERROR_INVALID_REQUEST, "track_dirty_pages");
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);

	create("web-1", tracked(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	refused_over("one", ERROR_INVALID_REQUEST, "must be empty");
	taken_over("two", "");
	run(VM_OP_STOP, "web-1", VM_STOPPED);
	run(VM_OP_START, "web-1", VM_RUNNING);
	refused_over("two", ERROR_INVALID_REQUEST, "must be empty");
}

/* The VMM may have forgotten what was written. */
Test(snapshot, that_failed_lets_nothing_be_laid_over_the_one_before)
{
	Error err;

	create("web-1", tracked(VM_DESIRED_RUNNING, "diff-fails"), VM_RUNNING);
	taken_over("one", "");
	err = take_over("two", "one");
	cr_assert_eq(err.kind, ERROR_SNAPSHOT_FAILED);

	refused_over("one", ERROR_INVALID_REQUEST, "must be empty");
	taken_over("three", "");
	cr_assert_eq(take_over("four", "three").kind, ERROR_SNAPSHOT_FAILED);
}

Test(snapshot, of_what_has_changed_is_made_full_by_the_first_who_goes_on_from_it)
{
	cleanup_free char *path = NULL;
	cleanup_free char *memory = NULL;
	VmSpec *spec = from_snapshot(VM_DESIRED_RUNNING, NULL, true);
	size_t length;

	create("web-1", tracked(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	taken_over("zero", "");
	taken_over("one", "zero");
	create("web-2", spec, VM_RUNNING);

	cr_assert(fault_restored(node.fault, "web-2"));
	cr_expect_eq(depth_of("one"), 1);
	path = text_printf("%s/snapshots/web-1/one/memory", node.state_dir);
	cr_assert_eq(file_read(&memory, &length, path, 1 << 20), 0);
	cr_assert_eq(length, (size_t)FAULT_PAGES * FAULT_PAGE);
	for (size_t i = 0; i < length; i++)
		cr_assert_eq(memory[i], i / FAULT_PAGE == 1 ? 'd' : 'f', "%zu", i);
	taken_over("two", "one");
	cr_expect_eq(depth_of("two"), 2);
}
