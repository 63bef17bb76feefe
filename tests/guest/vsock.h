/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An echo, or a daemon, on the guest's end of virtio-vsock, port 5555. Who talks to it must read
 * what comes back before 64 KiB are under way: credit is not watched.
 */

/* Brings the device up, if it is among those that @args name. */
void vsock_start(const char *args);

/* Answers what has come. */
void vsock_poll(void);
