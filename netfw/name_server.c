/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "netfw/name_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	TEND_MSEC = 100,
	GUESTS_EVERY = 50, /* of these */
	BACKLOG = 64,
	BURST = 64,                  /* queries read before others have their turn */
	RECEIVE_BYTES = 1024 * 1024, /* of a UDP socket's queue, which all guests share */
};

NameAddress name_address(const Prefix *address, uint16_t port)
{
	struct sockaddr_in four = { .sin_family = AF_INET,
				    .sin_port = htons(port ? port : NAME_PORT) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port ? port : NAME_PORT) };
	NameAddress ret = { .size = sizeof four };

	memcpy(&four.sin_addr, address->address, sizeof four.sin_addr);
	memcpy(&six.sin6_addr, address->address, sizeof six.sin6_addr);
	if (address->family == 4) {
		memcpy(&ret.storage, &four, sizeof four);
		return ret;
	}
	memcpy(&ret.storage, &six, sizeof six);
	ret.size = sizeof six;
	return ret;
}

static int control(NameServer *server, int how, NameSource *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(server->epoll, how, source->fd, &event) < 0 ? -errno : 0;
}

int name_watch(NameServer *server, NameSource *source, uint32_t events)
{
	return control(server, EPOLL_CTL_ADD, source, events);
}

int name_rewatch(NameServer *server, NameSource *source, uint32_t events)
{
	return control(server, EPOLL_CTL_MOD, source, events);
}

void name_unwatch(NameSource *source)
{
	closep(&source->fd);
	source->fd = -1;
}

void name_count(NameServer *server, NameCount what)
{
	atomic_fetch_add_explicit(&server->counts[what], 1, memory_order_relaxed);
}

void name_reply(const NameAsker *asker, const DnsQuery *query, DnsReply *reply)
{
	cleanup_(dns_message_clear) DnsMessage message = { .bytes = NULL };

	reply->limit = asker->stream ? DNS_MESSAGE_MAX : query->size;
	if (dns_reply_write(&message, query, reply) < 0)
		return;
	if (asker->stream)
		name_stream_send(asker->stream, &message);
	else
		(void)sendto(asker->listener->source.fd, message.bytes, message.size, MSG_DONTWAIT,
			     (const struct sockaddr *)&asker->address.storage, asker->address.size);
}

static void deny(NameServer *server, const NameAsker *asker, const DnsQuery *query, uint8_t code,
		 DnsReason reason)
{
	name_count(server, NAME_COUNT_DENIED);
	name_reply(asker, query, &(DnsReply){ .code = code, .reason = reason });
}

static NameVerdict ask(const NameServer *server, const NameAsker *asker, const DnsQuery *query)
{
	const NameServerConfig *config = &server->config;
	NameVerdict verdict = config->ops->allows(config->user, &asker->guest->address,
						  query->plain ? query->name : "");

	return verdict == NAME_ALLOWED && !query->plain ? NAME_DENIED : verdict;
}

/* What has been read well. */
static void handle_query(NameServer *server, const NameAsker *asker, DnsQuery *query)
{
	switch (ask(server, asker, query)) {
	case NAME_NO_GUEST:
		name_count(server, NAME_COUNT_DROPPED);
		return;
	case NAME_DENIED:
		name_guest_refused(server, asker->guest, query->name, false);
		deny(server, asker, query, DNS_REFUSED, DNS_REASON_BLOCKED);
		return;
	case NAME_ALLOWED:
		break;
	}
	if (query->kind == DNS_KIND_REFUSED)
		deny(server, asker, query, DNS_NOTIMP, DNS_REASON_NONE);
	else if (query->kind == DNS_KIND_HINTS)
		deny(server, asker, query, DNS_NOERROR, DNS_REASON_NONE);
	else
		name_query_begin(server, asker, query);
}

void name_handle(NameServer *server, const NameAsker *asker, const uint8_t *bytes, size_t size)
{
	cleanup_(dns_query_clear) DnsQuery query = { .question = NULL };
	int r;

	name_count(server, NAME_COUNT_QUERIES);
	if (!name_guest_asks(asker->guest)) {
		name_count(server, NAME_COUNT_DROPPED);
		return;
	}
	r = dns_query_parse(&query, bytes, size);
	if (r == 0)
		handle_query(server, asker, &query);
	else if (r > 0)
		deny(server, asker, &query, (uint8_t)r, DNS_REASON_NONE);
	else
		name_count(server, NAME_COUNT_DROPPED);
}

static void read_queries(NameListener *listener)
{
	NameServer *server = listener->server;

	for (int i = 0; i < BURST; i++) {
		NameAsker asker = { .listener = listener,
				    .address = { .size = sizeof asker.address.storage } };
		ssize_t size = recvfrom(
			listener->source.fd, server->message, sizeof server->message, MSG_DONTWAIT,
			(struct sockaddr *)&asker.address.storage, &asker.address.size);

		if (size < 0)
			return;
		asker.guest = name_guest(server, &asker.address);
		if (asker.guest)
			name_handle(server, &asker, server->message, (size_t)size);
		else
			name_count(server, NAME_COUNT_DROPPED);
	}
}

static void datagrams_ready(NameSource *source, uint32_t events)
{
	(void)events;
	read_queries(container_of(source, NameListener, source));
}

static void connections_ready(NameSource *source, uint32_t events)
{
	(void)events;
	name_stream_accept(container_of(source, NameListener, source));
}

/* One event at a time: what it ends can't be among those that follow. */
static void *run(void *user)
{
	NameServer *server = user;
	int64_t tended = clock_mono_us();

	for (unsigned turn = 0; !atomic_load(&server->ends);) {
		struct epoll_event event;
		int n = epoll_wait(server->epoll, &event, 1, TEND_MSEC);
		NameSource *source = n == 1 ? event.data.ptr : NULL;

		if (source && source->ready)
			source->ready(source, event.events);
		if (clock_mono_us() - tended < TEND_MSEC * INT64_C(1000))
			continue;
		tended = clock_mono_us();
		name_queries_tend(server);
		name_streams_tend(server);
		if (turn++ % GUESTS_EVERY == 0)
			name_guests_tend(server);
	}
	return NULL;
}

static int refuse(Error *err, int error, const Prefix *address, const char *what)
{
	char text[PREFIX_TEXT_MAX];

	return error_set_errno(err, ERROR_NETWORK_SETUP, error, "%s for names at %s", what,
			       prefix_format(address, text));
}

static int set_up(int fd, const Prefix *address, int kind)
{
	const int on = 1, bytes = RECEIVE_BYTES;
	bool four = address->family == 4;

	if (setsockopt(fd, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_FREEBIND : IPV6_FREEBIND,
		       &on, sizeof on) < 0 ||
	    (!four && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0))
		return -1;
	/* By UDP an address would be shared with whoever wants it as well. */
	if (kind == SOCK_STREAM)
		return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

/* @kind: SOCK_DGRAM or SOCK_STREAM. */
static int listen_at(NameServer *server, const Prefix *address, int kind, Error *err)
{
	NameListener *listener = &server->listeners[server->listener_count];
	NameAddress own = name_address(address, server->config.port);
	int fd = socket(own.storage.ss_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return refuse(err, errno, address, "make a socket");
	*listener = (NameListener){
		.source = { fd, kind == SOCK_DGRAM ? datagrams_ready : connections_ready },
		.server = server,
	};
	server->listener_count++;
	if (set_up(fd, address, kind) < 0 ||
	    bind(fd, (const struct sockaddr *)&own.storage, own.size) < 0 ||
	    (kind == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return refuse(err, errno, address, "listen");
	r = name_watch(server, &listener->source, EPOLLIN);
	return r < 0 ? refuse(err, -r, address, "wait") : 0;
}

static void server_free(NameServer *server)
{
	if (!server)
		return;
	name_queries_drop(server, NULL);
	while (server->streams)
		name_stream_close(server->streams);
	name_guests_free(server);
	for (size_t i = 0; i < server->listener_count; i++)
		name_unwatch(&server->listeners[i].source);
	name_unwatch(&server->wake);
	closep(&server->epoll);
	free(server);
}
DEFINE_CLEANUP(NameServer *, server_free);

static int build(NameServer *server, Error *err)
{
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->wake = (NameSource){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	if (server->epoll < 0 || server->wake.fd < 0 ||
	    name_watch(server, &server->wake, EPOLLIN) < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, errno, "wait for names");
	for (size_t i = 0; i < server->config.listen_count; i++)
		if (listen_at(server, &server->config.listen[i], SOCK_DGRAM, err) < 0 ||
		    listen_at(server, &server->config.listen[i], SOCK_STREAM, err) < 0)
			return -1;
	return 0;
}

int name_server_open(NameServer **ret, const NameServerConfig *config, Error *err)
{
	cleanup_(server_freep) NameServer *server = new0(NameServer);
	int r;

	server->config = *config;
	server->epoll = server->wake.fd = -1;
	if (build(server, err) < 0)
		return -1;
	r = pthread_create(&server->thread, NULL, run, server);
	if (r != 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, r,
				       "start the name server's thread");
	*ret = take_ptr(server);
	return 0;
}

void name_server_close(NameServer *server)
{
	if (!server)
		return;
	atomic_store(&server->ends, true);
	(void)eventfd_write(server->wake.fd, 1);
	(void)pthread_join(server->thread, NULL);
	server_free(server);
}

void name_server_counters(NameServer *server, NameCounters *ret)
{
	uint64_t counts[NAME_COUNT_COUNT_];

	for (NameCount i = 0; i < NAME_COUNT_COUNT_; i++)
		counts[i] = atomic_load_explicit(&server->counts[i], memory_order_relaxed);
	*ret = (NameCounters){
		.queries = counts[NAME_COUNT_QUERIES],
		.answered = counts[NAME_COUNT_ANSWERED],
		.denied = counts[NAME_COUNT_DENIED],
		.filtered = counts[NAME_COUNT_FILTERED],
		.failed = counts[NAME_COUNT_FAILED],
		.dropped = counts[NAME_COUNT_DROPPED],
	};
}
