/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Removing taps together. One costs the kernel some 20 ms, in which it holds a
 * lock over all links, and a hundred at once half a millisecond each: so those of
 * callers who come while others' are being removed go in one message after them.
 * Safe from any thread.
 */

#include "netfw/link.h"

/* As link_remove(): a caller is not told of what others' names are about. */
int link_reap(const LinkConfig *config, const char *const *names, size_t count, Error *err)
	must_check;
