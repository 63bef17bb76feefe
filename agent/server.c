/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/server.h"

#include "agent/calls.h"
#include "agent/grpc_log.h"
#include "agent/health.h"
#include "agent/lend.h"
#include "agent/listener.h"
#include "agent/reflection.h"
#include "agent/tag.h"
#include "agent/tls/tls_gate.h"
#include "base/clock.h"
#include "base/descriptors.h"
#include "base/text.h"

#include <assert.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
	STREAM_THREADS = 2,
	METADATA_MAX = 16 * 1024,
	KEEPALIVE_MS = 60 * 1000,         /* a client silent for this long is asked, */
	KEEPALIVE_TIMEOUT_MS = 20 * 1000, /* and cut off if it does not answer in this */
	PING_INTERVAL_MIN_MS = 10 * 1000, /* clients may ask as often as that */
	READ_MAX = 8 * 1024,              /* at once, so that a flood is noticed while it is read */
	HANDSHAKE_USEC = 10 * 1000 * 1000,
	NOTICE_USEC = 100 * 1000, /* for watchers of health to be told of the end */
	DRAIN_POLL_USEC = 20 * 1000,
	ANSWER_BYTES = 1024, /* until a ping is answered; core says less before */
};

typedef enum ServerState {
	SERVER_NEW,
	SERVER_STARTED,
	SERVER_STOPPED,
} ServerState;

struct Server {
	ServerConfig config;
	ServerState state;
	grpc_server_credentials *credentials;
	MethodTable methods;
	Calls calls;
	Health *health;
	Reflection *reflection;
	Listener *listener;
	TlsGate *gate; /* NULL: there is no TLS */
	pthread_t *pollers;
	unsigned poller_count;

	Tag stopped;
	Lock lock;
	Cond changed;
	bool core_stopped; /* under lock */
};

static void *poller(void *arg)
{
	grpc_completion_queue *queue = arg;

	(void)pthread_setname_np(pthread_self(), "poller");
	for (;;) {
		grpc_event event =
			grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		Tag *tag = event.tag;

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		tsan_acquire(tag);
		tag->done(tag, event.success);
	}
}

/* False: it is not wanted, and still the caller's. */
static bool serve_connection(Server *server, int fd, const char *name, Role role)
{
	if (descriptors_are_kept(fd) || !peers_add(server->calls.peers, fd, name, role))
		return false;
	grpc_server_add_channel_from_fd(server->calls.server, fd, server->credentials);
	return true;
}

/* Who has shown no certificate is known by the address; who has, by the first of its names, and
 * may what any of them may. */
static bool on_tls_opened(void *user, int fd, const TlsNames *names, const char *address)
{
	Server *server = user;
	char name[PEER_NAME_MAX];
	Role role = ROLE_NONE;

	(void)text_append(name, name + sizeof name, "tls:%s", address);
	if (!names->count)
		role = roles_of(server->config.roles, name);
	for (size_t i = 0; i < names->count; i++) {
		Role one = roles_of(server->config.roles, names->items[i]);

		role = one > role ? one : role;
	}
	return serve_connection(server, fd, names->count ? names->items[0] : name, role);
}

static void on_tls_refused(void *user, const char *address, const char *why, unsigned untold)
{
	const Server *server = user;

	server->config.refused(server->config.user, address, why, untold);
}

static void on_tls_reloaded(void *user, const Error *err)
{
	const Server *server = user;

	server->config.reloaded(server->config.user, err);
}

static bool is_tcp(int fd)
{
	int domain = AF_UNSPEC;
	socklen_t size = sizeof domain;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_UNIX;
}

static void on_accepted(void *user, int fd)
{
	Server *server = user;
	char name[PEER_NAME_MAX];
	bool served = false;

	peers_describe(fd, name);
	if (server->gate && is_tcp(fd))
		served = !descriptors_are_kept(fd) && tls_gate_accept(server->gate, fd);
	else
		served = serve_connection(server, fd, name, roles_of(server->config.roles, name));
	if (!served)
		(void)close(fd);
}

static int start_gate(Server *server, Error *err)
{
	const TlsGateConfig config = {
		.files = server->config.tls,
		.max = server->config.max_connections,
		.handshake = HANDSHAKE_USEC,
		.opened = on_tls_opened,
		.refused = on_tls_refused,
		.reloaded = on_tls_reloaded,
		.user = server,
	};

	return tls_gate_new(&server->gate, &config, err);
}

static void on_stopped(Tag *tag, bool ok)
{
	Server *server = container_of(tag, Server, stopped);

	(void)ok;
	lock_take(&server->lock);
	server->core_stopped = true;
	cond_broadcast(&server->changed);
	lock_drop(&server->lock);
}

static grpc_arg setting(const char *name, int value)
{
	return (grpc_arg){
		.type = GRPC_ARG_INTEGER,
		.key = lend(name),
		.value.integer = value,
	};
}

static grpc_server *core_new(const ServerConfig *config)
{
	grpc_arg args[] = {
		setting(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)config->max_message),
		setting(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
		setting(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX),
		setting(GRPC_ARG_MAX_CONCURRENT_STREAMS, (int)config->max_streams_per_connection),
		/* Identity only: core would inflate a message whole before measuring it. */
		setting(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1),
		setting(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
		setting(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		setting(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		setting(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
			PING_INTERVAL_MIN_MS),
		setting(GRPC_ARG_TCP_READ_CHUNK_SIZE, READ_MAX),
		setting(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, READ_MAX),
		setting(GRPC_ARG_ENABLE_CHANNELZ, 0),
	};
	grpc_channel_args all = { .num_args = array_size(args), .args = args };

	return grpc_server_create(&all, NULL);
}

int server_new(Server **ret, const ServerConfig *config, Error *err)
{
	Server *server;

	if (!config->max_calls || !config->max_connections || !config->max_message ||
	    !config->max_streams_per_connection)
		return error_set(err, ERROR_INVALID_REQUEST, "a limit of the server is 0");
	server = new0(Server);
	server->config = *config;
	if (!server->config.pollers)
		server->config.pollers = 2;
	lock_init(&server->lock);
	cond_init(&server->changed);
	server->stopped.done = on_stopped;

	grpc_log_install();
	grpc_init();
	server->credentials = grpc_insecure_server_credentials_create();
	lock_init(&server->calls.lock);
	LIST_INIT(&server->calls.tracked);
	server->calls.config = &server->config;
	server->calls.server = core_new(&server->config);
	server->calls.queue = grpc_completion_queue_create_for_next(NULL);
	server->calls.peers = peers_new(config->max_connections, config->max_streams_per_connection,
					config->max_calls);
	grpc_server_register_completion_queue(server->calls.server, server->calls.queue, NULL);

	server->listener = listener_new(on_accepted, server);
	server->health = health_new(&server->methods);
	server->reflection = reflection_new(&server->methods);
	server_add_service(server, health_service(server->health));
	server_add_service(server, reflection_service(server->reflection));
	server_add_service(server, reflection_service_alpha(server->reflection));
	*ret = server;
	return 0;
}

void server_add_service(Server *server, ProtobufCService *service)
{
	assert(server->state == SERVER_NEW);
	methods_add(&server->methods, service);
}

void server_inspect(Server *server, const char *path,
		    void (*inspect)(Call *call, const ProtobufCMessage *request, Error *err))
{
	methods_inspect(&server->methods, path, inspect);
}

int server_listen(Server *server, const char *address, Error *err)
{
	assert(server->state == SERVER_NEW);
	return listener_add(server->listener, address, err);
}

unsigned server_port(const Server *server, unsigned i)
{
	return listener_port(server->listener, i);
}

static void register_methods(Server *server)
{
	for (size_t i = 0; i < server->methods.count; i++) {
		Method *method = &server->methods.rows[i];

		method->registered = grpc_server_register_method(
			server->calls.server, method->path, NULL,
			method->requests_stream ? GRPC_SRM_PAYLOAD_NONE
						: GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
			0);
		assert(method->registered); /* NULL: added twice */
	}
}

int server_start(Server *server, Error *err)
{
	unsigned count = server->config.pollers;

	assert(server->state == SERVER_NEW);
	if (server->config.tls.certificate && start_gate(server, err) < 0)
		return -1;
	register_methods(server);
	server->calls.streams = stream_pool_new(STREAM_THREADS);
	grpc_server_start(server->calls.server);
	server->state = SERVER_STARTED;
	for (size_t i = 0; i < server->methods.count; i++)
		calls_expect(&server->calls, &server->methods.rows[i]);
	calls_expect(&server->calls, NULL);

	server->pollers = new0_array(pthread_t, count);
	for (; server->poller_count < count; server->poller_count++) {
		int r = pthread_create(&server->pollers[server->poller_count], NULL, poller,
				       server->calls.queue);

		if (r)
			return error_set_errno(err, ERROR_QUEUE_FULL, r, "start a poller");
	}
	return listener_start(server->listener, err);
}

void server_set_serving(Server *server, bool serving)
{
	health_set_serving(server->health, serving);
}

/* What a client begins with (RFC 9113, 3.4, 6.5 and 6.7): a preface, a frame without settings, and
 * a ping; and what a ping is answered with. */
static const char client_begins[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				    "\0\0\0\x04\0\0\0\0\0"
				    "\0\0\x08\x06\0\0\0\0\0is there";
static const char ping_answered[] = "\0\0\x08\x06\x01\0\0\0\0is there";

/* Reads until it is there, at most @timeout. */
static bool wait_for_answer(int fd, int64_t timeout)
{
	int64_t deadline = clock_mono_us() + timeout;
	char got[ANSWER_BYTES];
	size_t length = 0;

	while (clock_mono_us() < deadline && length < sizeof got) {
		struct pollfd answer = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&answer, 1, clock_left_ms(deadline)) <= 0)
			continue;
		n = read(fd, got + length, sizeof got - length);
		if (n <= 0)
			return false;
		length += (size_t)n;
		if (memmem(got, length, ping_answered, sizeof ping_answered - 1))
			return true;
	}
	return false;
}

/* Core reads within a poller alone: so whoever has read the ping is one. */
bool server_answers(Server *server, int64_t timeout)
{
	cleanup_close int ours = -1;
	ssize_t size = sizeof client_begins - 1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return true; /* it cannot be asked, which is no poller's fault */
	ours = pair[0];
	/* Not one of the clients' connections, of which there may be as many as there can be. */
	grpc_server_add_channel_from_fd(server->calls.server, pair[1], server->credentials);
	return write(ours, client_begins, (size_t)size) == size && wait_for_answer(ours, timeout);
}

/* Waits until core has let go of every connection; false at @deadline. */
static bool wait_stopped(Server *server, int64_t deadline)
{
	bool stopped;

	lock_take(&server->lock);
	while (!server->core_stopped)
		if (!cond_wait_until(&server->changed, &server->lock, deadline))
			break;
	stopped = server->core_stopped;
	lock_drop(&server->lock);
	return stopped;
}

/*
 * Waits until no call is under way, or @deadline; true if core has stopped altogether. Core itself
 * would go on waiting for every idle client to acknowledge the shutdown, 20 s for one that does
 * not.
 */
static bool wait_calls(Server *server, int64_t deadline)
{
	bool stopped = false;
	bool idle = false;

	while (!stopped && !idle && clock_mono_us() < deadline) {
		idle = atomic_load(&server->calls.in_flight) == 0;
		/* Once more after the last call ended: its answer is on its way out. */
		stopped = wait_stopped(server, clock_mono_us() + DRAIN_POLL_USEC);
	}
	return stopped;
}

void server_stop(Server *server, int64_t grace)
{
	int64_t deadline = clock_mono_us() + grace;

	if (server->state != SERVER_STARTED)
		return;
	server->state = SERVER_STOPPED;
	listener_stop(server->listener);
	health_set_serving(server->health, false);
	stream_pool_settle(server->calls.streams, NOTICE_USEC);
	calls_drain(&server->calls);

	tsan_release(&server->stopped);
	grpc_server_shutdown_and_notify(server->calls.server, server->calls.queue,
					&server->stopped);
	if (server->poller_count && !wait_calls(server, deadline)) {
		grpc_server_cancel_all_calls(server->calls.server);
		(void)wait_stopped(server, INT64_MAX);
	}
	stream_pool_settle(server->calls.streams, INT64_MAX / 2);
}

void server_free(Server *server)
{
	if (!server)
		return;
	server_stop(server, 0);
	listener_free(server->listener);
	tls_gate_free(server->gate);
	grpc_server_destroy(server->calls.server);
	grpc_completion_queue_shutdown(server->calls.queue);
	for (unsigned i = 0; i < server->poller_count; i++)
		(void)pthread_join(server->pollers[i], NULL);
	grpc_completion_queue_destroy(server->calls.queue);
	stream_pool_free(server->calls.streams);
	grpc_server_credentials_release(server->credentials);

	health_free(server->health);
	reflection_free(server->reflection);
	methods_clear(&server->methods);
	peers_free(server->calls.peers);
	cond_destroy(&server->changed);
	free(server->pollers);
	free(server);
	grpc_shutdown();
}
