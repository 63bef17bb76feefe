/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Listening sockets and the thread that accepts from them.
 *
 * When the process is out of descriptors, one kept spare is given up, the
 * connection accepted with it and closed, and a new spare opened: clients are
 * refused rather than left hanging, and nothing spins.
 */

#include "base/error.h"

typedef struct Listener Listener;

/* Takes a connection: non-blocking, close-on-exec. On the listener's thread. */
typedef void ListenerAccepted(void *user, int fd);

Listener *listener_new(ListenerAccepted *accepted, void *user);
/* Stops it, closes and removes its sockets. */
void listener_free(Listener *listener);
DEFINE_CLEANUP(Listener *, listener_free);

/* As server_listen(). */
int listener_add(Listener *listener, const char *address, Error *err) must_check;
/* The TCP port of the @i-th socket, or 0. */
unsigned listener_port(const Listener *listener, unsigned i);

int listener_start(Listener *listener, Error *err) must_check;
/* No connection is accepted any more; sockets are closed, and unix sockets removed. */
void listener_stop(Listener *listener);
