/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <time.h>

static int64_t now(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * USEC_PER_SEC + ts.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
	return now(CLOCK_REALTIME);
}

int64_t clock_mono_us(void)
{
	return now(CLOCK_MONOTONIC);
}

int64_t clock_wall_after(int64_t start)
{
	int64_t wall = clock_wall_us();

	return wall > start ? wall : start;
}

bool clock_is_past(int64_t then, int64_t usec)
{
	return usec <= 0 || clock_wall_us() - then >= usec;
}

int clock_left_ms(int64_t deadline)
{
	int64_t left = deadline - clock_mono_us();

	if (left <= 0)
		return 0;
	if (left > (int64_t)3600 * USEC_PER_SEC)
		left = (int64_t)3600 * USEC_PER_SEC;
	return (int)((left + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

void clock_sleep_us(int64_t usec)
{
	struct timespec left = {
		.tv_sec = usec / USEC_PER_SEC,
		.tv_nsec = usec % USEC_PER_SEC * 1000,
	};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}
