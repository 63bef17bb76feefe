/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One RPC, as a handler sees it.
 *
 * A handler is the function that protobuf-c's service structure declares for
 * the method. It runs on a poller: it must not block. Its closure data is the
 * Call. It answers with call_reply() or call_fail(), now or later and from any
 * thread; whoever keeps a Call past the handler's return holds a reference.
 * The closure argument is not used. The request lives until the handler
 * returns. A method whose requests stream has its handler called for each of
 * them, one after the other, and with NULL once there will be no more; what
 * they have in common it keeps with call_attach().
 *
 * Streams: a handler calls call_stream(), and the pump then writes whatever
 * there is while call_writable(). Pumps run on the stream threads, never two
 * of one call at once, after call_wake() and, once call_writable() has said no
 * for a full queue, when the client has taken most of it. A slow client costs
 * its queue's bound and nobody's time.
 */

#include "base/error.h"

#include <protobuf-c/protobuf-c.h>

typedef struct Call Call;

Call *call_ref(Call *call);
void call_unref(Call *call);
DEFINE_CLEANUP(Call *, call_unref);

/* server_start()'s user: the agent. */
void *call_user(const Call *call);
/* Who asks: "uid:0" over a unix socket, "tcp:127.0.0.1" over TCP. Lives as long as the call. */
const char *call_principal(const Call *call);
/* The VM that its first request names, if that is an id; or NULL. */
const char *call_vm_id(const Call *call);

/* Unary: the answer. Later answers, and any after the client has gone, are dropped. */
void call_reply(Call *call, const ProtobufCMessage *message);
/* Unary and streams: ends the call with @err as status, message and details. */
void call_fail(Call *call, const Error *err);

/* What a call's handlers know of it; @release runs with the last reference to the call. */
void call_attach(Call *call, void *data, void (*release)(void *data));
void *call_attached(const Call *call); /* NULL: nothing yet */

/* After this request, which is being handled, no other is taken until call_go_on(). */
void call_hold(Call *call);
void call_go_on(Call *call);

typedef void CallPump(Call *call, void *user);
typedef void CallEnd(void *user);

/**
 * call_stream() - make a call run by @pump
 * @pump:	first run soon after this returns
 * @end:	called exactly once when the call is over (finished, failed, cancelled, deadline,
 *		shutdown), when @pump is not running and will not run again: release @user there
 *
 * A unary method that waits for something uses it as well, and ends with call_reply().
 */
void call_stream(Call *call, CallPump *pump, CallEnd *end, void *user);
void call_wake(Call *call);
/* Is there room in the queue, and the client still there? */
bool call_writable(const Call *call);
/* Queues @message (packed at once), whatever room there is. */
void call_write(Call *call, const ProtobufCMessage *message);
/* Ends a stream, OK, after what is queued. */
void call_finish(Call *call);
/* Is it over: answered, cancelled or past its deadline? */
bool call_ended(const Call *call);
