/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a service manager is told of a service: sd_notify(3)'s protocol, a datagram a message. Of
 * one process, from its main thread; without a manager nothing happens.
 */

#include <stdint.h>

/* Takes what the manager has put into the environment out of it, so that no child has it. */
void notify_open(void);

/* "READY=1", "STATUS=…", "STOPPING=1", "WATCHDOG=1"; several by newlines. */
void notify(const char *state);

/* How often "WATCHDOG=1" is to come at least, in usec; 0: it need not. */
int64_t notify_watchdog(void);
