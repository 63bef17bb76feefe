/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/poll.h"

#include <assert.h>
#include <limits.h>
#include <time.h>

int64_t guest_clock_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void guest_poll_clear(GuestPoll *set)
{
	set->count = 1;
	set->fds[0] = (struct pollfd){ .fd = -1 };
	set->wake = -1;
}

size_t guest_poll_add(GuestPoll *set, int fd, short events)
{
	if (fd < 0 || !events)
		return 0;
	assert(set->count < GUEST_POLL_MAX);
	set->fds[set->count] = (struct pollfd){ .fd = fd, .events = events };
	return set->count++;
}

void guest_poll_by(GuestPoll *set, int64_t when)
{
	if (when >= 0 && (set->wake < 0 || when < set->wake))
		set->wake = when;
}

void guest_poll_wait(GuestPoll *set)
{
	int timeout = -1;

	if (set->wake >= 0) {
		int64_t left = set->wake - guest_clock_ms();

		timeout = left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
	}
	if (poll(set->fds, (nfds_t)set->count, timeout) >= 0)
		return;
	for (size_t i = 0; i < set->count; i++)
		set->fds[i].revents = 0;
}

short guest_poll_got(const GuestPoll *set, size_t place)
{
	return set->fds[place].revents;
}
