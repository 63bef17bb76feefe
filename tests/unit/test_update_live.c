/* SPDX-License-Identifier: Apache-2.0 */

/* UpdateVm of what the VMM of a running VM has to be told of. */

#include "tests/unit/update_suite.h"

TestSuite(update_live, .init = open_node, .fini = remove_node);

Test(update_live, while_it_runs_it_is_an_operation)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 8), VM_RUNNING);

	cr_assert_eq(update_goes(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON),
		     2);

	record = look("web-1");
	cr_assert_eq(record->status.state, VM_RUNNING);
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 9);
	cr_assert_eq(record->status.observed_generation, 2);
	cr_assert_null(record->status.operation);
	cr_assert_str_eq(record->status.last_operation->verb, "update");
	cr_assert_eq(record->status.last_operation->outcome, OPERATION_SUCCEEDED);
	cr_assert_eq(fault_balloon_mib(node.fault, "web-1"), 9);
}

Test(update_live, a_paused_vm_is_updated_and_stays_paused)
{
	create("web-1", with_balloon(VM_DESIRED_PAUSED, NULL, 8), VM_PAUSED);

	update_goes(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON);

	cr_assert_eq(fault_balloon_mib(node.fault, "web-1"), 9);
	run(VM_OP_RESUME, "web-1", VM_RUNNING);
}

Test(update_live, an_in_memory_vm_takes_every_update)
{
	VmSpec *spec = with_balloon(VM_DESIRED_RUNNING, NULL, 8);

	spec->backend = VM_BACKEND_IN_MEMORY;
	create("web-1", spec, VM_RUNNING);

	cr_assert_eq(update_goes(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON),
		     2);
}

Test(update_live, a_mask_may_mix_what_the_vmm_has_with_what_it_has_not)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	VmSpec *spec = with_balloon(VM_DESIRED_UNSET, "pause-fails", 9);

	spec->expires_at = INT64_C(4102444800000000);
	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 8), VM_RUNNING);

	cr_assert_eq(update_goes(spec, RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_LABELS |
					       RUNTIME_UPDATE_EXPIRES_AT),
		     2);

	record = look("web-1");
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 9);
	cr_assert_str_eq(field_map_get(&record->spec->labels, "fault"), "pause-fails");
	cr_assert_eq(record->spec->expires_at, INT64_C(4102444800000000));
}

Test(update_live, an_expiry_beside_a_change_of_the_vmm_is_carried_out)
{
	VmSpec *spec = with_balloon(VM_DESIRED_UNSET, NULL, 9);

	spec->expires_at = 1; /* long ago */
	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 8), VM_RUNNING);

	update_goes(spec, RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_EXPIRES_AT);

	cr_assert(test_reaches(&node, "web-1", VM_STOPPED));
}

Test(update_live, one_that_fails_leaves_the_spec_and_says_why)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, "update-fails", 8), VM_RUNNING);

	update_fails(with_balloon(VM_DESIRED_UNSET, "x", 9),
		     RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_LABELS, ERROR_VMM_FAILED,
		     "told to fail");

	record = look("web-1");
	cr_assert_eq(record->status.state, VM_RUNNING);
	cr_assert_eq(record->generation, 1);
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 8);
	cr_assert_str_eq(field_map_get(&record->spec->labels, "fault"), "update-fails");
	cr_assert_null(record->status.operation);
	cr_assert_eq(record->status.last_operation->outcome, OPERATION_FAILED);
	cr_assert_not_null(strstr(record->status.last_operation->error->message, "told to fail"));
}

Test(update_live, one_that_cannot_be_undone_poisons_and_both_disks_stay_taken)
{
	create("web-1", with_drive(VM_DESIRED_RUNNING, "update-poisons", "a"), VM_RUNNING);

	update_fails(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES,
		     ERROR_VMM_FAILED, "told to fail");

	cr_assert(test_reaches(&node, "web-1", VM_POISONED));
	update_fails(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES,
		     ERROR_STATE_POISONED, "");
	cr_assert_not(is_free("a"));
	cr_assert_not(is_free("b"));
	run(VM_OP_DESTROY, "web-1", VM_DESTROYED);
	cr_assert(is_free("a"));
	cr_assert(is_free("b"));
}

Test(update_live, a_swapped_disk_is_claimed_and_the_old_one_is_free)
{
	create("web-1", with_drive(VM_DESIRED_RUNNING, NULL, "a"), VM_RUNNING);

	update_goes(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES);

	cr_assert(is_free("a"));
	cr_assert_not(is_free("b"));
}

Test(update_live, while_a_disk_is_swapped_both_are_taken)
{
	TestAnswer answer;

	create("web-1", with_drive(VM_DESIRED_RUNNING, "update-waits", "a"), VM_RUNNING);

	begin_update(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES, &answer);

	cr_assert_not(is_free("a"));
	cr_assert_not(is_free("b"));
	fault_let_go(node.fault);
	cr_assert(test_wait(&answer));
	cr_assert(is_free("a"));
	cr_assert_not(is_free("b"));
	test_answer_clear(&answer);
}

Test(update_live, a_disk_that_was_not_swapped_is_free)
{
	create("web-1", with_drive(VM_DESIRED_RUNNING, "update-fails", "a"), VM_RUNNING);

	update_fails(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES,
		     ERROR_VMM_FAILED, "");

	cr_assert_not(is_free("a"));
	cr_assert(is_free("b"));
}

Test(update_live, a_running_vm_gets_no_disk_that_is_in_use_or_is_none)
{
	VmSpec *spec = with_drive(VM_DESIRED_RUNNING, NULL, "a");
	VmSpec *wanted = with_drive(VM_DESIRED_UNSET, NULL, "b"), *missing;

	add_drive(spec, "more", "b");
	add_drive(wanted, "more", "c");
	create("web-1", spec, VM_RUNNING);
	create("web-2", with_drive(VM_DESIRED_UNSET, NULL, "c"), VM_CREATED);
	missing = spec_copy(wanted);
	free(((VmDrive *)missing->drives.items)[0].path);
	((VmDrive *)missing->drives.items)[0].path = text_dup("/nonexistent");

	update_fails(wanted, RUNTIME_UPDATE_DRIVES, ERROR_INVALID_REQUEST,
		     "spec.drives[0].path: the VM's drive 'more' uses it; "
		     "spec.drives[1].path: vm 'web-2' writes to it");
	update_fails(missing, RUNTIME_UPDATE_DRIVES, ERROR_INVALID_REQUEST,
		     "spec.drives[0].path: /nonexistent: No such file or directory");

	cr_assert_eq(fault_updates(node.fault, "web-1"), 0);
}

Test(update_live, a_running_vms_drives_do_not_trade_their_disks)
{
	VmSpec *spec = with_drive(VM_DESIRED_RUNNING, NULL, "a");
	VmSpec *traded = with_drive(VM_DESIRED_UNSET, NULL, "b");

	add_drive(spec, "more", "b");
	add_drive(traded, "more", "a");
	create("web-1", spec, VM_RUNNING);

	update_fails(traded, RUNTIME_UPDATE_DRIVES, ERROR_INVALID_REQUEST,
		     "spec.drives[0].path: the VM's drive 'more' uses it; "
		     "spec.drives[1].path: the VM's drive 'data' uses it");
}

Test(update_live, what_a_vmm_cannot_be_told_is_named)
{
	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 8), VM_RUNNING);

	update_fails(with_drive(VM_DESIRED_UNSET, NULL, "a"),
		     RUNTIME_UPDATE_DRIVES | RUNTIME_UPDATE_BALLOON, ERROR_INVALID_REQUEST,
		     "spec.drives: cannot become more or fewer while the VM runs: there are 0; "
		     "spec.devices.balloon: cannot be taken away while the VM runs");
}

Test(update_live, labels_that_change_beside_it_are_kept)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	TestAnswer answer;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, "update-waits", 8), VM_RUNNING);
	begin_update(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON, &answer);

	record = look("web-1");
	cr_assert_str_eq(record->status.operation->verb, "update");
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 8);
	cr_assert_eq(update_goes(test_spec(VM_DESIRED_UNSET, "beside"), RUNTIME_UPDATE_LABELS), 2);
	fault_let_go(node.fault);
	cr_assert(test_wait(&answer));

	cr_assert_eq(answer.record->generation, 3);
	cr_assert_eq(answer.record->status.observed_generation, 1);
	cr_assert_eq(spec_balloon(answer.record->spec)->amount_mib, 9);
	cr_assert_str_eq(field_map_get(&answer.record->spec->labels, "fault"), "beside");
	test_answer_clear(&answer);
}

Test(update_live, no_other_update_of_its_parts_goes_beside_it)
{
	TestAnswer answer;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, "update-waits", 8), VM_RUNNING);
	begin_update(with_balloon(VM_DESIRED_UNSET, NULL, 9),
		     RUNTIME_UPDATE_BALLOON | RUNTIME_UPDATE_EXPIRES_AT, &answer);

	update_fails(with_balloon(VM_DESIRED_UNSET, NULL, 8), RUNTIME_UPDATE_BALLOON,
		     ERROR_INVALID_TRANSITION, "running -> updated");
	update_fails(with_drive(VM_DESIRED_UNSET, NULL, "a"), RUNTIME_UPDATE_DRIVES,
		     ERROR_INVALID_TRANSITION, "running -> updated");
	update_fails(test_spec(VM_DESIRED_UNSET, NULL), RUNTIME_UPDATE_EXPIRE_ACTION,
		     ERROR_INVALID_TRANSITION, "running -> updated");

	fault_let_go(node.fault);
	cr_assert(test_wait(&answer));
	cr_assert_eq(fault_balloon_mib(node.fault, "web-1"), 9);
	test_answer_clear(&answer);
}

Test(update_live, a_pause_waits_for_it)
{
	VmCall pause = { .vm_id = "web-1" };
	TestAnswer updated, paused;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, "update-waits", 8), VM_RUNNING);
	begin_update(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON, &updated);

	test_begin(&node, VM_OP_PAUSE, &pause, &paused);
	fault_let_go(node.fault);

	cr_assert(test_wait(&updated) && test_wait(&paused));
	cr_assert(state_of(&updated) == VM_RUNNING && state_of(&paused) == VM_PAUSED);
	cr_assert_eq(spec_balloon(paused.record->spec)->amount_mib, 9);
	test_answer_clear(&updated);
	test_answer_clear(&paused);
}

Test(update_live, a_stop_goes_ahead_of_a_pause_that_waits_for_it)
{
	VmCall pause = { .vm_id = "web-1" };
	TestAnswer updated, paused;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, "update-waits", 8), VM_RUNNING);
	begin_update(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON, &updated);
	test_begin(&node, VM_OP_PAUSE, &pause, &paused);

	run(VM_OP_STOP, "web-1", VM_STOPPED);

	cr_assert(test_wait(&updated) && test_wait(&paused));
	cr_assert_eq(updated.err.kind, ERROR_INVALID_TRANSITION);
	cr_assert_eq(paused.err.kind, ERROR_INVALID_TRANSITION);
}

static void check_preempted(VmOp op, VmState state)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	TestAnswer answer;

	create("web-1", with_drive(VM_DESIRED_RUNNING, "update-waits", "a"), VM_RUNNING);
	begin_update(with_drive(VM_DESIRED_UNSET, NULL, "b"), RUNTIME_UPDATE_DRIVES, &answer);

	run(op, "web-1", state);

	cr_assert(test_wait(&answer));
	cr_assert_eq(answer.err.kind, ERROR_INVALID_TRANSITION);
	cr_assert(is_free("b"));
	cr_assert_eq(is_free("a"), op == VM_OP_DESTROY);
	record = look("web-1");
	cr_assert(!record ||
		  text_equal(spec_drive(record->spec, 0)->path + strlen(node.state_dir), "/a"));
}

Test(update_live, a_stop_pre_empts_it)
{
	check_preempted(VM_OP_STOP, VM_STOPPED);
}

Test(update_live, a_destroy_pre_empts_it)
{
	check_preempted(VM_OP_DESTROY, VM_DESTROYED);
}

Test(update_live, a_vmm_that_ends_meanwhile_is_looked_into_after_it)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	TestAnswer answer;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, "update-waits,update-fails", 8),
	       VM_RUNNING);
	begin_update(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON, &answer);

	fault_exit(node.fault, "web-1", EXIT_VMM_SIGNAL);
	(void)usleep(50 * 1000);
	fault_let_go(node.fault);

	cr_assert(test_wait(&answer));
	cr_assert_eq(answer.err.kind, ERROR_VMM_FAILED);
	cr_assert(test_reaches(&node, "web-1", VM_FAILED));
	record = look("web-1");
	cr_assert_eq(record->status.last_exit->reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(spec_balloon(record->spec)->amount_mib, 8);
}

Test(update_live, a_busy_vm_is_not_updated_but_its_labels_are)
{
	VmCall start = { .vm_id = "web-1" };
	TestAnswer starting;

	create("web-1", with_balloon(VM_DESIRED_UNSET, "start-hangs", 8), VM_CREATED);
	test_begin(&node, VM_OP_START, &start, &starting);
	cr_assert(test_reaches(&node, "web-1", VM_STARTING));

	update_fails(with_balloon(VM_DESIRED_UNSET, NULL, 9), RUNTIME_UPDATE_BALLOON,
		     ERROR_INVALID_TRANSITION, "starting -> updated");
	update_goes(test_spec(VM_DESIRED_UNSET, "beside"), RUNTIME_UPDATE_LABELS);

	run(VM_OP_STOP, "web-1", VM_STOPPED);
	cr_assert(test_wait(&starting));
	test_answer_clear(&starting);
}

Test(update_live, many_at_once_leave_what_one_of_them_asked_for)
{
	enum {
		MANY = 20
	};
	VmSpec *specs[MANY];
	TestAnswer answers[MANY];
	uint64_t generation = 1;
	cleanup_(record_unrefp) VmRecord *record = NULL;

	create("web-1", with_balloon(VM_DESIRED_RUNNING, NULL, 64), VM_RUNNING);

	for (size_t i = 0; i < MANY; i++) {
		VmCall call = { .vm_id = "web-1", .update_mask = RUNTIME_UPDATE_BALLOON };

		call.update = specs[i] = with_balloon(VM_DESIRED_UNSET, NULL, i + 1);
		test_begin(&node, VM_OP_UPDATE, &call, &answers[i]);
	}
	for (size_t i = 0; i < MANY; i++) {
		cr_assert(test_wait(&answers[i]));
		if (answers[i].record)
			generation++;
		else
			cr_assert_eq(answers[i].err.kind, ERROR_INVALID_TRANSITION);
		test_answer_clear(&answers[i]);
		spec_unref(specs[i]);
	}

	record = look("web-1");
	cr_assert_gt(generation, 1);
	cr_assert_eq(record->generation, generation);
	cr_assert_eq(spec_balloon(record->spec)->amount_mib,
		     fault_balloon_mib(node.fault, "web-1"));
}
