/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A backend without processes whose every function can be told to fail, hang
 * or lie, to see what the core makes of it. The VM's label "fault" says what
 * goes wrong; fault_exit() ends a "VMM" from outside.
 */

#include "runtime/backend.h"

typedef struct FaultBackend FaultBackend;

/*
 * Label "fault": start-fails, start-hangs (until cancelled), undo-fails, stop-fails, stop-hangs
 * (until cancelled), pause-fails, pause-hangs (until cancelled), resume-fails, check-fails.
 */
FaultBackend *fault_backend_new(bool calm); /* calm: labels are ignored */
Backend *fault_backend(FaultBackend *fault);

/* The VMM of @vm_id ends with @reason; noticed through its exit descriptor. */
void fault_exit(FaultBackend *fault, const char *vm_id, ExitReason reason);

/* How often start has been entered for @vm_id; whether its VMM is there. */
unsigned fault_starts(FaultBackend *fault, const char *vm_id);
bool fault_alive(FaultBackend *fault, const char *vm_id);
