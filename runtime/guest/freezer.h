/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Frozen file systems. A process of its own freezes them, as that takes as long as the disks do,
 * and holds them for as long as it was told to: should this daemon hang, or end, they thaw.
 */

#include "runtime/guest/poll.h"
#include "runtime/guest/session.h"

#include <sys/types.h>

typedef struct GuestFreezer {
	GuestSession *session;
	pid_t pid;
	int fd;      /* to the process; -1: there is none */
	bool frozen; /* it has said so */
	int64_t id;  /* of the request it works on; 0: none, or nobody waits for the answer */
	bool busy;
	size_t place;
} GuestFreezer;

void guest_freezer_freeze(GuestFreezer *freezer, const GuestRequest *request);
void guest_freezer_thaw(GuestFreezer *freezer, const GuestRequest *request);

/* The guest ends: its disks are to be written to. */
void guest_freezer_release(const GuestFreezer *freezer);

/* The session is over; the time-out goes on. */
void guest_freezer_abandon(GuestFreezer *freezer);

void guest_freezer_prepare(GuestFreezer *freezer, GuestPoll *poll);
void guest_freezer_serve(GuestFreezer *freezer, const GuestPoll *poll);
