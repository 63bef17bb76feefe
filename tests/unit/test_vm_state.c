/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm_state.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
	STATES = VM_STATE_COUNT_ - 1,
	CELLS = STATES * VM_OP_COUNT_
};

/* The whole product in words of its own: state, operation, answer, and with GO and PREEMPT the
 * states while it runs, after success and after failure. */
/* clang-format off */
static const char *const product[] = {
	"created    start   go        starting   running   failed",
	"created    stop    satisfied",
	"created    pause   refuse",
	"created    resume  refuse",
	"created    update  go        created    created   created",
	"created    snapshot refuse",
	"created    destroy go        destroying destroyed poisoned",

	"starting   start   join",
	"starting   stop    preempt   stopping   stopped   poisoned",
	"starting   pause   refuse",
	"starting   resume  refuse",
	"starting   update  go        starting   starting  starting",
	"starting   snapshot refuse",
	"starting   destroy preempt   destroying destroyed poisoned",

	"running    start   satisfied",
	"running    stop    go        stopping   stopped   poisoned",
	"running    pause   go        pausing    paused    running",
	"running    resume  satisfied",
	"running    update  go        running    running   running",
	"running    snapshot go snapshotting running running",
	"running    destroy go        destroying destroyed poisoned",

	"pausing    start   refuse",
	"pausing    stop    preempt   stopping   stopped   poisoned",
	"pausing    pause   join",
	"pausing    resume  refuse",
	"pausing    update  go        pausing    pausing   pausing",
	"pausing    snapshot refuse",
	"pausing    destroy preempt   destroying destroyed poisoned",

	"paused     start   refuse",
	"paused     stop    go        stopping   stopped   poisoned",
	"paused     pause   satisfied",
	"paused     resume  go        resuming   running   paused",
	"paused     update  go        paused     paused    paused",
	"paused     snapshot go snapshotting paused paused",
	"paused     destroy go        destroying destroyed poisoned",

	"resuming   start   refuse",
	"resuming   stop    preempt   stopping   stopped   poisoned",
	"resuming   pause   refuse",
	"resuming   resume  join",
	"resuming   update  go        resuming   resuming  resuming",
	"resuming   snapshot refuse",
	"resuming   destroy preempt   destroying destroyed poisoned",

	"stopping   start   refuse",
	"stopping   stop    join",
	"stopping   pause   refuse",
	"stopping   resume  refuse",
	"stopping   update  go        stopping   stopping  stopping",
	"stopping   snapshot refuse",
	"stopping   destroy preempt   destroying destroyed poisoned",

	"stopped    start   go        starting   running   failed",
	"stopped    stop    satisfied",
	"stopped    pause   refuse",
	"stopped    resume  refuse",
	"stopped    update  go        stopped    stopped   stopped",
	"stopped    snapshot refuse",
	"stopped    destroy go        destroying destroyed poisoned",

	"failed     start   go        starting   running   failed",
	"failed     stop    go        stopping   stopped   poisoned",
	"failed     pause   refuse",
	"failed     resume  refuse",
	"failed     update  go        failed     failed    failed",
	"failed     snapshot refuse",
	"failed     destroy go        destroying destroyed poisoned",

	"backoff    start   go        starting   running   failed",
	"backoff    stop    go        stopping   stopped   poisoned",
	"backoff    pause   refuse",
	"backoff    resume  refuse",
	"backoff    update  go        backoff    backoff   backoff",
	"backoff    snapshot refuse",
	"backoff    destroy go        destroying destroyed poisoned",

	"poisoned   start   refuse",
	"poisoned   stop    refuse",
	"poisoned   pause   refuse",
	"poisoned   resume  refuse",
	"poisoned   update  refuse",
	"poisoned   snapshot refuse",
	"poisoned   destroy go        destroying destroyed poisoned",

	"destroying start   refuse",
	"destroying stop    refuse",
	"destroying pause   refuse",
	"destroying resume  refuse",
	"destroying update  refuse",
	"destroying snapshot refuse",
	"destroying destroy join",

	"destroyed  start   refuse",
	"destroyed  stop    refuse",
	"destroyed  pause   refuse",
	"destroyed  resume  refuse",
	"destroyed  update  refuse",
	"destroyed  snapshot refuse",
	"destroyed  destroy refuse",

	"snapshotting start refuse",
	"snapshotting stop preempt stopping stopped poisoned",
	"snapshotting pause refuse",
	"snapshotting resume refuse",
	"snapshotting update go snapshotting snapshotting snapshotting",
	"snapshotting snapshot refuse",
	"snapshotting destroy preempt destroying destroyed poisoned",
};
/* clang-format on */

static const char *const answers[] = {
	[VM_REFUSE] = "refuse", [VM_GO] = "go",           [VM_SATISFIED] = "satisfied",
	[VM_JOIN] = "join",     [VM_PREEMPT] = "preempt",
};

static bool has_states(const VmStepRule *rule)
{
	return rule->answer == VM_GO || rule->answer == VM_PREEMPT;
}

/* The cell as a line of the product, with single blanks. */
static void describe(char *line, size_t size, VmState from, VmOp op)
{
	const VmStepRule *rule = vm_rule(from, op);

	if (has_states(rule))
		(void)snprintf(line, size, "%s %s %s %s %s %s", vm_state_name(from), vm_op_name(op),
			       answers[rule->answer], vm_state_name(rule->busy),
			       vm_state_name(rule->done), vm_state_name(rule->failed));
	else
		(void)snprintf(line, size, "%s %s %s", vm_state_name(from), vm_op_name(op),
			       answers[rule->answer]);
}

/* @line without the blanks that align it. */
static void squeeze(char *ret, const char *line)
{
	for (; *line; line++)
		if (*line != ' ' || line[1] != ' ')
			*ret++ = *line;
	*ret = '\0';
}

Test(vm_state, every_operation_from_every_state_means_what_the_product_says)
{
	size_t cell = 0;

	cr_assert_eq(array_size(product), CELLS);
	for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++) {
		for (VmOp op = 0; op < VM_OP_COUNT_; op++, cell++) {
			char expected[128], line[128];

			squeeze(expected, product[cell]);
			describe(line, sizeof line, from, op);

			cr_assert_str_eq(line, expected);
		}
	}
}

Test(vm_state, a_busy_state_belongs_to_exactly_one_operation)
{
	for (VmState busy = VM_STATE_UNSET + 1; busy < VM_STATE_COUNT_; busy++) {
		unsigned owners = 0;

		for (VmOp op = 0; op < VM_OP_COUNT_; op++) {
			bool owns = false;

			for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++)
				owns |= op != VM_OP_UPDATE && has_states(vm_rule(from, op)) &&
					vm_rule(from, op)->busy == busy;
			owners += owns;
		}

		cr_assert_eq(owners, vm_state_is_busy(busy) ? 1 : 0, "%s", vm_state_name(busy));
	}
}

Test(vm_state, an_operation_ends_at_rest)
{
	for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++) {
		for (VmOp op = 0; op < VM_OP_COUNT_; op++) {
			const VmStepRule *rule = vm_rule(from, op);

			if (!has_states(rule) || op == VM_OP_UPDATE)
				continue;

			cr_assert(vm_state_is_busy(rule->busy));
			cr_assert_not(vm_state_is_busy(rule->done));
			cr_assert_not(vm_state_is_busy(rule->failed));
		}
	}
}

Test(vm_state, everything_but_the_destroyed_can_be_destroyed)
{
	for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++)
		cr_assert_eq(vm_rule(from, VM_OP_DESTROY)->answer == VM_REFUSE,
			     from == VM_DESTROYED, "%s", vm_state_name(from));
}

Test(vm_state, only_busy_states_are_joined_or_preempted)
{
	for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++) {
		for (VmOp op = 0; op < VM_OP_COUNT_; op++) {
			VmAnswer answer = vm_rule(from, op)->answer;

			if (answer == VM_JOIN || answer == VM_PREEMPT)
				cr_assert(vm_state_is_busy(from), "%s", vm_state_name(from));
		}
	}
}

Test(vm_state, an_update_changes_no_state)
{
	for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++) {
		const VmStepRule *rule = vm_rule(from, VM_OP_UPDATE);

		if (rule->answer == VM_REFUSE)
			continue;

		cr_assert_eq(rule->busy, from);
		cr_assert_eq(rule->done, from);
		cr_assert_eq(rule->failed, from);
	}
}

Test(vm_state, every_operation_has_a_name_and_a_goal)
{
	static const char *const goals[] = { "running", "stopped",     "paused",   "running",
					     "updated", "snapshotted", "destroyed" };
	static const char *const names[] = { "start",  "stop",     "pause",  "resume",
					     "update", "snapshot", "destroy" };

	for (VmOp op = 0; op < VM_OP_COUNT_; op++) {
		cr_assert_str_eq(vm_op_name(op), names[op]);
		cr_assert_str_eq(vm_op_goal(op), goals[op]);
	}
}

Test(vm_state, every_busy_state_is_its_operations)
{
	for (VmOp op = 0; op < VM_OP_COUNT_; op++)
		for (VmState from = VM_CREATED; from < VM_STATE_COUNT_; from++)
			if (op != VM_OP_UPDATE && vm_rule(from, op)->answer == VM_GO)
				cr_expect_eq(vm_rule(from, op)->busy, vm_op_busy(op));
}
