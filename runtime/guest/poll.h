/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the daemon waits for, gathered anew for every turn of its loop. A descriptor that is
 * waited for in vain is not added at all, or poll() would return at once for its hang-up.
 */

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GUEST_POLL_MAX = 512
};

typedef struct GuestPoll {
	struct pollfd fds[GUEST_POLL_MAX]; /* the first is none */
	size_t count;
	int64_t wake; /* by guest_clock_ms() at the latest; or -1 */
} GuestPoll;

/* Milliseconds of a clock that nobody sets. */
int64_t guest_clock_ms(void);

void guest_poll_clear(GuestPoll *set);

/* Return: for guest_poll_got(); nothing is added without events. */
size_t guest_poll_add(GuestPoll *set, int fd, short events);

/* The turn is to end by @when, if that is not -1. */
void guest_poll_by(GuestPoll *set, int64_t when);

void guest_poll_wait(GuestPoll *set);

/* What has happened to it. */
short guest_poll_got(const GuestPoll *set, size_t place);
