/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Queries in flight: a resolver is asked by UDP, by TCP if its answer is too
 * large for that, and the next one if none comes.
 */

#include "base/clock.h"
#include "netfw/name_private.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const int64_t try_us = NAME_TRY_MSEC * INT64_C(1000);

/* NOLINTBEGIN(readability-function-*): the insides of utlist's macros */
static void take_out(NameQuery *query)
{
	DL_DELETE(query->server->queries, query);
}

/* NOLINTEND(readability-function-*) */

static void query_free(NameQuery *query)
{
	NameServer *server = query->server;

	name_unwatch(&query->source);
	take_out(query);
	server->query_count--;
	query->asker.guest->queries--;
	if (query->asker.stream)
		name_stream_answered(query->asker.stream);
	dns_query_clear(&query->query);
	dns_message_clear(&query->out);
	free(query->in);
	free(query);
}

/* What is answered; the query is gone afterwards. */
static void settle(NameQuery *query, NameCount count, DnsReply *reply)
{
	name_count(query->server, count);
	name_reply(&query->asker, &query->query, reply);
	query_free(query);
}

static void fail(NameQuery *query, DnsReason reason)
{
	settle(query, NAME_COUNT_FAILED, &(DnsReply){ .code = DNS_SERVFAIL, .reason = reason });
}

static void filter(NameQuery *query)
{
	name_guest_refused(query->server, query->asker.guest, query->query.name, true);
	settle(query, NAME_COUNT_FILTERED,
	       &(DnsReply){ .code = DNS_REFUSED, .reason = DNS_REASON_FILTERED });
}

/* What it leads to may be reached before the guest knows. */
static void finish(NameQuery *query, const DnsAnswer *answer)
{
	const NameServerConfig *config = &query->server->config;
	const NameLead lead = { query->query.name, answer->addresses, answer->count,
				answer->ttl + NAME_HOLD_SECONDS };
	DnsReply reply = { .code = answer->code, .reason = DNS_REASON_NONE, .answer = answer };
	Error err = { 0 };

	if (answer->count == 0 ||
	    config->ops->pin(config->user, &query->asker.guest->address, &lead, &err) == 0)
		settle(query, NAME_COUNT_ANSWERED, &reply);
	else if (err.cause == CAUSE_INPUT)
		filter(query);
	else
		fail(query, DNS_REASON_OTHER);
}

static void ready(NameSource *source, uint32_t events);

/* The deadline is the latest there is. */
static void wait_longer(NameQuery *query)
{
	take_out(query);
	query->deadline = clock_mono_us() + try_us;
	DL_APPEND(query->server->queries, query);
}

/* A socket of its own; its kind is SOCK_DGRAM or SOCK_STREAM. */
static int open_socket(NameQuery *query, int kind)
{
	const NameServerConfig *config = &query->server->config;
	size_t which = (query->tries - 1) % config->resolver_count;
	NameAddress to = name_address(&config->resolvers[which], config->resolver_port);

	query->source.fd = socket(to.storage.ss_family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (query->source.fd < 0)
		return -errno;
	if (connect(query->source.fd, (const struct sockaddr *)&to.storage, to.size) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return 0;
}

static int write_message(NameQuery *query)
{
	if (getrandom(&query->id, sizeof query->id, 0) != sizeof query->id)
		return -EIO;
	dns_message_clear(&query->out);
	return dns_query_write(&query->out, &query->query, query->id);
}

static int begin_udp(NameQuery *query)
{
	int r = open_socket(query, SOCK_DGRAM);

	query->by_tcp = false;
	if (r == 0)
		r = write_message(query);
	if (r == 0 && send(query->source.fd, query->out.bytes, query->out.size, 0) < 0)
		r = -errno;
	return r == 0 ? name_watch(query->server, &query->source, EPOLLIN) : r;
}

/* The message with its length before it. */
static int write_framed(NameQuery *query)
{
	uint8_t *framed;
	int r = write_message(query);

	if (r < 0)
		return r;
	framed = must_calloc(query->out.size + DNS_LENGTH_BYTES, 1);
	dns_message_frame(framed, &query->out);
	free(query->out.bytes);
	query->out.bytes = framed;
	query->out.size += DNS_LENGTH_BYTES;
	return 0;
}

static int begin_tcp(NameQuery *query)
{
	int r = open_socket(query, SOCK_STREAM);

	query->by_tcp = true;
	query->sent = query->in_size = 0;
	free(take_ptr(query->in));
	if (r == 0)
		r = write_framed(query);
	return r == 0 ? name_watch(query->server, &query->source, EPOLLOUT) : r;
}

/* The next resolver; when all have been asked often enough, the guest is told that none answers. */
static void try_next(NameQuery *query)
{
	for (;;) {
		name_unwatch(&query->source);
		if (query->tries == NAME_TRIES) {
			fail(query, DNS_REASON_UNREACHABLE);
			return;
		}
		query->tries++;
		if (begin_udp(query) == 0) {
			wait_longer(query);
			return;
		}
	}
}

static bool is_final(const DnsAnswer *answer)
{
	return answer->code == DNS_NOERROR || answer->code == DNS_NXDOMAIN;
}

/* Garbage may be from anybody, and is passed over; a resolver that can't may not be the only one.
 */
static void take_answer(NameQuery *query, const uint8_t *bytes, size_t size)
{
	cleanup_(dns_answer_clear) DnsAnswer answer = { .records = NULL };

	if (dns_answer_parse(&answer, &query->query, query->id, bytes, size) < 0) {
		if (query->by_tcp)
			try_next(query);
		return;
	}
	if (answer.truncated && !query->by_tcp) {
		name_unwatch(&query->source);
		if (begin_tcp(query) == 0)
			wait_longer(query);
		else
			try_next(query);
	} else if (answer.truncated || !is_final(&answer)) {
		try_next(query);
	} else {
		finish(query, &answer);
	}
}

static void read_udp(NameQuery *query)
{
	uint8_t *bytes = query->server->message;
	ssize_t size = recv(query->source.fd, bytes, DNS_MESSAGE_MAX, 0);

	if (size >= 0)
		take_answer(query, bytes, (size_t)size);
	else if (!name_is_transient(errno))
		try_next(query);
}

static void write_tcp(NameQuery *query)
{
	ssize_t sent = send(query->source.fd, query->out.bytes + query->sent,
			    query->out.size - query->sent, MSG_NOSIGNAL);

	if (sent < 0 && name_is_transient(errno))
		return;
	query->sent += sent > 0 ? (size_t)sent : 0;
	if (sent < 0 || (query->sent == query->out.size &&
			 name_rewatch(query->server, &query->source, EPOLLIN) < 0))
		try_next(query);
}

static void read_tcp(NameQuery *query)
{
	size_t known = dns_framed_size(query->in, query->in_size);
	size_t want = known ? known : DNS_LENGTH_BYTES;
	ssize_t got;

	query->in = must_realloc(query->in, want, 1);
	got = recv(query->source.fd, query->in + query->in_size, want - query->in_size, 0);
	if (got < 0 && name_is_transient(errno))
		return;
	if (got <= 0) {
		try_next(query);
		return;
	}
	query->in_size += (size_t)got;
	if (query->in_size > DNS_LENGTH_BYTES && query->in_size == want)
		take_answer(query, query->in + DNS_LENGTH_BYTES, query->in_size - DNS_LENGTH_BYTES);
}

static void ready(NameSource *source, uint32_t events)
{
	NameQuery *query = container_of(source, NameQuery, source);

	if (!query->by_tcp)
		read_udp(query);
	else if (events & EPOLLIN)
		read_tcp(query);
	else
		write_tcp(query);
}

/* The same that is in flight: the client has not waited, and will hear anyway. */
static bool is_asked(const NameServer *server, const NameAsker *asker, const DnsQuery *query)
{
	const NameQuery *other;

	DL_FOREACH(server->queries, other)
	{
		if (other->asker.guest == asker->guest && other->asker.stream == asker->stream &&
		    dns_query_equal(&other->query, query))
			return true;
	}
	return false;
}

void name_query_begin(NameServer *server, const NameAsker *asker, DnsQuery *query)
{
	NameQuery *begun;

	if (is_asked(server, asker, query)) {
		name_count(server, NAME_COUNT_DROPPED);
		return;
	}
	if (server->query_count >= NAME_QUERIES_MAX ||
	    asker->guest->queries >= NAME_GUEST_QUERIES_MAX) {
		name_count(server, NAME_COUNT_FAILED);
		name_reply(asker, query,
			   &(DnsReply){ .code = DNS_SERVFAIL, .reason = DNS_REASON_OTHER });
		return;
	}
	begun = new0(NameQuery);
	begun->source = (NameSource){ .fd = -1, .ready = ready };
	begun->server = server;
	begun->asker = *asker;
	begun->query = *query;
	query->question = NULL;
	server->query_count++;
	asker->guest->queries++;
	if (asker->stream)
		asker->stream->queries++;
	DL_APPEND(server->queries, begun);
	try_next(begun);
}

void name_queries_drop(NameServer *server, const NameStream *stream)
{
	NameQuery *query, *next;

	DL_FOREACH_SAFE(server->queries, query, next)
	{
		if (!stream || query->asker.stream == stream)
			query_free(query);
	}
}

void name_queries_tend(NameServer *server)
{
	int64_t now = clock_mono_us();

	/* Those tried anew go to the end. */
	while (server->queries && server->queries->deadline <= now)
		try_next(server->queries);
}
