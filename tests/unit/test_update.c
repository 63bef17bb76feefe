/* SPDX-License-Identifier: Apache-2.0 */

/* UpdateVm of drives, interfaces, balloon and MMDS: what is asked, and at rest. */

#include "tests/unit/update_suite.h"

TestSuite(update, .init = open_node, .fini = remove_node);

Test(update, at_rest_it_is_a_change_of_the_spec)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_balloon(VM_DESIRED_UNSET, NULL, 8), VM_CREATED);

	cr_assert_eq(update_goes(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON),
		     2);

	record = look("web-1");
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 9);
	cr_assert_null(record->status.operation);
	cr_assert_str_eq(record->status.last_operation->verb, "create");
	cr_assert_eq(fault_updates(node.fault, "web-1"), 0);
	run(VM_OP_START, "web-1", VM_RUNNING);
}

Test(update, at_rest_all_may_change)
{
	create("web-1", with_drive(VM_DESIRED_UNSET, NULL, "a"), VM_CREATED);

	cr_assert_eq(update_goes(test_spec(VM_DESIRED_UNSET, NULL), RUNTIME_UPDATE_DRIVES), 2);
	cr_assert_eq(update_goes(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON),
		     3);
	cr_assert_eq(update_goes(test_spec(VM_DESIRED_UNSET, NULL), RUNTIME_UPDATE_BALLOON), 4);
}

Test(update, at_rest_the_whole_must_be_sound)
{
	create("web-1", with_balloon(VM_DESIRED_UNSET, NULL, 8), VM_CREATED);

	update_fails(with_balloon(VM_DESIRED_UNSET, NULL, 128), RUNTIME_UPDATE_BALLOON,
		     ERROR_INVALID_REQUEST, "spec.devices.balloon.amount_mib: must be less than");

	cr_assert_eq(balloon_of("web-1"), 8);
}

Test(update, at_rest_the_backend_is_asked)
{
	VmSpec *spec = with_balloon(VM_DESIRED_UNSET, "check-fails", 9);

	create("web-1", with_balloon(VM_DESIRED_UNSET, NULL, 8), VM_CREATED);

	update_fails(spec, RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_LABELS, ERROR_INVALID_REQUEST,
		     "spec.boot.kernel_path: no such file");

	cr_assert_eq(balloon_of("web-1"), 8);
}

Test(update, at_rest_the_new_disk_is_claimed_and_the_old_one_is_free)
{
	create("web-1", with_drive(VM_DESIRED_UNSET, NULL, "a"), VM_CREATED);
	create("web-2", with_drive(VM_DESIRED_UNSET, NULL, "c"), VM_CREATED);

	update_fails(with_drive(VM_DESIRED_UNSET, NULL, "c"), RUNTIME_UPDATE_DRIVES,
		     ERROR_INVALID_REQUEST, "spec.drives[0].path: vm 'web-2' writes to it");
	cr_assert_not(is_free("a"));
	update_goes(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES);

	cr_assert(is_free("a"));
	cr_assert_not(is_free("b"));
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	cr_assert(is_free("b"));
}

Test(update, at_rest_drives_may_trade_their_disks)
{
	VmSpec *spec = with_drive(VM_DESIRED_UNSET, NULL, "a");
	VmSpec *traded = with_drive(VM_DESIRED_UNSET, NULL, "b");

	add_drive(spec, "more", "b");
	add_drive(traded, "more", "a");
	create("web-1", spec, VM_CREATED);

	update_goes(traded, RUNTIME_UPDATE_DRIVES);

	cr_assert_not(is_free("a"));
	cr_assert_not(is_free("b"));
}

Test(update, validating_only_checks_all_and_changes_nothing)
{
	cleanup_(spec_unrefp) VmSpec *good = with_drive(VM_DESIRED_UNSET, NULL, "b");
	cleanup_(spec_unrefp) VmSpec *taken = with_drive(VM_DESIRED_UNSET, NULL, "c");
	VmCall call = { .vm_id = "web-1",
			.validate_only = true,
			.update = good,
			.update_mask = RUNTIME_UPDATE_DRIVES };

	create("web-2", with_drive(VM_DESIRED_UNSET, NULL, "c"), VM_CREATED);
	for (int running = 0; running < 2; running++) {
		VmDesired desired = running ? VM_DESIRED_RUNNING : VM_DESIRED_UNSET;
		cleanup_(record_unrefp) VmRecord *before = NULL;
		cleanup_(record_unrefp) VmRecord *after = NULL;
		TestAnswer answer;

		create("web-1", with_drive(desired, NULL, "a"), running ? VM_RUNNING : VM_CREATED);
		before = look("web-1");

		call.update = good;
		answer = test_call(&node, VM_OP_UPDATE, &call);
		cr_assert_str_eq(spec_drive(answer.record->spec, 0)->path,
				 spec_drive(good, 0)->path);
		test_answer_clear(&answer);
		call.update = taken;
		answer = test_call(&node, VM_OP_UPDATE, &call);
		cr_assert_eq(answer.err.kind, ERROR_INVALID_REQUEST);

		after = look("web-1");
		cr_assert_eq(before, after);
		cr_assert(is_free("b"));
		cr_assert_eq(fault_updates(node.fault, "web-1"), 0);
		run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	}
}

Test(update, what_differs_from_nothing_is_no_operation)
{
	cleanup_(record_unrefp) VmRecord *before = NULL;
	cleanup_(record_unrefp) VmRecord *after = NULL;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 8), VM_RUNNING);
	before = look("web-1");

	cr_assert_eq(update_goes(with_balloon(VM_DESIRED_UNSET, NULL, 8),
				 RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_MMDS),
		     1);

	after = look("web-1");
	cr_assert_eq(before, after);
}

Test(update, expectations_are_checked)
{
	cleanup_(spec_unrefp) VmSpec *spec = with_balloon(VM_DESIRED_UNSET, NULL, 9);
	VmCall call = { .vm_id = "web-1",
			.expected_generation = 2,
			.update = spec,
			.update_mask = RUNTIME_UPDATE_BALLOON };
	TestAnswer answer;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 8), VM_RUNNING);

	cr_assert_eq(test_call(&node, VM_OP_UPDATE, &call).err.kind, ERROR_CONFLICT);
	call.expected_generation = 1;
	call.expected_revision = 99;
	cr_assert_eq(test_call(&node, VM_OP_UPDATE, &call).err.kind, ERROR_CONFLICT);
	call.expected_revision = 0;
	call.expected_uid = "another";
	cr_assert_eq(test_call(&node, VM_OP_UPDATE, &call).err.kind, ERROR_CONFLICT);
	call.expected_uid = "";
	answer = test_call(&node, VM_OP_UPDATE, &call);

	cr_assert_eq(answer.record->generation, 2);
	test_answer_clear(&answer);
}

/* Each goes on from the one before. */
Test(update, many_at_rest_all_come_true)
{
	enum {
		MANY = 20
	};
	VmSpec *specs[MANY];
	TestAnswer answers[MANY];
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_drive(VM_DESIRED_UNSET, NULL, "0"), VM_CREATED);

	for (size_t i = 0; i < MANY; i++) {
		cleanup_free char *name = text_printf("%zu", i + 1);
		VmCall call = { .vm_id = "web-1", .update_mask = RUNTIME_UPDATE_DRIVES };

		call.update = specs[i] = with_drive(VM_DESIRED_UNSET, NULL, name);
		test_begin(&node, VM_OP_UPDATE, &call, &answers[i]);
	}
	for (size_t i = 0; i < MANY; i++) {
		cr_assert(test_wait(&answers[i]));
		cr_assert_not_null(answers[i].record);
		test_answer_clear(&answers[i]);
		spec_unref(specs[i]);
	}

	record = look("web-1");
	cr_assert_eq(record->generation, MANY + 1);
	for (size_t i = 0; i <= MANY; i++) {
		cleanup_free char *name = text_printf("%zu", i);
		cleanup_free char *path = disk(name);

		cr_assert_eq(is_free(name), !text_equal(path, spec_drive(record->spec, 0)->path));
	}
}
