/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/client.h"

#include "agent/ctl/message.h"
#include "agent/ctl/pump.h"
#include "base/text.h"

#include <assert.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <string.h>

enum {
	TICK_MS = 100,
	MAX_ANSWER = 64 << 20,
	MAX_METADATA = 64 << 10,
};

struct Client {
	char *address;
	grpc_channel *channel;
	grpc_completion_queue *queue;
	ClientTick *tick;
	void *tick_user;
	bool ticking;
};

struct ClientStream {
	Client *client;
	Pump *pump; /* of a duplex call, else NULL */
	grpc_call *call;
	const ProtobufCMessageDescriptor *output;
	Batch begun, sent, received, ended;
	bool receiving; /* a message was asked for and has not been taken */
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *message;
	grpc_status_code code;
	grpc_slice details;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

bool client_interrupted(void)
{
	return interrupted != 0;
}

/* gRPC logs what the statuses say anyway; GRPC_VERBOSITY brings it back. */
static void drop_log(gpr_log_func_args *args)
{
	(void)args;
}

static grpc_channel_credentials *credentials_new(const ClientTls *tls)
{
	grpc_ssl_pem_key_cert_pair pair = { tls->key, tls->certificate };

	if (!tls->ca)
		return grpc_insecure_credentials_create();
	return grpc_ssl_credentials_create(tls->ca, tls->certificate ? &pair : NULL, NULL, NULL);
}

Client *client_new(const char *address, const ClientTls *tls)
{
	grpc_arg args[] = {
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char[]){ GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH },
		  .value.integer = MAX_ANSWER },
		{ .type = GRPC_ARG_INTEGER,
		  .key = (char[]){ GRPC_ARG_MAX_METADATA_SIZE },
		  .value.integer = MAX_METADATA },
		{ .type = GRPC_ARG_INTEGER, .key = (char[]){ GRPC_ARG_ENABLE_HTTP_PROXY } },
		{ .type = GRPC_ARG_INTEGER, .key = (char[]){ GRPC_ARG_ENABLE_RETRIES } },
		/* The last one only where the name is another than the address'. */
		{ .type = GRPC_ARG_STRING,
		  .key = (char[]){ GRPC_SSL_TARGET_NAME_OVERRIDE_ARG },
		  .value.string = tls->server_name },
	};
	const grpc_channel_args channel_args = { array_size(args) - !tls->server_name, args };
	const struct sigaction action = { .sa_handler = interrupt };
	grpc_channel_credentials *credentials;
	Client *client = new0(Client);

	if (!getenv("GRPC_VERBOSITY"))
		gpr_set_log_function(drop_log);
	grpc_init();
	client->address = text_dup(address);
	client->queue = grpc_completion_queue_create_for_next(NULL);
	credentials = credentials_new(tls);
	client->channel = grpc_channel_create(address, credentials, &channel_args);
	grpc_channel_credentials_release(credentials);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	return client;
}

void client_free(Client *client)
{
	grpc_channel_destroy(client->channel);
	grpc_completion_queue_shutdown(client->queue);
	while (grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
		       .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(client->queue);
	free(client->address);
	free(client);
	grpc_shutdown();
}

void client_set_tick(Client *client, ClientTick *tick, void *user)
{
	client->tick = tick;
	client->tick_user = user;
}

static void tick(Client *client)
{
	if (!client->tick || client->ticking)
		return;
	client->ticking = true;
	client->tick(client->tick_user);
	client->ticking = false;
}

/* Waits until @batch is done; if the user stops it, cancels its call first. */
static void wait_for(ClientStream *stream, const Batch *batch)
{
	Client *client = stream->client;
	bool cancelled = false;

	if (stream->pump) {
		pump_wait(stream->pump, batch);
		return;
	}
	while (!batch->done) {
		gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
						  gpr_time_from_millis(TICK_MS, GPR_TIMESPAN));
		grpc_event event = grpc_completion_queue_next(client->queue, until, NULL);

		if (event.type == GRPC_OP_COMPLETE) {
			((Batch *)event.tag)->done = true;
			continue;
		}
		if (interrupted && !cancelled) {
			(void)grpc_call_cancel(stream->call, NULL);
			cancelled = true;
		}
		tick(client);
	}
}

static const ProtobufCMethodDescriptor *find_method(Method method)
{
	const ProtobufCMethodDescriptor *found =
		protobuf_c_service_descriptor_get_method_by_name(method.service, method.name);

	assert(found);
	return found;
}

static grpc_call *make_call(Client *client, grpc_completion_queue *queue, Method method,
			    int64_t timeout)
{
	gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	char path[256];
	grpc_slice slice;
	grpc_call *call;

	(void)text_append(path, path + sizeof path, "/%s/%s", method.service->name, method.name);
	if (timeout != CLIENT_FOREVER)
		deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
					gpr_time_from_micros(timeout, GPR_TIMESPAN));
	slice = grpc_slice_from_copied_string(path);
	call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
					slice, NULL, deadline, NULL);
	grpc_slice_unref(slice);
	return call;
}

/* A request's bytes. */
typedef struct Packed {
	size_t length;
	uint8_t bytes[];
} Packed;

static void wipe_packed(void *user)
{
	Packed *packed = user;

	explicit_bzero(packed->bytes, packed->length);
	free(packed);
}

/* gRPC sends it from where it is; whatever it holds, it is not left behind. */
static grpc_byte_buffer *pack(const ProtobufCMessage *message)
{
	size_t length = protobuf_c_message_get_packed_size(message);
	Packed *packed = must_calloc(1, sizeof *packed + length);
	grpc_byte_buffer *buffer;
	grpc_slice slice;

	packed->length = protobuf_c_message_pack(message, packed->bytes);
	slice = grpc_slice_new_with_user_data(packed->bytes, length, wipe_packed, packed);
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	return buffer;
}

static void start(grpc_call *call, const grpc_op *ops, size_t count, Batch *batch)
{
	grpc_call_error error;

	batch->done = false;
	error = grpc_call_start_batch(call, ops, count, batch, NULL);
	assert(error == GRPC_CALL_OK);
	(void)error;
}

/* Starts what brings the answer's beginning and the call's end. */
static void expect(ClientStream *stream)
{
	const grpc_op metadata = {
		.op = GRPC_OP_RECV_INITIAL_METADATA,
		.data.recv_initial_metadata.recv_initial_metadata = &stream->initial,
	};
	const grpc_op status = {
		.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
		.data.recv_status_on_client = { .trailing_metadata = &stream->trailing,
						.status = &stream->code,
						.status_details = &stream->details },
	};

	start(stream->call, &metadata, 1, &stream->begun);
	start(stream->call, &status, 1, &stream->ended);
}

/* @pump: the stream's from now on; NULL: its call is on the client's queue. */
static ClientStream *stream_new(Client *client, Pump *pump, Method method, int64_t timeout)
{
	ClientStream *stream = new0(ClientStream);

	stream->client = client;
	stream->pump = pump;
	stream->output = find_method(method)->output;
	stream->details = grpc_empty_slice();
	grpc_metadata_array_init(&stream->initial);
	grpc_metadata_array_init(&stream->trailing);
	stream->call = make_call(client, pump ? pump_queue(pump) : client->queue, method, timeout);
	return stream;
}

/* Sends the first request; it is the last if @only. */
static void begin(ClientStream *stream, const ProtobufCMessage *request, bool only)
{
	grpc_byte_buffer *buffer = pack(request);
	const grpc_op ops[] = {
		{ .op = GRPC_OP_SEND_INITIAL_METADATA },
		{ .op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer },
		{ .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
	};

	start(stream->call, ops, array_size(ops) - !only, &stream->sent);
	grpc_byte_buffer_destroy(buffer);
	expect(stream);
}

ClientStream *client_stream(Client *client, Method method, const ProtobufCMessage *request,
			    int64_t timeout)
{
	ClientStream *stream = stream_new(client, NULL, method, timeout);

	begin(stream, request, true);
	return stream;
}

void client_stream_free(ClientStream *stream)
{
	if (!stream->ended.done)
		(void)grpc_call_cancel(stream->call, NULL);
	wait_for(stream, &stream->ended);
	wait_for(stream, &stream->begun);
	wait_for(stream, &stream->sent);
	if (stream->receiving)
		wait_for(stream, &stream->received);
	if (stream->message)
		grpc_byte_buffer_destroy(stream->message);
	grpc_metadata_array_destroy(&stream->initial);
	grpc_metadata_array_destroy(&stream->trailing);
	grpc_slice_unref(stream->details);
	grpc_call_unref(stream->call);
	if (stream->pump)
		pump_free(stream->pump);
	free(stream);
}

static ProtobufCMessage *unpack(const ProtobufCMessageDescriptor *type, grpc_byte_buffer *buffer)
{
	ProtobufCMessage *message = NULL;
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	if (!grpc_byte_buffer_reader_init(&reader, buffer))
		return NULL;
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
					    GRPC_SLICE_START_PTR(slice));
	grpc_slice_unref(slice);
	return message;
}

static char *text_of_slice(grpc_slice slice)
{
	return text_printf("%.*s", (int)GRPC_SLICE_LENGTH(slice),
			   (const char *)GRPC_SLICE_START_PTR(slice));
}

static Google__Rpc__Status *details_of(const ClientStream *stream)
{
	for (size_t i = 0; i < stream->trailing.count; i++) {
		const grpc_metadata *row = &stream->trailing.metadata[i];

		if (grpc_slice_str_cmp(row->key, "grpc-status-details-bin") == 0)
			return google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(row->value),
							   GRPC_SLICE_START_PTR(row->value));
	}
	return NULL;
}

/* The call is over: 0, or -1 with *@failure saying how it failed. */
static int finish(ClientStream *stream, Failure *failure)
{
	wait_for(stream, &stream->ended);
	if (stream->code == GRPC_STATUS_OK)
		return 0;
	failure->code = (int)stream->code;
	failure->message = text_of_slice(stream->details);
	failure->status = details_of(stream);
	failure->address = stream->client->address;
	failure->interrupted = interrupted && stream->code == GRPC_STATUS_CANCELLED;
	/* An agent that is there says why it is not available. */
	failure->unreachable =
		stream->code == GRPC_STATUS_UNAVAILABLE && !failure->status &&
		(strstr(failure->message, "connect") || strstr(failure->message, "DNS"));
	return -1;
}

static int fail_undecodable(const ClientStream *stream, Failure *failure)
{
	failure->code = GRPC_STATUS_INTERNAL;
	failure->message = text_printf("the answer is no %s", stream->output->name);
	failure->address = stream->client->address;
	return -1;
}

static void receive(ClientStream *stream)
{
	const grpc_op op = {
		.op = GRPC_OP_RECV_MESSAGE,
		.data.recv_message.recv_message = &stream->message,
	};

	if (stream->receiving)
		return;
	start(stream->call, &op, 1, &stream->received);
	stream->receiving = true;
}

int client_stream_next(ClientStream *stream, void *ret, Failure *failure)
{
	ProtobufCMessage *message;

	receive(stream);
	wait_for(stream, &stream->received);
	stream->receiving = false;
	if (!stream->message)
		return finish(stream, failure);
	message = unpack(stream->output, stream->message);
	grpc_byte_buffer_destroy(take_ptr(stream->message));
	if (!message)
		return fail_undecodable(stream, failure);
	memcpy(ret, &message, sizeof(void *));
	return 1;
}

ClientStream *client_duplex(Client *client, Method method, const ProtobufCMessage *request,
			    int64_t timeout)
{
	Pump *pump = pump_new();
	ClientStream *stream;

	if (!pump)
		return NULL;
	stream = stream_new(client, pump, method, timeout);
	begin(stream, request, false);
	return stream;
}

bool client_stream_sent(const ClientStream *stream)
{
	return stream->sent.done;
}

void client_stream_send(ClientStream *stream, const ProtobufCMessage *request)
{
	grpc_byte_buffer *buffer = pack(request);
	const grpc_op op = {
		.op = GRPC_OP_SEND_MESSAGE,
		.data.send_message.send_message = buffer,
	};

	assert(stream->sent.done);
	start(stream->call, &op, 1, &stream->sent);
	grpc_byte_buffer_destroy(buffer);
}

bool client_stream_arrived(ClientStream *stream)
{
	receive(stream);
	/* Without a message it is over, and next() will want to say how. */
	return stream->received.done && (stream->message || stream->ended.done);
}

void client_stream_poll(ClientStream *stream, struct pollfd *fds, size_t count)
{
	pump_poll(stream->pump, fds, count);
}

int client_answer(ClientStream *stream, void *ret, Failure *failure)
{
	cleanup_(message_freep) ProtobufCMessage *message = NULL;
	int got = client_stream_next(stream, &message, failure);

	if (got < 0)
		return -1;
	if (got == 0)
		return fail_undecodable(stream, failure);
	if (finish(stream, failure) < 0)
		return -1;
	memcpy(ret, &message, sizeof(void *));
	message = NULL;
	return 0;
}

int client_call(Client *client, Method method, const ProtobufCMessage *request, int64_t timeout,
		void *ret, Failure *failure)
{
	cleanup_(client_stream_freep) ClientStream *stream =
		client_stream(client, method, request, timeout);

	return client_answer(stream, ret, failure);
}
