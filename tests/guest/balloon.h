/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The guest's end of a memory balloon: it gives the host as many pages as it asks for, from the
 * third quarter of the first 16 MiB on, takes them back, and tells how much is free when asked.
 */

#include <stdint.h>

/* Brings the device up, if it is among those that @args name. */
void balloon_start(const char *args);

/* Does what the host has asked for. */
void balloon_poll(void);

/* Where what has been given to the host ends, as it begins at 8 MiB. */
uintptr_t balloon_end(void);
