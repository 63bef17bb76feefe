/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What may happen to a VM, and when.
 *
 * A VM is at rest or claimed by one operation. One table, of every state and
 * every operation, says what asking for the operation there means; nothing
 * else in the tree decides whether a transition is legal.
 */

#include "runtime/record.h"

typedef enum VmOp {
	VM_OP_START,
	VM_OP_STOP,
	VM_OP_PAUSE,
	VM_OP_RESUME,
	VM_OP_UPDATE,
	VM_OP_SNAPSHOT,
	VM_OP_DESTROY,
	VM_OP_COUNT_,
} VmOp;

typedef enum VmAnswer {
	VM_REFUSE,    /* INVALID_TRANSITION (STATE_POISONED from POISONED) */
	VM_GO,        /* claim and work */
	VM_SATISFIED, /* it is so already */
	VM_JOIN,      /* the running operation is this one: answer with it */
	VM_PREEMPT,   /* end the running operation, then go */
} VmAnswer;

typedef struct VmStepRule {
	VmAnswer answer;
	VmState busy;   /* while the operation runs */
	VmState done;   /* after it succeeded */
	VmState failed; /* after it failed and was undone; POISONED if that failed too */
} VmStepRule;

/* Never NULL. With GO and PREEMPT the states are set; UPDATE's busy state is @from itself. */
const VmStepRule *vm_rule(VmState from, VmOp op);

/* Does an operation own a VM in this state? */
bool vm_state_is_busy(VmState state);

/* Is its VMM there, at rest: running or paused? */
bool vm_state_has_vmm(VmState state);

const char *vm_op_name(VmOp op); /* "start" */
/* The state a VM is in while @op works on it; UPDATE has none. */
VmState vm_op_busy(VmOp op);
/* The state @op leads to, as INVALID_TRANSITION names it: start -> "running". */
const char *vm_op_goal(VmOp op);
