/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm_state.h"

#include <assert.h>

/* clang-format off */
#define REFUSE    { VM_REFUSE,    VM_STATE_UNSET, VM_STATE_UNSET, VM_STATE_UNSET }
#define SATISFIED { VM_SATISFIED, VM_STATE_UNSET, VM_STATE_UNSET, VM_STATE_UNSET }
#define JOIN      { VM_JOIN,      VM_STATE_UNSET, VM_STATE_UNSET, VM_STATE_UNSET }
#define START     { VM_GO,        VM_STARTING,    VM_RUNNING,     VM_FAILED }
#define PAUSE     { VM_GO,        VM_PAUSING,     VM_PAUSED,      VM_RUNNING }
#define RESUME    { VM_GO,        VM_RESUMING,    VM_RUNNING,     VM_PAUSED }
/* A stop or destroy that failed may have left a VMM alive: nothing but destroy is safe. */
#define STOP      { VM_GO,        VM_STOPPING,    VM_STOPPED,     VM_POISONED }
#define CUT_STOP  { VM_PREEMPT,   VM_STOPPING,    VM_STOPPED,     VM_POISONED }
#define DESTROY   { VM_GO,        VM_DESTROYING,  VM_DESTROYED,   VM_POISONED }
#define CUT_ALL   { VM_PREEMPT,   VM_DESTROYING,  VM_DESTROYED,   VM_POISONED }
/* One assignment, which claims nothing: it goes beside a running operation as well. Only what the VMM
 * of a running or paused VM has to be told of is an operation, and needs a VM at rest. */
#define UPDATE(s) { VM_GO,        s,              s,              s }
/* What it does with the VM in the end is said with the operation (settle.c). */
#define SNAPSHOT(s) { VM_GO,      VM_SNAPSHOTTING, s,             s }

static const VmStepRule rules[VM_STATE_COUNT_][VM_OP_COUNT_] = {
	/*                    START      STOP       PAUSE      RESUME     UPDATE                   SNAPSHOT              DESTROY */
	[VM_CREATED]      = { START,     SATISFIED, REFUSE,    REFUSE,    UPDATE(VM_CREATED),      REFUSE,               DESTROY },
	[VM_STARTING]     = { JOIN,      CUT_STOP,  REFUSE,    REFUSE,    UPDATE(VM_STARTING),     REFUSE,               CUT_ALL },
	[VM_RUNNING]      = { SATISFIED, STOP,      PAUSE,     SATISFIED, UPDATE(VM_RUNNING),      SNAPSHOT(VM_RUNNING), DESTROY },
	[VM_PAUSING]      = { REFUSE,    CUT_STOP,  JOIN,      REFUSE,    UPDATE(VM_PAUSING),      REFUSE,               CUT_ALL },
	[VM_PAUSED]       = { REFUSE,    STOP,      SATISFIED, RESUME,    UPDATE(VM_PAUSED),       SNAPSHOT(VM_PAUSED),  DESTROY },
	[VM_RESUMING]     = { REFUSE,    CUT_STOP,  REFUSE,    JOIN,      UPDATE(VM_RESUMING),     REFUSE,               CUT_ALL },
	[VM_STOPPING]     = { REFUSE,    JOIN,      REFUSE,    REFUSE,    UPDATE(VM_STOPPING),     REFUSE,               CUT_ALL },
	[VM_STOPPED]      = { START,     SATISFIED, REFUSE,    REFUSE,    UPDATE(VM_STOPPED),      REFUSE,               DESTROY },
	[VM_FAILED]       = { START,     STOP,      REFUSE,    REFUSE,    UPDATE(VM_FAILED),       REFUSE,               DESTROY },
	[VM_BACKOFF]      = { START,     STOP,      REFUSE,    REFUSE,    UPDATE(VM_BACKOFF),      REFUSE,               DESTROY },
	[VM_SNAPSHOTTING] = { REFUSE,    CUT_STOP,  REFUSE,    REFUSE,    UPDATE(VM_SNAPSHOTTING), REFUSE,               CUT_ALL },
	[VM_POISONED]     = { REFUSE,    REFUSE,    REFUSE,    REFUSE,    REFUSE,                  REFUSE,               DESTROY },
	[VM_DESTROYING]   = { REFUSE,    REFUSE,    REFUSE,    REFUSE,    REFUSE,                  REFUSE,               JOIN },
	[VM_DESTROYED]    = { REFUSE,    REFUSE,    REFUSE,    REFUSE,    REFUSE,                  REFUSE,               REFUSE },
};

static const struct {
	const char *name, *goal;
	VmState busy;
} ops[] = {
	[VM_OP_START]   = { "start",   "running",   VM_STARTING },
	[VM_OP_STOP]    = { "stop",    "stopped",   VM_STOPPING },
	[VM_OP_PAUSE]   = { "pause",   "paused",    VM_PAUSING },
	[VM_OP_RESUME]  = { "resume",  "running",   VM_RESUMING },
	[VM_OP_UPDATE]  = { "update",  "updated",   VM_STATE_UNSET },
	[VM_OP_SNAPSHOT] = { "snapshot", "snapshotted", VM_SNAPSHOTTING },
	[VM_OP_DESTROY] = { "destroy", "destroyed", VM_DESTROYING },
};
/* clang-format on */
static_assert(array_size(ops) == VM_OP_COUNT_, "name every operation");

const VmStepRule *vm_rule(VmState from, VmOp op)
{
	assert(from > VM_STATE_UNSET && from < VM_STATE_COUNT_ && op < VM_OP_COUNT_);
	return &rules[from][op];
}

bool vm_state_is_busy(VmState state)
{
	static const bool busy[VM_STATE_COUNT_] = {
		[VM_STARTING] = true, [VM_PAUSING] = true,    [VM_RESUMING] = true,
		[VM_STOPPING] = true, [VM_DESTROYING] = true, [VM_SNAPSHOTTING] = true,
	};

	assert(state < VM_STATE_COUNT_);
	return busy[state];
}

bool vm_state_has_vmm(VmState state)
{
	return state == VM_RUNNING || state == VM_PAUSED;
}

const char *vm_op_name(VmOp op)
{
	assert(op < VM_OP_COUNT_);
	return ops[op].name;
}

VmState vm_op_busy(VmOp op)
{
	assert(op < VM_OP_COUNT_);
	return ops[op].busy;
}

const char *vm_op_goal(VmOp op)
{
	assert(op < VM_OP_COUNT_);
	return ops[op].goal;
}
