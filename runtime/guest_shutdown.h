/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The stop ladder's first rung: the daemon in the guest is asked to shut it down. */

#include "runtime/stop_ladder.h"

/* A RungAskFn, of a job that has a guest; a guest that does not answer is waited for no longer than
 * the rung's time, and a few seconds. */
RungOutcome guest_shutdown_ask(Climb *climb, int64_t timeout);
