/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A backend without processes whose every function can be told to fail, hang
 * or lie, to see what the core makes of it. The VM's label "fault" says what
 * goes wrong; fault_exit() ends a "VMM" from outside.
 */

#include "runtime/backend.h"

enum {
	FAULT_PAGES = 4, /* of memory in its snapshots */
	FAULT_PAGE = 4096,
};

typedef struct FaultBackend FaultBackend;

/*
 * Label "fault": start-fails, start-hangs (until cancelled), undo-fails, stop-fails, stop-hangs
 * (until cancelled), pause-fails, pause-hangs (until cancelled), resume-fails, check-fails,
 * snapshot-fails, snapshot-hangs (until cancelled), snapshot-poisons, restore-fails;
 * update-fails, update-poisons, update-waits (until fault_let_go(), or cancelled); whole-fails,
 * whole-waits: an update after a crash. More than one, with commas between.
 */
FaultBackend *fault_backend_new(bool calm); /* calm: labels are ignored */
Backend *fault_backend(FaultBackend *fault);

/* Before it is used: each VMM that is looked for is there and runs. */
void fault_adopt(FaultBackend *fault);
/* Updates that wait go on. */
void fault_let_go(FaultBackend *fault);

/* The VMM of @vm_id ends with @reason; noticed through its exit descriptor. */
void fault_exit(FaultBackend *fault, const char *vm_id, ExitReason reason);

/* How often start has been entered for @vm_id; whether its VMM is there. */
unsigned fault_starts(FaultBackend *fault, const char *vm_id);
bool fault_alive(FaultBackend *fault, const char *vm_id);

/* Does its VMM stand still? Has it gone on from a snapshot? */
bool fault_paused(FaultBackend *fault, const char *vm_id);
bool fault_restored(FaultBackend *fault, const char *vm_id);

/* How often update has been entered for @vm_id; the balloon it was last told of. */
unsigned fault_updates(FaultBackend *fault, const char *vm_id);
uint64_t fault_balloon_mib(FaultBackend *fault, const char *vm_id);
