/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A client of a server in the same process, one call at a time. */

#include "agent/server.h"
#include "base/clock.h"

#include <criterion/criterion.h>
#include <google/rpc/status.pb-c.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <string.h>

typedef struct Client {
	Server *server;
	grpc_channel *channel;
	grpc_completion_queue *queue;
} Client;

/* What a client saw. */
typedef struct Answer {
	grpc_status_code code;
	char *message;
	size_t messages;
	bool details;
} Answer;

static inline void answer_clear(Answer *answer)
{
	free(answer->message);
}

static inline void wait_batch(Client *client)
{
	(void)grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
}

static inline grpc_call *call_open(Client *client, const char *path, int64_t usec)
{
	gpr_timespec deadline =
		gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_micros(usec, GPR_TIMESPAN));

	return grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
					client->queue, grpc_slice_from_static_string(path), NULL,
					deadline, NULL);
}

static inline void call_send(Client *client, grpc_call *call, const void *bytes, size_t size)
{
	grpc_slice slice = grpc_slice_from_copied_buffer(bytes, size);
	grpc_byte_buffer *request = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op ops[3] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
	};

	ops[1].data.send_message.send_message = request;
	cr_assert_eq(grpc_call_start_batch(call, ops, 3, client, NULL), GRPC_CALL_OK);
	wait_batch(client);
	grpc_byte_buffer_destroy(request);
	grpc_slice_unref(slice);
}

/* With an empty request, and time enough. */
static inline grpc_call *call_begin(Client *client, const char *path)
{
	grpc_call *call = call_open(client, path, 30 * (int64_t)USEC_PER_SEC);

	call_send(client, call, "", 0);
	return call;
}

/* Reads messages to the end, and the status. */
static inline Answer call_read(Client *client, grpc_call *call)
{
	Answer answer = { 0 };
	grpc_metadata_array headers, trailers;
	grpc_slice message = grpc_empty_slice();
	grpc_byte_buffer *reply;
	grpc_op ops[2] = { { .op = GRPC_OP_RECV_INITIAL_METADATA } };

	grpc_metadata_array_init(&headers);
	grpc_metadata_array_init(&trailers);
	ops[0].data.recv_initial_metadata.recv_initial_metadata = &headers;
	cr_assert_eq(grpc_call_start_batch(call, ops, 1, client, NULL), GRPC_CALL_OK);
	wait_batch(client);
	do {
		ops[0] = (grpc_op){ .op = GRPC_OP_RECV_MESSAGE };
		ops[0].data.recv_message.recv_message = &reply;
		cr_assert_eq(grpc_call_start_batch(call, ops, 1, client, NULL), GRPC_CALL_OK);
		wait_batch(client);
		answer.messages += reply != NULL;
		grpc_byte_buffer_destroy(reply);
	} while (reply);
	ops[0] = (grpc_op){ .op = GRPC_OP_RECV_STATUS_ON_CLIENT };
	ops[0].data.recv_status_on_client.trailing_metadata = &trailers;
	ops[0].data.recv_status_on_client.status = &answer.code;
	ops[0].data.recv_status_on_client.status_details = &message;
	cr_assert_eq(grpc_call_start_batch(call, ops, 1, client, NULL), GRPC_CALL_OK);
	wait_batch(client);
	for (size_t i = 0; i < trailers.count; i++)
		if (grpc_slice_str_cmp(trailers.metadata[i].key, "grpc-status-details-bin") == 0)
			answer.details = true;
	answer.message = grpc_slice_to_c_string(message);
	grpc_slice_unref(message);
	grpc_metadata_array_destroy(&headers);
	grpc_metadata_array_destroy(&trailers);
	grpc_call_unref(call);
	return answer;
}

static inline Answer call_whole(Client *client, const char *path, const void *bytes, size_t size)
{
	grpc_call *call = call_open(client, path, 30 * (int64_t)USEC_PER_SEC);

	call_send(client, call, bytes, size);
	return call_read(client, call);
}
