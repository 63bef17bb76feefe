/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/change.h"

#include <criterion/criterion.h>
#include <string.h>

static const char full[] =
	"{\"vm\":{\"vm_id\":\"web-1\",\"uid\":\"u-1\",\"tenant\":\"t\",\"generation\":2,"
	"\"create_time\":1700000000000000,\"delete_time\":1700000000000009,\"digest\":\"abc\"},"
	"\"spec\":{\"backend\":\"in_memory\",\"labels\":{\"app\":\"web\"}},"
	"\"status\":{\"state\":\"failed\",\"observed_generation\":2,"
	"\"conditions\":[{\"type\":\"Ready\",\"status\":\"false\",\"reason\":\"GuestPanic\","
	"\"message\":\"m\",\"transition_time\":1700000000000001}],"
	"\"operation\":{\"operation_id\":\"op-2\",\"verb\":\"stop\",\"stage\":\"kill\","
	"\"start_time\":1700000000000002},"
	"\"last_operation\":{\"operation_id\":\"op-1\",\"outcome\":\"failed\","
	"\"error\":{\"kind\":\"VMM_FAILED\",\"cause\":\"TIMEOUT\",\"message\":\"vmm failed: x\"},"
	"\"principal\":\"uid:0\",\"steps\":[{\"name\":\"spawn\",\"start_time\":1,\"end_time\":2}]},"
	"\"last_exit\":{\"reason\":\"vmm_signal\",\"requested\":true,\"exit_code\":-1,\"signal\":9,"
	"\"time\":1700000000000003,\"console_tail\":\"bye\","
	"\"rungs\":[{\"name\":\"kill\",\"outcome\":\"ended\",\"message\":\"r\",\"start_time\":3,"
	"\"end_time\":4}]},"
	"\"restart_count\":3,\"next_restart_time\":1700000000000004,"
	"\"resolved\":{\"backend\":\"in_memory\",\"instance_id\":\"0123456789abcdef\",\"vcpus\":1,"
	"\"memory_mib\":128,\"boot_args\":\"b\",\"accelerator\":\"tcg\",\"vmm_version\":\"7.2\","
	"\"vmm_pid\":10,\"keeper_pid\":11,\"start_time\":5}}}";

static VmRecord *parse(const char *text)
{
	VmRecord *record = NULL;

	cr_assert_eq(record_from_text(&record, text, 7), 0, "%s", text);
	return record;
}

Test(record, its_text_read_and_written_again_is_the_same)
{
	cleanup_(record_unrefp) VmRecord *record = parse(full);
	cleanup_free char *text = record_to_text(record);

	cr_assert_str_eq(text, full);
	cr_assert_eq(record->revision, 7);
	cr_assert_eq(record->status.last_exit->exit_code, -1);
}

Test(record, text_that_is_no_record_is_refused)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		"{\"vm\":{\"vm_id\":\"a\",\"uid\":\"u\"},\"spec\":{}}",
		"{\"vm\":{\"vm_id\":\"a\",\"uid\":\"u\"},\"status\":{}}",
		"{\"vm\":{\"vm_id\":\"a\"},\"spec\":{},\"status\":{}}",
		"{\"vm\":{\"uid\":\"u\"},\"spec\":{},\"status\":{}}",
		"{\"vm\":{\"vm_id\":\"a\",\"uid\":\"u\"},\"spec\":{},\"status\":{\"state\":\"x\"}}",
		"{\"vm\":{\"vm_id\":\"a\",\"uid\":\"u\"},\"spec\":{},\"spec\":{},\"status\":{}}",
		"{\"vm\":{\"vm_id\":\"a\",\"uid\":\"u\"},\"spec\":{},\"status\":{}} {}",
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		VmRecord *record = NULL;

		cr_assert_eq(record_from_text(&record, bad[i], 1), -EINVAL, "%s", bad[i]);
		cr_assert_null(record);
	}
}

Test(record, a_copy_shares_the_spec_and_nothing_else)
{
	cleanup_(record_unrefp) VmRecord *record = parse(full);
	cleanup_(record_unrefp) VmRecord *copy = record_copy(record);
	cleanup_free char *text = record_to_text(copy);

	cr_assert_str_eq(text, full);
	cr_assert_eq(copy->revision, 0);
	cr_assert_eq(copy->spec, record->spec);
	cr_assert_neq(copy->vm_id, record->vm_id);
	cr_assert_neq(copy->status.operation, record->status.operation);
}

Test(record, a_copy_outlives_the_original)
{
	VmRecord *record = parse(full);
	cleanup_(record_unrefp) VmRecord *copy = record_copy(record);
	cleanup_free char *text = NULL;

	record_unref(record_ref(record));
	record_unref(record);
	text = record_to_text(copy);

	cr_assert_str_eq(text, full);
}

Test(record, a_conditions_time_moves_only_with_its_status)
{
	cleanup_(record_unrefp) VmRecord *record = parse(full);
	int64_t before = record_condition(record, "Ready")->transition_time;

	record_set_condition(record, "Ready", CONDITION_FALSE, "Stopped", NULL);
	cr_assert_eq(record_condition(record, "Ready")->transition_time, before);
	cr_assert_str_eq(record_condition(record, "Ready")->reason, "Stopped");
	cr_assert_null(record_condition(record, "Ready")->message);
	record_set_condition(record, "Ready", CONDITION_TRUE, "Started", "m");

	cr_assert_gt(record_condition(record, "Ready")->transition_time, before);
	cr_assert_eq(record_condition(record, "Ready")->status, CONDITION_TRUE);
	cr_assert_eq(record->status.conditions.count, 1);
}

Test(record, a_new_condition_is_added)
{
	cleanup_(record_unrefp) VmRecord *record = parse(full);

	record_set_condition(record, "VmmRunning", CONDITION_TRUE, "Started", "");

	cr_assert_eq(record->status.conditions.count, 2);
	cr_assert_gt(record_condition(record, "VmmRunning")->transition_time, 0);
	cr_assert_null(record_condition(record, "Absent"));
}

Test(record, a_message_cut_within_a_character_is_still_stored)
{
	cleanup_(record_unrefp) VmRecord *record = parse(full);
	cleanup_free char *text = NULL;

	record_set_condition(record, "Ready", CONDITION_FALSE, "R", "caf\xc3");
	text = record_to_text(record);

	cr_assert(strstr(text, "\"message\":\"caf\xef\xbf\xbd\""));
}

Test(record, states_and_reasons_have_names)
{
	cr_assert_str_eq(vm_state_name(VM_CREATED), "created");
	cr_assert_str_eq(vm_state_name(VM_DESTROYED), "destroyed");
	cr_assert_str_eq(exit_reason_name(EXIT_GUEST_PANIC), "guest_panic");
	cr_assert_str_eq(exit_reason_word(EXIT_GUEST_PANIC), "GuestPanic");
}

Test(change, it_holds_its_records_until_it_goes)
{
	cleanup_(record_unrefp) VmRecord *record = parse(full);
	Change *change = change_new(CHANGE_MODIFIED, record_ref(record), "Started");

	change->before = record_ref(record);
	change->message = text_dup("m");
	change_unref(change_ref(change));
	cr_assert_eq(atomic_load(&record->refs), 3);
	change_unref(change);

	cr_assert_eq(atomic_load(&record->refs), 1);
}
