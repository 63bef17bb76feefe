/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The process that freezes file systems: those on block devices that are written to.
 */

#include <stdint.h>

/**
 * guest_freeze_hold() - freeze all, and thaw them at @deadline or before
 * @fd:		is told how many are frozen, as an int64_t, or -errno and then none is; and once
 *		they thaw, how many did. They do when anything is said there, the other end is
 *		closed, or SIGTERM comes.
 * @deadline:	by guest_clock_ms()
 */
__attribute__((__noreturn__)) void guest_freeze_hold(int fd, int64_t deadline);
