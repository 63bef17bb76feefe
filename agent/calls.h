/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All calls of one server: what they share, how many there may be, and which
 * of them must be ended for the server to stop.
 */

#include "agent/method.h"
#include "agent/peers.h"
#include "agent/server.h"
#include "agent/stream.h"
#include "base/lock.h"

#include <grpc/grpc.h>
#include <stdatomic.h>
#include <sys/queue.h>

typedef struct Calls {
	const ServerConfig *config;
	grpc_server *server;
	grpc_completion_queue *queue;
	StreamPool *streams;
	Peers *peers;
	atomic_uint in_flight;

	Lock lock;
	bool draining;             /* under lock */
	LIST_HEAD(, Call) tracked; /* under lock */
} Calls;

/* Waits for a client to call @method, or, if that is NULL, anything that is no method. */
void calls_expect(Calls *calls, const Method *method);

/* One more in flight; false, and none more, if that would be too many. */
bool calls_admit(Calls *calls, bool urgent);
void calls_leave(Calls *calls);

/* Notes a call that may last; false once the server is stopping. */
bool calls_track(Calls *calls, Call *call);
void calls_untrack(Calls *calls, Call *call);

/* Ends every tracked call as DRAINING, and those that would be tracked from now on. */
void calls_drain(Calls *calls);
