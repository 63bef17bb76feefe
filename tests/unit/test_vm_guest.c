/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/vm.h"

#include <criterion/criterion.h>

/* What a record's conditions say of a guest. With a real one: tests/e2e/test_guest_ready.py. */

static VmRecord *record_that_expects(VmGuestAgent expected)
{
	VmRecord *record = record_new();

	record->spec = spec_new();
	record->spec->guest_agent = expected;
	return record;
}

static void expect(const VmRecord *record, const char *type, ConditionStatus status,
		   const char *reason)
{
	const VmCondition *condition = record_condition(record, type);

	cr_assert_not_null(condition, "%s", type);
	cr_expect_eq(condition->status, status, "%s", type);
	cr_expect_str_eq(condition->reason, reason, "%s", type);
}

Test(vm_guest, ready_waits_for_all_that_is_required_one_after_the_other)
{
	cleanup_(record_unrefp) VmRecord *record = record_that_expects(VM_GUEST_AGENT_REQUIRED);
	VmGuestStatus *guest;

	field_texts_add(&record->spec->secrets, "token");
	vm_set_state(record, VM_RUNNING);
	expect(record, "Ready", CONDITION_FALSE, "GuestNotConnected");
	guest = record->status.guest = new0(VmGuestStatus);
	guest->connected = true;
	vm_set_state(record, VM_RUNNING);
	expect(record, "Ready", CONDITION_FALSE, "GuestNotReady");
	expect(record, "GuestConnected", CONDITION_TRUE, "Connected");
	guest->ready = true;
	vm_set_state(record, VM_RUNNING);
	expect(record, "Ready", CONDITION_FALSE, "SecretsMissing");
	expect(record, "SecretsDelivered", CONDITION_FALSE, "Missing");
	field_texts_add(&guest->secrets, "token");
	vm_set_state(record, VM_RUNNING);
	expect(record, "Ready", CONDITION_TRUE, "GuestReady");
	expect(record, "SecretsDelivered", CONDITION_TRUE, "Delivered");
}

Test(vm_guest, a_condition_that_stays_as_it_is_has_made_no_transition)
{
	cleanup_(record_unrefp) VmRecord *record = record_that_expects(VM_GUEST_AGENT_REQUIRED);
	int64_t since;

	vm_set_state(record, VM_RUNNING);
	since = record_condition(record, "Ready")->transition_time;
	clock_sleep_us(2 * (int64_t)USEC_PER_MSEC);
	vm_set_state(record, VM_RUNNING);

	cr_expect_eq(record_condition(record, "Ready")->transition_time, since);
}

Test(vm_guest, what_it_has_told_lasts_as_long_as_its_run)
{
	static const VmState lasting[] = { VM_PAUSING, VM_PAUSED, VM_RESUMING, VM_STOPPING };
	cleanup_(record_unrefp) VmRecord *record = record_that_expects(VM_GUEST_AGENT_OPTIONAL);

	record->status.guest = new0(VmGuestStatus);
	for (size_t i = 0; i < array_size(lasting); i++) {
		vm_set_state(record, lasting[i]);
		cr_expect_not_null(record->status.guest, "%s", vm_state_name(lasting[i]));
	}
	vm_set_state(record, VM_STOPPED);
	cr_expect_null(record->status.guest);
	expect(record, "GuestConnected", CONDITION_FALSE, "Stopped");
}

Test(vm_guest, of_one_of_which_nothing_is_expected_nothing_is_said)
{
	cleanup_(record_unrefp) VmRecord *record = record_that_expects(VM_GUEST_AGENT_UNSET);

	vm_set_state(record, VM_RUNNING);

	expect(record, "Ready", CONDITION_TRUE, "Running");
	cr_expect_null(record_condition(record, "GuestConnected"));
}
