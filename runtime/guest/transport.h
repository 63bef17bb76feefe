/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How the host's bytes get here: over the virtio-serial port GUEST_SERIAL, or a connection to
 * vsock port GUEST_PORT; for tests, to a unix socket. Whichever is not there yet may come, as
 * when its driver is loaded later, and is looked for until then. Of connections there is one, a
 * new one takes its place. Only the host may connect, no process within the guest.
 */

#include "runtime/guest/poll.h"
#include "runtime/guest/session.h"

typedef struct GuestTransport {
	GuestSession *session;
	const char *socket; /* the unix socket's path; NULL: none */
	int listener;       /* or -1 */
	int fd;             /* the port or the connection, or -1 */
	bool serial;        /* it is a port */
	int64_t pause_to;   /* nobody is at the other end of the port: when to look again */
	int64_t accept_at;  /* when to accept a connection again */
	int64_t look_at;    /* when to look for a port again */
	int64_t looks;
	size_t listener_place, place;
} GuestTransport;

/* Return: 0, or -errno for a socket that cannot be listened at. */
int guest_transport_open(GuestTransport *ret, GuestSession *session, const char *socket) must_check;
void guest_transport_close(GuestTransport *transport);

void guest_transport_prepare(GuestTransport *transport, GuestPoll *poll);
void guest_transport_serve(GuestTransport *transport, const GuestPoll *poll);
