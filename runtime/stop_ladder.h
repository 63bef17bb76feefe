/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The stop ladder: each rung asks a VM's VMM more firmly than the one before,
 * and waits its time for it to end. Being given up skips all but the last. The
 * first rung is the daemon in the guest, where the connection to it stands, the
 * next the backend's own; then come SIGTERM and SIGKILL. For backends with a
 * VMM process; safe from any thread.
 */

#include "runtime/backend.h"

#include <sys/types.h>

/* One VMM that is to end. */
typedef struct Climb {
	Job *job;
	int vmm; /* pidfd */
	pid_t pid;
	char why[ERROR_WHAT_MAX]; /* what a rung has to say */
	const char *guest_op;
} Climb;

/* RUNG_UNSET: asked, now wait; RUNG_SKIPPED or RUNG_FAILED, with the reason in why. */
typedef RungOutcome RungAskFn(Climb *climb, int64_t timeout);

/* The backend's own, and what else it knows of how its VMs end. */
typedef struct FirstRung {
	const char *name;
	RungAskFn *ask;
	const char *deaf;     /* why this VMM cannot notice SIGTERM; NULL: it can */
	const char *guest_op; /* what the daemon in its guest is asked for, so that the VMM ends */
} FirstRung;

/* A backend's stop(), for the VMM called @name. */
int stop_ladder_climb(Job *job, const StopLadder *ladder, const char *name, const FirstRung *first,
		      Error *err) must_check;

/* RUNG_FAILED, for @err's reason. */
RungOutcome stop_ladder_failed(Climb *climb, const Error *err);
