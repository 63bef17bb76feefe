/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the guest's kernel knows of itself, and is told.
 */

#include "base/cleanup.h"
#include "runtime/guest/line.h"

/* Milliseconds since the boot, those in which it was suspended included. */
int64_t guest_system_uptime_ms(void);

/* Adds the members of a stats answer, without those that cannot be had. */
void guest_system_stats(GuestLine *line);

/* Return: 0 or -errno. */
int guest_system_set_clock(int64_t time_ns) must_check;
int guest_system_reseed(const void *bytes, size_t length) must_check;
