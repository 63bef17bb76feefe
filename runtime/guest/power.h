/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The end of the guest: by init's program if it does it, by force if not. Each step is given some
 * seconds; a step that fails gives way to the next one at once. Whoever shuts down in order ends
 * this daemon, too, and with it the steps.
 */

#include "runtime/guest/poll.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct GuestPower {
	bool asked, reboot;
	size_t step;     /* the next one */
	int64_t next_at; /* when it is taken */
	pid_t child;     /* of the step before; or 0 */
} GuestPower;

/* The answer is given some time to get out first. The first request counts. */
void guest_power_ask(GuestPower *power, bool reboot);

void guest_power_prepare(const GuestPower *power, GuestPoll *poll);

/* @answered: nothing is left to be said. */
void guest_power_serve(GuestPower *power, bool answered);

void guest_power_reap(GuestPower *power);
