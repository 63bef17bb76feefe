/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "tests/support/suite_node.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TestSuite(create, .init = open_node, .fini = remove_node);

static VmSpec *with_drive(const char *path, bool read_only)
{
	VmSpec *spec = test_spec(VM_DESIRED_UNSET, NULL);
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_dup("root");
	drive->path = text_dup(path);
	drive->read_only = read_only;
	return spec;
}

Test(create, create_carries_out_the_desired_state)
{
	create("runs", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
	create("pauses", test_spec(VM_DESIRED_PAUSED, NULL), VM_PAUSED);
}

Test(create, creating_again_with_the_same_request_answers_the_vm_as_it_is)
{
	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);

	cr_assert_eq(fault_starts(node.fault, "web-1"), 1);
}

Test(create, creating_another_vm_of_that_name_is_refused)
{
	TestAnswer answer;
	char message[ERROR_MESSAGE_MAX];

	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);

	answer = test_create(&node, "web-1", test_spec(VM_DESIRED_RUNNING, NULL));

	cr_assert_eq(answer.err.kind, ERROR_VM_ALREADY_EXISTS);
	cr_assert_str_eq(error_message(&answer.err, message), "vm 'web-1' already exists");
}

Test(create, a_check_that_fails_leaves_no_vm)
{
	TestAnswer answer =
		test_create(&node, "web-1", test_spec(VM_DESIRED_RUNNING, "check-fails"));

	cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);
	cr_assert_null(look("web-1"));
	create("web-1", test_spec(VM_DESIRED_RUNNING, NULL), VM_RUNNING);
}

Test(create, a_writable_disk_belongs_to_one_vm)
{
	TestAnswer answer;

	create("a", with_drive("/dev/null", false), VM_CREATED);

	answer = test_create(&node, "b", with_drive("/dev/../dev/null", true));

	cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);
	run(VM_OP_DESTROY, "a", VM_DESTROYED);
	create("b", with_drive("/dev/null", true), VM_CREATED);
	create("c", with_drive("/dev/null", true), VM_CREATED);
}

Test(create, a_disk_is_given_back_even_if_its_link_leads_elsewhere_by_then)
{
	cleanup_free char *link = text_printf("%s/link", node.state_dir);

	cr_assert_eq(symlink("/dev/null", link), 0);
	create("a", with_drive(link, false), VM_CREATED);
	cr_assert_eq(unlink(link), 0);
	cr_assert_eq(symlink("/dev/zero", link), 0);

	run(VM_OP_DESTROY, "a", VM_DESTROYED);

	create("b", with_drive("/dev/null", false), VM_CREATED);
}

static void write_disk(const char *path)
{
	cr_assert_eq(file_write_atomic(path, "a disk", 6), 0);
}

Test(create, a_hard_link_to_a_disk_that_another_vm_writes_is_refused)
{
	cleanup_free char *disk = text_printf("%s/disk", node.state_dir);
	cleanup_free char *linked = text_printf("%s/linked", node.state_dir);
	TestAnswer answer;

	write_disk(disk);
	cr_assert_eq(link(disk, linked), 0);
	create("a", with_drive(disk, false), VM_CREATED);

	answer = test_create(&node, "b", with_drive(linked, true));

	cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);
	run(VM_OP_DESTROY, "a", VM_DESTROYED);
	create("b", with_drive(linked, false), VM_CREATED);
}

Test(create, a_disk_whose_file_was_replaced_stays_its_vms)
{
	cleanup_free char *disk = text_printf("%s/disk", node.state_dir);
	TestAnswer answer;

	write_disk(disk);
	create("a", with_drive(disk, false), VM_CREATED);
	write_disk(disk);

	answer = test_create(&node, "b", with_drive(disk, false));

	cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);
}

Test(create, a_vm_does_not_write_one_disk_through_two_drives)
{
	VmSpec *spec = with_drive("/dev/null", false);
	VmDrive *second = field_list_add(&spec->drives, &vm_drive_table);
	TestAnswer answer;

	second->drive_id = text_dup("second");
	second->path = text_dup("/dev/../dev/null");

	answer = test_create(&node, "a", spec);

	cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);
	create("b", with_drive("/dev/null", false), VM_CREATED);
}

Test(create, of_two_creates_in_flight_with_one_uid_one_is_refused)
{
	cleanup_(spec_unrefp) VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);
	TestAnswer answers[2];
	unsigned conflicts = 0;

	test_begin_create(&node, "a", "the-uid", spec, &answers[0]);
	test_begin_create(&node, "b", "the-uid", spec, &answers[1]);

	for (size_t i = 0; i < array_size(answers); i++) {
		cr_assert(test_wait(&answers[i]));
		conflicts += answers[i].err.kind == ERROR_CONFLICT;
		test_answer_clear(&answers[i]);
	}
	cr_assert_eq(conflicts, 1);
}

Test(create, equal_creates_in_flight_make_one_vm)
{
	cleanup_(spec_unrefp) VmSpec *spec = with_drive("/dev/null", false);
	TestAnswer answers[8];

	spec->desired_state = VM_DESIRED_RUNNING;
	for (size_t i = 0; i < array_size(answers); i++)
		test_begin_create(&node, "a", "the-uid", spec, &answers[i]);

	for (size_t i = 0; i < array_size(answers); i++) {
		cr_assert(test_wait(&answers[i]));
		cr_assert_eq(state_of(&answers[i]), VM_RUNNING);
		test_answer_clear(&answers[i]);
	}
	cr_assert_eq(fault_starts(node.fault, "a"), 1);
}

Test(create, a_cordoned_node_takes_no_new_vm)
{
	TestAnswer answer;
	Error err = { 0 };

	cr_assert_eq(runtime_cordon(node.runtime, "ops", "disk swap", &err), 0);

	answer = test_create(&node, "web-1", test_spec(VM_DESIRED_UNSET, NULL));

	cr_assert_eq(answer.err.kind, ERROR_CORDONED);
	cr_assert_str_eq(answer.err.what, "by ops: disk swap");
	cr_assert_eq(runtime_uncordon(node.runtime, "ops", &err), 0);
	create("web-1", test_spec(VM_DESIRED_UNSET, NULL), VM_CREATED);
}
