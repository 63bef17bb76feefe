/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/server.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/text.h"
#include "tests/unit/server_client.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <google/rpc/status.pb-c.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/health/v1/health.pb-c.h>
#include <hearth/v1/node.pb-c.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	CHUNKS = 4000,
	CHUNK_BYTES = 8192
};

/* A NodeService whose methods do what a test needs: see the handlers. */
static atomic_uint ends;
static atomic_uint waiting;
static atomic_uint pumps_at_once, pumps_at_once_max;
static atomic_uint chunks_left;
static _Atomic(Call *) kept;
static atomic_bool stuck; /* get_node() does not return while it is */
static atomic_uint stuck_calls;

/* Answers with its own principal. */
static void get_node(Hearth__V1__NodeService_Service *service,
		     const Hearth__V1__GetNodeRequest *request, Hearth__V1__Node_Closure closure,
		     void *data)
{
	Hearth__V1__Node node;

	(void)service, (void)request, (void)closure;
	if (atomic_load(&stuck))
		atomic_fetch_add(&stuck_calls, 1);
	while (atomic_load(&stuck))
		clock_sleep_us(1000);
	hearth__v1__node__init(&node);
	node.node_id = text_dup(call_principal(data));
	call_reply(data, &node.base);
	call_reply(data, &node.base); /* dropped */
	free(node.node_id);
}

static void chunk_pump(Call *call, void *user)
{
	unsigned now = atomic_fetch_add(&pumps_at_once, 1) + 1;
	Hearth__V1__Node node;

	(void)user;
	if (now > atomic_load(&pumps_at_once_max))
		atomic_store(&pumps_at_once_max, now);
	hearth__v1__node__init(&node);
	node.node_id = must_calloc(1, CHUNK_BYTES + 1);
	memset(node.node_id, 'x', CHUNK_BYTES);
	while (call_writable(call) && atomic_load(&chunks_left)) {
		atomic_fetch_sub(&chunks_left, 1);
		call_write(call, &node.base);
	}
	free(node.node_id);
	if (!atomic_load(&chunks_left))
		call_finish(call);
	atomic_fetch_sub(&pumps_at_once, 1);
}

static void count_end(void *user)
{
	(void)user;
	atomic_fetch_add(&ends, 1);
}

/* CHUNKS messages of CHUNK_BYTES, far more than a queue holds. */
static void watch_node(Hearth__V1__NodeService_Service *service,
		       const Hearth__V1__WatchNodeRequest *request,
		       Hearth__V1__Node_Closure closure, void *data)
{
	(void)service, (void)request, (void)closure;
	call_stream(data, chunk_pump, count_end, NULL);
}

static void idle_pump(Call *call, void *user)
{
	(void)call, (void)user;
}

/* Never answers; waits as a stream. */
static void cordon(Hearth__V1__NodeService_Service *service,
		   const Hearth__V1__CordonRequest *request, Hearth__V1__Node_Closure closure,
		   void *data)
{
	(void)service, (void)request, (void)closure;
	call_stream(data, idle_pump, count_end, NULL);
	atomic_fetch_add(&waiting, 1);
}

/* Leaves the call to the test. */
static void uncordon(Hearth__V1__NodeService_Service *service,
		     const Hearth__V1__UncordonRequest *request, Hearth__V1__Node_Closure closure,
		     void *data)
{
	(void)service, (void)request, (void)closure;
	atomic_store(&kept, call_ref(data));
}

static void doctor(Hearth__V1__NodeService_Service *service,
		   const Hearth__V1__DoctorRequest *request,
		   Hearth__V1__DoctorResponse_Closure closure, void *data)
{
	Error err = { 0 };

	(void)service, (void)request, (void)closure;
	(void)error_set_transition(&err, "web-1", "running", "created");
	call_fail(data, &err);
}

/* Nobody calls it. */
static void drain(Hearth__V1__NodeService_Service *service, const Hearth__V1__DrainRequest *request,
		  Hearth__V1__DrainResponse_Closure closure, void *data)
{
	(void)service, (void)request, (void)closure, (void)data;
	abort();
}

static Hearth__V1__NodeService_Service node_service = {
	.get_node = get_node,
	.watch_node = watch_node,
	.cordon = cordon,
	.uncordon = uncordon,
	.drain = drain,
	.doctor = doctor,
};

static const ServerConfig plain = {
	.max_message = 1 << 20,
	.max_connections = 16,
	.max_calls = 100,
	.max_streams_per_connection = 100,
};

static Client client_new(const ServerConfig *config)
{
	Client client = { 0 };
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	Error err = { 0 };
	char target[32];

	node_service.base.descriptor = &hearth__v1__node_service__descriptor;
	node_service.base.invoke = protobuf_c_service_invoke_internal;
	atomic_store(&chunks_left, CHUNKS);
	cr_assert_eq(server_new(&client.server, config, &err), 0);
	server_add_service(client.server, &node_service.base);
	cr_assert_eq(server_listen(client.server, "127.0.0.1:0", &err), 0);
	cr_assert_eq(server_start(client.server, &err), 0);
	(void)text_append(target, target + sizeof target, "127.0.0.1:%u",
			  server_port(client.server, 0));
	client.channel = grpc_channel_create(target, credentials, NULL);
	client.queue = grpc_completion_queue_create_for_next(NULL);
	grpc_channel_credentials_release(credentials);
	return client;
}

static void client_free(Client *client)
{
	server_stop(client->server, USEC_PER_SEC);
	server_free(client->server);
	grpc_channel_destroy(client->channel);
	grpc_completion_queue_shutdown(client->queue);
	(void)grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	grpc_completion_queue_destroy(client->queue);
}

static void wait_for(const atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 10000 && atomic_load(counter) != value; i++)
		clock_sleep_us(1000);
	cr_assert_eq(atomic_load(counter), value);
}

Test(server, a_unary_call_gets_one_answer)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer answer =
		call_whole(&client, "/hearth.v1.NodeService/GetNode", "", 0);

	cr_assert_eq(answer.code, GRPC_STATUS_OK);
	cr_assert_eq(answer.messages, 1);
}

Test(server, a_failure_has_code_message_and_details)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer answer =
		call_whole(&client, "/hearth.v1.NodeService/Doctor", "", 0);

	cr_assert_eq(answer.code, GRPC_STATUS_FAILED_PRECONDITION);
	cr_assert_str_eq(answer.message, "invalid vm transition for 'web-1': running -> created");
	cr_assert(answer.details);
}

Test(server, an_unknown_method_is_refused_at_once)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer answer =
		call_whole(&client, "/hearth.v1.NodeService/Explode", "", 0);

	cr_assert_eq(answer.code, GRPC_STATUS_UNIMPLEMENTED);
}

Test(server, bytes_that_are_no_request_never_reach_the_handler)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer answer =
		call_whole(&client, "/hearth.v1.NodeService/GetNode", "\xff\xff", 2);

	cr_assert_eq(answer.code, GRPC_STATUS_INVALID_ARGUMENT);
	cr_assert_str_eq(answer.message, "invalid request: request: cannot be decoded: truncated");
}

Test(server, only_mutations_refuse_unknown_fields)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer get =
		call_whole(&client, "/hearth.v1.NodeService/GetNode", "\x98\x06\x01", 3);
	cleanup_(answer_clear) Answer put =
		call_whole(&client, "/hearth.v1.NodeService/Cordon", "\x98\x06\x01", 3);

	cr_assert_eq(get.code, GRPC_STATUS_OK);
	cr_assert_eq(put.code, GRPC_STATUS_INVALID_ARGUMENT);
	cr_assert(strstr(put.message, "unknown field: 99"));
}

Test(server, a_message_beyond_the_limit_is_refused)
{
	cleanup_(client_free) Client client = client_new(&plain);
	cleanup_free char *large = must_calloc(1, (1 << 20) + 1);

	cleanup_(answer_clear) Answer answer =
		call_whole(&client, "/hearth.v1.NodeService/GetNode", large, (1 << 20) + 1);

	cr_assert_eq(answer.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
}

Test(server, a_stream_larger_than_its_queue_arrives_whole)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer answer =
		call_whole(&client, "/hearth.v1.NodeService/WatchNode", "", 0);

	cr_assert_eq(answer.code, GRPC_STATUS_OK);
	cr_assert_eq(answer.messages, CHUNKS);
	cr_assert_eq(atomic_load(&pumps_at_once_max), 1);
	wait_for(&ends, 1);
}

Test(server, a_client_that_does_not_read_stops_the_pump_and_its_leaving_ends_it)
{
	cleanup_(client_free) Client client = client_new(&plain);
	grpc_call *call = call_begin(&client, "/hearth.v1.NodeService/WatchNode");

	clock_sleep_us(300 * (int64_t)USEC_PER_MSEC);
	cr_assert_gt(atomic_load(&chunks_left), CHUNKS / 2);
	cr_assert_eq(atomic_load(&ends), 0);
	grpc_call_cancel(call, NULL);
	grpc_call_unref(call);

	wait_for(&ends, 1);
}

Test(server, a_deadline_ends_a_call_that_waits)
{
	cleanup_(client_free) Client client = client_new(&plain);
	/* Connected first: the deadline is to pass in the server, not on the way to it. */
	cleanup_(answer_clear) Answer first =
		call_whole(&client, "/hearth.v1.NodeService/GetNode", "", 0);
	grpc_call *call =
		call_open(&client, "/hearth.v1.NodeService/Cordon", 2 * (int64_t)USEC_PER_SEC);

	call_send(&client, call, "", 0);
	cleanup_(answer_clear) Answer answer = call_read(&client, call);

	cr_assert_eq(first.code, GRPC_STATUS_OK);
	cr_assert_eq(answer.code, GRPC_STATUS_DEADLINE_EXCEEDED);
	wait_for(&ends, 1);
}

Test(server, an_answer_after_the_client_has_gone_is_dropped)
{
	cleanup_(client_free) Client client = client_new(&plain);
	grpc_call *call = call_begin(&client, "/hearth.v1.NodeService/Uncordon");
	Hearth__V1__Node node;
	Call *late;

	while (!(late = atomic_load(&kept)))
		clock_sleep_us(1000);
	cr_assert_str_eq(call_principal(late), "tcp:127.0.0.1");
	cr_assert_not(call_ended(late));
	grpc_call_cancel(call, NULL);
	grpc_call_unref(call);
	while (!call_ended(late))
		clock_sleep_us(1000);
	hearth__v1__node__init(&node);
	call_reply(late, &node.base);
	call_unref(late);
}

Test(server, too_many_calls_in_flight_are_refused)
{
	ServerConfig config = plain;
	config.max_calls = 1;
	cleanup_(client_free) Client client = client_new(&config);
	grpc_call *first = call_begin(&client, "/hearth.v1.NodeService/Cordon");

	wait_for(&waiting, 1);

	cleanup_(answer_clear) Answer second =
		call_whole(&client, "/hearth.v1.NodeService/GetNode", "", 0);
	cleanup_(answer_clear) Answer health =
		call_whole(&client, "/grpc.health.v1.Health/Check", "", 0);

	cr_assert_eq(second.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
	cr_assert_str_eq(second.message, "queue full: too many calls in flight");
	cr_assert_eq(health.code, GRPC_STATUS_OK);
	grpc_call_cancel(first, NULL);
	grpc_call_unref(first);
}

Test(server, stopping_ends_streams_as_draining)
{
	cleanup_(client_free) Client client = client_new(&plain);
	grpc_call *call = call_begin(&client, "/hearth.v1.NodeService/Cordon");

	wait_for(&waiting, 1);

	server_stop(client.server, 10 * (int64_t)USEC_PER_SEC);
	cleanup_(answer_clear) Answer answer = call_read(&client, call);

	cr_assert_eq(answer.code, GRPC_STATUS_UNAVAILABLE);
	cr_assert_str_eq(answer.message, "node draining: hearthd is stopping");
	wait_for(&ends, 1);
}

Test(server, a_call_that_is_never_answered_is_cancelled_after_the_grace)
{
	cleanup_(client_free) Client client = client_new(&plain);
	grpc_call *call = call_begin(&client, "/hearth.v1.NodeService/Uncordon");

	while (!atomic_load(&kept))
		clock_sleep_us(1000);

	server_stop(client.server, 100 * (int64_t)USEC_PER_MSEC);
	cleanup_(answer_clear) Answer answer = call_read(&client, call);

	cr_assert_eq(answer.code, GRPC_STATUS_UNAVAILABLE);
	cr_assert(call_ended(atomic_load(&kept)));
	call_unref(atomic_load(&kept));
}

Test(server, health_knows_its_services_and_whether_they_serve)
{
	cleanup_(client_free) Client client = client_new(&plain);

	cleanup_(answer_clear) Answer known = call_whole(&client, "/grpc.health.v1.Health/Check",
							 "\x0a\x15hearth.v1.NodeService", 23);
	cleanup_(answer_clear) Answer unknown =
		call_whole(&client, "/grpc.health.v1.Health/Check", "\x0a\x04nope", 6);

	cr_assert_eq(known.code, GRPC_STATUS_OK);
	cr_assert_eq(unknown.code, GRPC_STATUS_NOT_FOUND);
}

Test(server, it_is_told_whether_a_poller_serves_a_new_connection)
{
	cleanup_(client_free) Client client = client_new(&plain);

	for (int i = 0; i < 20; i++)
		cr_assert(server_answers(client.server, 5 * (int64_t)USEC_PER_SEC));
}

Test(server, one_whose_pollers_all_hang_is_told_apart)
{
	static const ServerConfig alone = {
		.pollers = 1,
		.max_message = 1 << 20,
		.max_connections = 16,
		.max_calls = 100,
		.max_streams_per_connection = 100,
	};
	cleanup_(client_free) Client client = client_new(&alone);
	cleanup_(answer_clear) Answer answer = { 0 };
	grpc_call *call =
		call_open(&client, "/hearth.v1.NodeService/GetNode", 30 * (int64_t)USEC_PER_SEC);

	atomic_store(&stuck, true);
	call_send(&client, call, "", 0);
	wait_for(&stuck_calls, 1);
	cr_expect_not(server_answers(client.server, (int64_t)USEC_PER_SEC / 5));
	atomic_store(&stuck, false);

	answer = call_read(&client, call);
	cr_expect_eq(answer.code, GRPC_STATUS_OK);
	cr_expect(server_answers(client.server, 5 * (int64_t)USEC_PER_SEC));
}
