/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tls/tls_gate.h"

#include "agent/tls/tls_pipe.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/text.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <utlist.h>

enum {
	EVENTS = 64,
	ADDRESS_MAX = INET6_ADDRSTRLEN + 17, /* with a scope */
	LOOK = USEC_PER_SEC, /* between two looks at the files, and at hands that are shaken */
};

typedef enum LinkState {
	LINK_SHAKES_HANDS,
	LINK_OPEN,
} LinkState;

typedef struct Link Link;
struct Link {
	TlsPipe pipe;
	LinkState state;
	int64_t deadline; /* monotonic, of the handshake */
	bool ready;       /* is among those that have their turn */
	Link *prev, *next;
	Link *ready_prev, *ready_next;
};

struct TlsGate {
	TlsGateConfig config;
	char *certificate, *key, *client_ca;
	TlsStamp stamp; /* of what was last tried */
	SSL_CTX *context;
	int epoll, stop; /* stop: eventfd, readable once the thread shall end */
	Link *links, *ready;
	int64_t told;    /* monotonic: of a handshake that failed, when last */
	unsigned untold; /* and how many since */
	pthread_t thread;
	bool running;

	Lock lock;
	unsigned count; /* under lock: links, and descriptors that are to be */
	int *arrived;   /* under lock: accepted, and not yet taken up */
	size_t arrived_count;
	int wake; /* eventfd, readable when any have arrived */
};

/* NOLINTBEGIN(readability-function-*): the insides of utlist's macros */
static void link_forget(TlsGate *gate, Link *link)
{
	if (link->ready)
		DL_DELETE2(gate->ready, link, ready_prev, ready_next);
	DL_DELETE(gate->links, link);
	tls_pipe_close(&link->pipe);
	free(link);
	lock_take(&gate->lock);
	gate->count--;
	lock_drop(&gate->lock);
}

static Link *take_ready(Link **list)
{
	Link *link = *list;

	if (link)
		DL_DELETE2(*list, link, ready_prev, ready_next);
	return link;
}
/* NOLINTEND(readability-function-*) */

static void link_is_ready(TlsGate *gate, Link *link)
{
	if (!link->ready)
		DL_APPEND2(gate->ready, link, ready_prev, ready_next);
	link->ready = true;
}

/* Told of each change of either descriptor once: what is not finished is not forgotten either,
 * because a pipe that waits has got EAGAIN from both. */
static int watch(TlsGate *gate, int fd, Link *link)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				     .data.ptr = link };

	return epoll_ctl(gate->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void address_of(int fd, char *ret, size_t size)
{
	struct sockaddr_storage address = { 0 };
	socklen_t length = sizeof address;

	text_copy(ret, size, "unknown");
	if (getpeername(fd, (struct sockaddr *)&address, &length) == 0)
		(void)getnameinfo((struct sockaddr *)&address, length, ret, (socklen_t)size, NULL,
				  0, NI_NUMERICHOST);
}

/* Hands one end of a new pair out. False: it is over. */
static bool link_open(TlsGate *gate, Link *link)
{
	X509 *certificate = SSL_get1_peer_certificate(link->pipe.ssl);
	char address[ADDRESS_MAX];
	cleanup_free TlsNames *names = new0(TlsNames);
	int pair[2];

	tls_names(names, certificate);
	X509_free(certificate);
	address_of(link->pipe.net, address, sizeof address);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	link->pipe.plain = pair[0];
	link->state = LINK_OPEN;
	if (watch(gate, pair[0], link) == 0 &&
	    gate->config.opened(gate->config.user, pair[1], names, address))
		return true;
	(void)close(pair[1]);
	return false;
}

static void tell_refused(TlsGate *gate, const Link *link, const char *why)
{
	int64_t now = clock_mono_us();
	char address[ADDRESS_MAX];

	if (gate->told && now < gate->told + USEC_PER_SEC) {
		gate->untold++;
		return;
	}
	address_of(link->pipe.net, address, sizeof address);
	gate->config.refused(gate->config.user, address, why, gate->untold);
	gate->told = now;
	gate->untold = 0;
}

static TlsPipeState link_shake_hands(TlsGate *gate, Link *link)
{
	const char *why = NULL;
	TlsPipeState state = tls_pipe_shake_hands(&link->pipe, &why);

	if (state == TLS_PIPE_OVER)
		tell_refused(gate, link, why);
	if (state == TLS_PIPE_READY && !link_open(gate, link))
		state = TLS_PIPE_OVER;
	return state;
}

static void link_move(TlsGate *gate, Link *link)
{
	TlsPipeState state = TLS_PIPE_READY;

	if (link->state == LINK_SHAKES_HANDS)
		state = link_shake_hands(gate, link);
	if (state == TLS_PIPE_READY)
		state = tls_pipe_carry(&link->pipe);
	if (state == TLS_PIPE_OVER)
		link_forget(gate, link);
	else if (state == TLS_PIPE_READY)
		link_is_ready(gate, link);
}

static void link_begin(TlsGate *gate, int fd)
{
	Link *link = new0(Link);

	link->pipe = (TlsPipe){ .ssl = SSL_new(gate->context), .net = fd, .plain = -1 };
	link->deadline = clock_mono_us() + gate->config.handshake;
	DL_APPEND(gate->links, link);
	if (!link->pipe.ssl)
		abort(); /* out of memory */
	SSL_set_accept_state(link->pipe.ssl);
	if (SSL_set_fd(link->pipe.ssl, fd) != 1 || watch(gate, fd, link) < 0)
		link_forget(gate, link);
}

static void take_up(TlsGate *gate)
{
	cleanup_free int *arrived = NULL;
	uint64_t ignored;
	size_t count;

	(void)!read(gate->wake, &ignored, sizeof ignored);
	lock_take(&gate->lock);
	arrived = take_ptr(gate->arrived);
	count = gate->arrived_count;
	gate->arrived_count = 0;
	lock_drop(&gate->lock);
	for (size_t i = 0; i < count; i++)
		link_begin(gate, arrived[i]);
}

/* One turn for each that was ready before; those that are again come after all others. */
static void turn(TlsGate *gate)
{
	Link *ready = take_ptr(gate->ready), *link;

	while ((link = take_ready(&ready))) {
		link->ready = false;
		link_move(gate, link);
	}
}

static void end_slow_handshakes(TlsGate *gate)
{
	int64_t now = clock_mono_us();
	Link *next = NULL;

	for (Link *link = gate->links; link; link = next) {
		next = link->next;
		if (link->state != LINK_SHAKES_HANDS || now < link->deadline)
			continue;
		tell_refused(gate, link, "it took too long");
		link_forget(gate, link);
	}
}

static void look_at_files(TlsGate *gate)
{
	SSL_CTX *context;
	TlsStamp stamp;
	Error err = { 0 };

	tls_files_stamp(&stamp, &gate->config.files);
	if (tls_stamp_equal(&stamp, &gate->stamp))
		return;
	gate->stamp = stamp;
	if (tls_files_load(&context, &gate->config.files, &err) < 0) {
		gate->config.reloaded(gate->config.user, &err);
		return;
	}
	SSL_CTX_free(gate->context); /* connections have references of their own */
	gate->context = context;
	gate->config.reloaded(gate->config.user, NULL);
}

/* False: the thread is to end. */
static bool wait_and_move(TlsGate *gate, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(gate->epoll, events, EVENTS, timeout_ms);

	for (int i = 0; i < count; i++) {
		void *what = events[i].data.ptr;

		if (what == &gate->stop)
			return false;
		if (what == &gate->wake)
			take_up(gate);
		else
			link_is_ready(gate, what);
	}
	turn(gate);
	return true;
}

static void *work(void *arg)
{
	TlsGate *gate = arg;
	int64_t next = clock_mono_us() + LOOK;

	(void)pthread_setname_np(pthread_self(), "tls");
	for (;;) {
		int64_t now = clock_mono_us();

		if (now >= next) {
			end_slow_handshakes(gate);
			look_at_files(gate);
			next = now + LOOK;
		}
		if (!wait_and_move(gate, gate->ready ? 0 : clock_left_ms(next)))
			return NULL;
	}
}

static int watch_self(TlsGate *gate, int *fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = fd };

	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd < 0 ? -1 : epoll_ctl(gate->epoll, EPOLL_CTL_ADD, *fd, &event);
}

static int start(TlsGate *gate, Error *err)
{
	int r;

	tls_files_stamp(&gate->stamp, &gate->config.files);
	if (tls_files_load(&gate->context, &gate->config.files, err) < 0)
		return -1;
	gate->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (gate->epoll < 0 || watch_self(gate, &gate->stop) < 0 ||
	    watch_self(gate, &gate->wake) < 0)
		return error_set_errno(err, ERROR_QUEUE_FULL, errno, "prepare for TLS");
	r = pthread_create(&gate->thread, NULL, work, gate);
	if (r)
		return error_set_errno(err, ERROR_QUEUE_FULL, r, "start the thread of TLS");
	gate->running = true;
	return 0;
}

int tls_gate_new(TlsGate **ret, const TlsGateConfig *config, Error *err)
{
	cleanup_(tls_gate_freep) TlsGate *gate = new0(TlsGate);

	gate->config = *config;
	gate->config.files.certificate = gate->certificate = text_dup(config->files.certificate);
	gate->config.files.key = gate->key = text_dup(config->files.key);
	if (config->files.client_ca)
		gate->client_ca = text_dup(config->files.client_ca);
	gate->config.files.client_ca = gate->client_ca;
	gate->epoll = gate->stop = gate->wake = -1;
	lock_init(&gate->lock);
	if (start(gate, err) < 0)
		return -1;
	*ret = take_ptr(gate);
	return 0;
}

bool tls_gate_accept(TlsGate *gate, int fd)
{
	const uint64_t one = 1;
	bool room;

	lock_take(&gate->lock);
	room = gate->count < gate->config.max;
	if (room) {
		gate->count++;
		gate->arrived = must_realloc(gate->arrived, gate->arrived_count + 1, sizeof(int));
		gate->arrived[gate->arrived_count++] = fd;
	}
	lock_drop(&gate->lock);
	if (room)
		(void)!write(gate->wake, &one, sizeof one);
	return room;
}

void tls_gate_free(TlsGate *gate)
{
	const uint64_t one = 1;

	if (!gate)
		return;
	if (gate->running) {
		(void)!write(gate->stop, &one, sizeof one);
		(void)pthread_join(gate->thread, NULL);
	}
	while (gate->links) {
		/* The last words of those who have ended are on their way. */
		if (gate->links->state == LINK_OPEN)
			(void)tls_pipe_carry(&gate->links->pipe);
		link_forget(gate, gate->links);
	}
	for (size_t i = 0; i < gate->arrived_count; i++)
		(void)close(gate->arrived[i]);
	free(gate->arrived);
	closep(&gate->epoll);
	closep(&gate->stop);
	closep(&gate->wake);
	SSL_CTX_free(gate->context);
	free(gate->certificate);
	free(gate->key);
	free(gate->client_ca);
	free(gate);
}
