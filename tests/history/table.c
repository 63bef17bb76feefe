/* SPDX-License-Identifier: Apache-2.0 */

/* Prints runtime/vm_state.c's step table as JSON, for the checker of histories:
 * {"STATE": {"OP": ["ANSWER", "STATE it leads to"]}}, of states at rest. */

#include "runtime/record.h"
#include "runtime/vm_state.h"

#include <stdio.h>

static const char *const answers[] = {
	[VM_REFUSE] = "refuse", [VM_SATISFIED] = "satisfied", [VM_JOIN] = "join",
	[VM_GO] = "go",         [VM_PREEMPT] = "preempt",
};

static void print_state(VmState from)
{
	for (VmOp op = 0; op < VM_OP_COUNT_; op++) {
		const VmStepRule *rule = vm_rule(from, op);

		(void)printf("%s\"%s\": [\"%s\", \"%s\"]", op ? ", " : "", vm_op_name(op),
			     answers[rule->answer],
			     rule->done == VM_STATE_UNSET ? "" : vm_state_name(rule->done));
	}
}

int main(void)
{
	const char *separator = "{";

	for (VmState from = VM_STATE_UNSET + 1; from < VM_STATE_COUNT_; from++) {
		if (vm_state_is_busy(from) || from == VM_DESTROYED)
			continue;
		(void)printf("%s\n\"%s\": {", separator, vm_state_name(from));
		print_state(from);
		(void)printf("}");
		separator = ",";
	}
	(void)printf("\n}\n");
	return 0;
}
