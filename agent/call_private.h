/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A call's insides, for call.c (what handlers do), call_batch.c (what gRPC
 * core is told and says) and calls.c (all calls of a server).
 *
 * Life: a Call is made to wait for a client's call, with one reference that
 * stands for gRPC core's interest. Batches of operations go out and come back
 * as events; each is claimed under the lock and started without it, and while
 * one is out the grpc_call stays. When the last is back and the call is over
 * the grpc_call is released at once, however many references are held
 * elsewhere: what is left is a few hundred bytes that drop late answers.
 *
 * A unary call answered by its handler costs two events: the arrival, with
 * the request, and one batch of headers, message, status and close. Only when
 * the handler returns without an answer is the close waited for on its own,
 * so that cancellation and deadline are noticed.
 */

#include "agent/call.h"
#include "agent/calls.h"
#include "agent/outbox.h"
#include "agent/stream.h"
#include "agent/tag.h"
#include "agent/trace.h"
#include "base/lock.h"

#include <grpc/grpc.h>
#include <stdatomic.h>
#include <sys/queue.h>

enum {
	CALL_QUEUE_HIGH = 256 * 1024, /* full at this many bytes, */
	CALL_QUEUE_LOW = 64 * 1024,   /* until there are fewer than these */
};

typedef struct CallFailure {
	Error err;
	grpc_slice message;
	grpc_slice details; /* packed google.rpc.Status */
} CallFailure;

struct Call {
	atomic_uint refs;
	atomic_bool ended;     /* answered, failed or cancelled; set under lock */
	atomic_bool full;      /* the outbox; set under lock */
	atomic_bool streaming; /* call_stream() was called; set under lock */
	Calls *calls;
	const Method *method; /* NULL: no such method, see unknown */
	char *unknown;        /* the path asked for */
	char *principal;
	Role role;
	Trace trace;
	char *vm_id; /* that the request names, or NULL */
	int peer;    /* the connection's descriptor, or -1 */
	int64_t start_time;

	/* gRPC core's, which writes into them */
	grpc_call *core;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_call_details *details; /* without a method only */
	grpc_byte_buffer *request;
	int cancelled;
	Tag arrived, received, sent, closed;

	Lock lock;
	/* under lock */
	Outbox outbox;
	CallFailure *failure; /* set once, before ended */
	unsigned batches;     /* out */
	bool began;           /* headers were sent */
	bool sending;
	bool reading;     /* a request is awaited, or being handled */
	bool half_closed; /* no more requests */
	bool held;        /* no other request, for now */
	bool broken;      /* nothing can be sent any more */
	bool closing;     /* the close is awaited, on its own or with the status */
	bool final_sent, final_done, close_done;
	bool counted; /* among calls in flight; the pollers' */
	bool gone;    /* over, and core's part released */

	void *attached; /* the handlers' */
	void (*release)(void *attached);

	StreamTask task;
	CallPump *pump;
	CallEnd *end;
	void *user;

	bool tracked; /* under calls->lock, as is link */
	LIST_ENTRY(Call) link;
};

/* Sends what there is to send, unless it is being sent already. */
void call_advance(Call *call);
/* Asks for the next request of a client that streams, once there is room for answers. */
void call_read_next(Call *call);
void call_failure_free(CallFailure *failure);
