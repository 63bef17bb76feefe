/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/call_private.h"
#include "agent/decode.h"
#include "agent/status.h"
#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/alloc.h>
#include <string.h>

/* Starts a batch that was claimed, and so counted, under the lock. */
static void start(Call *call, const grpc_op *ops, size_t count, Tag *tag)
{
	grpc_call *core = call->core;
	grpc_call_error r;

	tsan_release(tag); /* from here on another poller may end the call */
	r = grpc_call_start_batch(core, ops, count, tag, NULL);
	assert(r == GRPC_CALL_OK); /* anything else is a mistake of ours */
	(void)r;
}

/* The last batch is back and the call is over: for one caller only. */
static bool claim_end(Call *call) lock_requires(&call->lock)
{
	bool over = !call->batches && (call->final_done || call->close_done) && !call->gone;

	if (over)
		call->gone = true;
	return over;
}

static grpc_status_code outcome(const Call *call)
{
	if (call->cancelled || (call->broken && !call->final_done)) {
		gpr_timespec now = gpr_now(call->deadline.clock_type);

		return gpr_time_cmp(now, call->deadline) >= 0 ? GRPC_STATUS_DEADLINE_EXCEEDED
							      : GRPC_STATUS_CANCELLED;
	}
	return call->failure ? status_code(&call->failure->err) : GRPC_STATUS_OK;
}

static const char *type_of(const Method *method)
{
	if (!method || !method->requests_stream)
		return method && method->replies_stream ? "server_stream" : "unary";
	return method->replies_stream ? "bidi_stream" : "client_stream";
}

static void report(const Call *call)
{
	const ServerConfig *config = call->calls->config;
	const Error *err = call->failure ? &call->failure->err : NULL;
	const char *name = call->method ? call->method->path : call->unknown;

	if (config->finished)
		config->finished(config->user,
				 &(ServerFinished){
					 .method = name,
					 .principal = call->principal,
					 .vm_id = call->vm_id,
					 .trace_id = call->trace.trace_id,
					 .request_id = call->trace.request_id,
					 .mutates = call->method && call->method->mutates,
					 .is_known = call->method != NULL,
					 .type = type_of(call->method),
					 .err = err,
					 .grpc_code = (int)outcome(call),
					 .usec = clock_mono_us() - call->start_time,
				 });
}

/* After claim_end(): releases what is core's, and core's reference. */
static void settle(Call *call)
{
	report(call);
	calls_untrack(call->calls, call);
	outbox_items_free(outbox_take(&call->outbox));
	call_failure_free(take_ptr(call->failure));
	peers_call_ends(call->calls->peers, call->peer);
	grpc_call_unref(take_ptr(call->core));
	if (call->counted)
		calls_leave(call->calls);
	call_wake(call);
	call_unref(call);
}

/* One batch on its way out. */
typedef struct Send {
	OutboxItem *item; /* or NULL */
	bool first;       /* headers as well */
	bool more;        /* follows at once */
	bool final;       /* status as well */
	bool close;       /* await the close as well */
} Send;

static bool claim_send(Call *call, Send *ret)
{
	bool claimed;

	lock_take(&call->lock);
	/* A stream greets with its headers, so that the client knows it stands. */
	claimed = !call->sending && !call->broken && !call->final_sent &&
		  (call->outbox.first || atomic_load(&call->ended) ||
		   (!call->began && atomic_load(&call->streaming) && call->method->replies_stream));
	if (claimed) {
		ret->item = outbox_pop(&call->outbox);
		ret->first = !call->began;
		ret->more = call->outbox.first != NULL;
		ret->final = atomic_load(&call->ended) && !ret->more;
		ret->close = ret->final && !call->closing;
		call->began = true;
		call->sending = true;
		call->final_sent = ret->final;
		call->closing |= ret->close;
		call->batches++;
	}
	lock_drop(&call->lock);
	return claimed;
}

/* @details must live until the batch was started. */
static void fill_status(Call *call, grpc_op *op, grpc_metadata *details)
{
	CallFailure *failure = call->failure;

	op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	if (!failure)
		return;
	details->key = grpc_slice_from_static_string("grpc-status-details-bin");
	details->value = failure->details;
	op->data.send_status_from_server.status = status_code(&failure->err);
	op->data.send_status_from_server.status_details = &failure->message;
	op->data.send_status_from_server.trailing_metadata = details;
	op->data.send_status_from_server.trailing_metadata_count = 1;
}

void call_advance(Call *call)
{
	grpc_op ops[4] = { 0 };
	grpc_metadata details = { 0 };
	size_t count = 0;
	Send send;

	if (!claim_send(call, &send))
		return;
	if (send.first)
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	if (send.item) {
		ops[count].op = GRPC_OP_SEND_MESSAGE;
		/* Core then gathers messages into one write: a third of the work. */
		ops[count].flags = send.more ? GRPC_WRITE_BUFFER_HINT : 0;
		ops[count++].data.send_message.send_message = outbox_item_bytes(send.item);
	}
	if (send.final)
		fill_status(call, &ops[count++], &details);
	if (send.close) {
		ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
		ops[count++].data.recv_close_on_server.cancelled = &call->cancelled;
	}
	start(call, ops, count, &call->sent);
	outbox_item_free(send.item); /* core has taken its bytes */
}

/* Waits for the client to go away or the deadline to pass, unless the answer is on its way. */
static void await_close(Call *call)
{
	grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };
	bool claimed;

	lock_take(&call->lock);
	claimed = !call->closing && !call->gone;
	if (claimed) {
		call->closing = true;
		call->batches++;
	}
	lock_drop(&call->lock);

	if (!claimed)
		return;
	op.data.recv_close_on_server.cancelled = &call->cancelled;
	start(call, &op, 1, &call->closed);
}

void call_read_next(Call *call)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
	bool claimed;

	lock_take(&call->lock);
	claimed = call->method->requests_stream && !call->reading && !call->half_closed &&
		  !call->held && !call->gone && call_writable(call);
	if (claimed) {
		call->reading = true;
		call->batches++;
	}
	lock_drop(&call->lock);

	if (!claimed)
		return;
	op.data.recv_message.recv_message = &call->request;
	start(call, &op, 1, &call->received);
}

/* Keeps which VM the call is about, for the log and for failures. */
static void note_vm(Call *call, const ProtobufCMessage *request)
{
	const ProtobufCFieldDescriptor *field = call->method->vm_id;
	const char *vm_id;

	if (!field || field->type != PROTOBUF_C_TYPE_STRING || call->vm_id)
		return;
	memcpy(&vm_id, (const char *)request + field->offset, sizeof vm_id);
	if (vm_id && text_is_id(vm_id))
		call->vm_id = text_dup(vm_id);
}

static void refuse_request(Call *call, const ProtobufCMessage *request, Error *err)
{
	if (call->vm_id)
		error_about_vm(err, call->vm_id);
	if (request && call->method->inspect)
		call->method->inspect(call, request, err);
	else
		call_fail(call, err);
}

/* Decodes @bytes and calls the handler, or fails the call. */
static void handle(Call *call, grpc_byte_buffer *bytes)
{
	const Method *method = call->method;
	ProtobufCMessage *request = NULL;
	grpc_byte_buffer_reader reader;
	grpc_slice slice;
	Error err = { 0 };
	Arena arena;
	int r;

	if (!grpc_byte_buffer_reader_init(&reader, bytes)) {
		(void)error_add_violation(&err, "request", "cannot be decompressed");
		call_fail(call, &err);
		return;
	}
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	r = decode(&request, &arena, method, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice),
		   &err);
	if (request)
		note_vm(call, request);
	if (r < 0)
		refuse_request(call, request, &err);
	else
		method_invoke(method, request, call);
	arena_clear(&arena);
	grpc_slice_unref(slice);
}

static void on_sent(Tag *tag, bool ok)
{
	Call *call = container_of(tag, Call, sent);
	bool over, room;

	(void)call_ref(call); /* the other poller may settle it meanwhile */
	lock_take(&call->lock);
	call->batches--;
	call->sending = false;
	call->final_done = call->final_sent;
	call->broken |= !ok;
	room = atomic_load(&call->full) && call->outbox.bytes < CALL_QUEUE_LOW;
	if (room)
		atomic_store(&call->full, false);
	over = claim_end(call);
	lock_drop(&call->lock);

	if (over)
		settle(call);
	else
		call_advance(call);
	if (!over && room) {
		call_wake(call);
		call_read_next(call);
	}
	call_unref(call);
}

static void on_closed(Tag *tag, bool ok)
{
	Call *call = container_of(tag, Call, closed);
	OutboxItem *unsent;
	bool over;

	(void)ok;             /* always */
	(void)call_ref(call); /* the other poller may settle it meanwhile */
	lock_take(&call->lock);
	call->batches--;
	call->close_done = true;
	call->broken = true;
	atomic_store(&call->ended, true);
	unsent = outbox_take(&call->outbox);
	over = claim_end(call);
	lock_drop(&call->lock);

	outbox_items_free(unsent);
	if (over)
		settle(call);
	else
		call_wake(call);
	call_unref(call);
}

static void on_received(Tag *tag, bool ok)
{
	Call *call = container_of(tag, Call, received);
	grpc_byte_buffer *bytes = take_ptr(call->request);
	bool over;

	(void)call_ref(call);
	lock_take(&call->lock);
	call->batches--;
	call->half_closed = !ok || !bytes;
	over = claim_end(call);
	lock_drop(&call->lock);

	if (over)
		settle(call);
	else if (bytes)
		handle(call, bytes);
	else
		method_invoke(call->method, NULL, call);
	grpc_byte_buffer_destroy(bytes);

	/* Not before: requests of one call are handled one after the other. */
	lock_take(&call->lock);
	call->reading = false;
	lock_drop(&call->lock);
	call_read_next(call);
	call_unref(call);
}

/* The name of a method that is not there, as far as it can be shown. */
static char *path_of(const grpc_call_details *details)
{
	const unsigned char *bytes = GRPC_SLICE_START_PTR(details->method);
	size_t length = GRPC_SLICE_LENGTH(details->method);
	char *path = must_calloc(1, 129);

	for (size_t i = 0; i < length && i < 128; i++)
		path[i] = (char)(bytes[i] >= ' ' && bytes[i] < 0x7f ? bytes[i] : '?');
	return path;
}

static void find_peer(Call *call)
{
	char name[PEER_NAME_MAX];
	char *peer = grpc_call_get_peer(call->core);
	uint64_t fd;

	/* What core calls a connection that was given to it as a descriptor. */
	if (peer && strncmp(peer, "fd:", 3) == 0 && text_to_u64(&fd, peer + 3) == 0)
		call->peer = (int)fd;
	gpr_free(peer);
	peers_call_begins(call->calls->peers, call->peer);
	call->role = peers_name(call->calls->peers, call->peer, name);
	call->principal = text_dup(name);
}

static void refuse(Call *call, ErrorKind kind, const char *what, const char *name)
{
	Error err = { 0 };

	(void)error_set(&err, kind, "%s%s", what, name);
	call_fail(call, &err);
}

static bool may(const Call *call)
{
	return !call->calls->config->roles || call->role >= call->method->needs;
}

static void forbid(Call *call)
{
	Error err = { 0 };

	(void)error_set(&err, ERROR_FORBIDDEN, "%s needs the role %s, and %s has %s",
			call->method->path, role_name(call->method->needs), call->principal,
			call->role ? role_name(call->role) : "none");
	call_fail(call, &err);
}

/* The first thing done for a client's call. */
static void begin(Call *call)
{
	const Method *method = call->method;
	grpc_byte_buffer *bytes = take_ptr(call->request);
	bool streams = method && (method->requests_stream || method->replies_stream);

	call->counted = calls_admit(call->calls, method && method->urgent);
	if (!method)
		refuse(call, ERROR_UNSUPPORTED, "no such method: ", call->unknown);
	else if (!may(call))
		forbid(call);
	else if (!call->counted)
		refuse(call, ERROR_QUEUE_FULL, "too many calls in flight", "");
	else if (streams && !calls_track(call->calls, call))
		refuse(call, ERROR_DRAINING, "hearthd is stopping", "");
	else if (method->requests_stream)
		call_read_next(call);
	else if (bytes)
		handle(call, bytes);
	else
		refuse(call, ERROR_INVALID_REQUEST, "no request message", "");
	grpc_byte_buffer_destroy(bytes);
}

static void on_arrived(Tag *tag, bool ok)
{
	Call *call = container_of(tag, Call, arrived);

	if (ok) {
		calls_expect(call->calls, call->method); /* first: others wait */
		if (call->details) {
			call->unknown = path_of(call->details);
			call->deadline = call->details->deadline;
		}
		call->start_time = clock_mono_us();
		trace_read(&call->trace, &call->metadata);
		find_peer(call);
	}
	grpc_metadata_array_destroy(&call->metadata);
	if (call->details)
		grpc_call_details_destroy(call->details);
	free(take_ptr(call->details));
	if (!ok) { /* the server is stopping */
		call_unref(call);
		return;
	}

	(void)call_ref(call); /* its end may come on another poller */
	begin(call);
	await_close(call);
	call_unref(call);
}

void calls_expect(Calls *calls, const Method *method)
{
	Call *call = new0(Call);
	grpc_call_error r;

	atomic_init(&call->refs, 1);
	call->calls = calls;
	call->method = method;
	call->peer = -1;
	call->arrived.done = on_arrived;
	call->received.done = on_received;
	call->sent.done = on_sent;
	call->closed.done = on_closed;
	lock_init(&call->lock);
	grpc_metadata_array_init(&call->metadata);

	tsan_release(&call->arrived);
	if (method) {
		r = grpc_server_request_registered_call(
			calls->server, method->registered, &call->core, &call->deadline,
			&call->metadata, method->requests_stream ? NULL : &call->request,
			calls->queue, calls->queue, &call->arrived);
	} else {
		call->details = new0(grpc_call_details);
		grpc_call_details_init(call->details);
		r = grpc_server_request_call(calls->server, &call->core, call->details,
					     &call->metadata, calls->queue, calls->queue,
					     &call->arrived);
	}
	assert(r == GRPC_CALL_OK);
	(void)r;
}
