/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/call.h"

#include "agent/call_private.h"
#include "agent/status.h"

#include <assert.h>

Call *call_ref(Call *call)
{
	atomic_fetch_add(&call->refs, 1);
	return call;
}

void call_unref(Call *call)
{
	if (atomic_fetch_sub(&call->refs, 1) != 1)
		return;
	if (call->release)
		call->release(call->attached);
	free(call->unknown);
	free(call->principal);
	free(call->vm_id);
	free(call);
}

void *call_user(const Call *call)
{
	return call->calls->config->user;
}

const char *call_principal(const Call *call)
{
	return call->principal;
}

const char *call_vm_id(const Call *call)
{
	return call->vm_id;
}

bool call_ended(const Call *call)
{
	return atomic_load(&call->ended);
}

void call_attach(Call *call, void *data, void (*release)(void *data))
{
	assert(!call->release);
	call->attached = data;
	call->release = release;
}

void *call_attached(const Call *call)
{
	return call->attached;
}

void call_hold(Call *call)
{
	lock_take(&call->lock);
	call->held = true;
	lock_drop(&call->lock);
}

void call_go_on(Call *call)
{
	lock_take(&call->lock);
	call->held = false;
	lock_drop(&call->lock);
	call_read_next(call);
}

void call_wake(Call *call)
{
	if (atomic_load(&call->streaming))
		stream_pool_wake(call->calls->streams, &call->task);
}

void call_failure_free(CallFailure *failure)
{
	if (!failure)
		return;
	grpc_slice_unref(failure->message);
	grpc_slice_unref(failure->details);
	free(failure);
}

/* Ends the call unless it has ended; takes @failure, or frees it. */
static void call_end(Call *call, CallFailure *failure)
{
	bool ours;

	lock_take(&call->lock);
	ours = !atomic_load(&call->ended);
	if (ours) {
		call->failure = failure;
		atomic_store(&call->ended, true);
	}
	lock_drop(&call->lock);

	if (!ours) {
		call_failure_free(failure);
		return;
	}
	call_wake(call);
	call_advance(call);
}

/* Queues @message, ending the call with it if @last; false if the call has ended. */
static bool enqueue(Call *call, const ProtobufCMessage *message, bool last)
{
	OutboxItem *item;
	bool queued;

	if (call_ended(call))
		return false;
	item = outbox_item_new(message);

	lock_take(&call->lock);
	queued = !atomic_load(&call->ended);
	if (queued) {
		outbox_push(&call->outbox, item);
		if (last)
			atomic_store(&call->ended, true);
		if (call->outbox.bytes >= CALL_QUEUE_HIGH)
			atomic_store(&call->full, true);
	}
	lock_drop(&call->lock);

	if (!queued)
		outbox_item_free(item);
	return queued;
}

void call_reply(Call *call, const ProtobufCMessage *message)
{
	if (!enqueue(call, message, true))
		return;
	call_wake(call);
	call_advance(call);
}

void call_fail(Call *call, const Error *err)
{
	char message[ERROR_MESSAGE_MAX];
	CallFailure *failure;

	assert(error_is_set(err));
	if (call_ended(call))
		return;
	failure = new0(CallFailure);
	failure->err = *err;
	failure->message = grpc_slice_from_copied_string(error_message(err, message));
	failure->details = status_pack(err);
	call_end(call, failure);
}

void call_finish(Call *call)
{
	call_end(call, NULL);
}

void call_write(Call *call, const ProtobufCMessage *message)
{
	if (enqueue(call, message, false))
		call_advance(call);
}

bool call_writable(const Call *call)
{
	return !call_ended(call) && !atomic_load(&call->full);
}

static bool pump_run(StreamTask *task)
{
	Call *call = container_of(task, Call, task);

	if (!call_ended(call))
		call->pump(call, call->user);
	return call_ended(call);
}

static void pump_over(StreamTask *task)
{
	Call *call = container_of(task, Call, task);

	calls_untrack(call->calls, call); /* call_stream() may come after the end */
	call->end(call->user);
	call_unref(call);
}

void call_stream(Call *call, CallPump *pump, CallEnd *end, void *user)
{
	assert(!atomic_load(&call->streaming));
	call->pump = pump;
	call->end = end;
	call->user = user;
	call->task = (StreamTask){ .run = pump_run, .over = pump_over };
	(void)call_ref(call); /* the task's, until pump_over() */

	/* From here on, whoever ends the call wakes the task. */
	lock_take(&call->lock);
	atomic_store(&call->streaming, true);
	lock_drop(&call->lock);

	if (!calls_track(call->calls, call)) {
		Error err = { 0 };

		(void)error_set(&err, ERROR_DRAINING, "hearthd is stopping");
		call_fail(call, &err);
	}
	call_advance(call);
	call_wake(call);
}
