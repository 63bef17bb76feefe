/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a pager gives up before it reads what a VMM sends.
 *
 * It begins as root, which it takes to open a memory file, to put a socket into a jail and to get
 * at the descriptor of a VMM with another user. Then all it does is done by what it has open,
 * beside its user's own files and SIGKILL for the VMM: it keeps CAP_KILL of all capabilities, can
 * gain none, and makes none but the system calls of confine.c.
 */

#include <stdint.h>

/* For a process of one thread, and those it will have: 0 or -errno. */
int confine(void);
