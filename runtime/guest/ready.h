/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether what the guest is for is ready, which "hearth-guest ready" says: by a datagram to a
 * socket that root alone may send to, remembered by a file that ends with the boot.
 */

#include "base/cleanup.h"

#include <stdbool.h>

/* Return: a socket that is readable once somebody says so, or -errno. */
int guest_ready_listen(const char *dir) must_check;

/* Takes what was said. Return: was it that it is ready? */
bool guest_ready_hear(int fd);

/* For the next daemon of this boot. Return: 0 or -errno. */
int guest_ready_keep(const char *dir) must_check;
bool guest_ready_was_kept(const char *dir);

/* Says it to the daemon, which is given some seconds to listen. Return: 0 or -errno. */
int guest_ready_say(const char *dir) must_check;
