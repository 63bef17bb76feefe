/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Time in microseconds: wall time since the epoch for what people read and
 * what outlives a process, monotonic time for waiting and measuring.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	USEC_PER_MSEC = 1000,
	USEC_PER_SEC = 1000000
};

int64_t clock_wall_us(void); /* CLOCK_REALTIME: may be stepped */
int64_t clock_mono_us(void); /* CLOCK_MONOTONIC */
/* The wall time now, or @start if the clock has been put back since: no span is negative. */
int64_t clock_wall_after(int64_t start);
/* Is wall time @then at least @usec ago? Always, for none. */
bool clock_is_past(int64_t then, int64_t usec);

/* For poll(): milliseconds until @deadline (monotonic), rounded up, at most an hour. */
int clock_left_ms(int64_t deadline);

/* Sleeps at least @usec; signals do not shorten it. */
void clock_sleep_us(int64_t usec);
