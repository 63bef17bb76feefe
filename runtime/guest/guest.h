/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon's state: what requests work on. There is one thread.
 */

#include "runtime/guest/commands.h"
#include "runtime/guest/freezer.h"
#include "runtime/guest/power.h"

typedef struct Guest {
	const char *dir; /* GUEST_DIR, or another one for tests */
	bool ready;
	GuestSession *session;
	GuestCommands *commands;
	GuestFreezer freezer;
	GuestPower power;
	GuestEnv env; /* of every command */
} Guest;

/* Return: 0 or -ENOMEM. */
int guest_open(Guest *ret, const char *dir, bool ready) must_check;
void guest_close(Guest *guest);

/* It is ready from now on; the host is told. */
void guest_set_ready(Guest *guest);
