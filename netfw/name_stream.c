/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Guests' connections: queries one after another, each with its length before
 * it (RFC 7766), answered in whatever order. Who does not read what is answered is
 * not read, and then closed.
 */

#include "base/clock.h"
#include "netfw/name_private.h"

#include <errno.h>
#include <string.h>

enum {
	IN_MAX = 4096,    /* the largest query */
	OUT_FULL = 65536, /* from here on nothing is read */
	OUT_MAX = 4 * OUT_FULL,
	REST_US = 10 * USEC_PER_MSEC,
};

static bool is_full(const NameStream *stream)
{
	return stream->queries >= NAME_STREAM_QUERIES_MAX || stream->out_size >= OUT_FULL;
}

static bool has_message(const NameStream *stream)
{
	size_t size = dns_framed_size(stream->in, stream->in_size);

	return size && stream->in_size >= size;
}

/* What is there already is not announced again: room to write is always. */
static void arm(NameStream *stream)
{
	uint32_t events = 0;

	if (!is_full(stream) && !stream->ended)
		events |= EPOLLIN;
	if (stream->out_size || stream->broken || (!is_full(stream) && has_message(stream)) ||
	    (stream->ended && !stream->queries))
		events |= EPOLLOUT;
	if (name_rewatch(stream->server, &stream->source, events) < 0)
		stream->broken = true;
}

/* NOLINTBEGIN(readability-function-*,clang-analyzer-core.NullDereference): the insides of utlist's
 * macros */
static void take_out(NameStream *stream)
{
	DL_DELETE(stream->server->streams, stream);
}

/* NOLINTEND(readability-function-*,clang-analyzer-core.NullDereference) */

static void touch(NameStream *stream)
{
	take_out(stream);
	stream->idle_since = clock_mono_us();
	DL_APPEND(stream->server->streams, stream);
}

void name_stream_close(NameStream *stream)
{
	NameServer *server = stream->server;

	name_queries_drop(server, stream);
	name_unwatch(&stream->source);
	take_out(stream);
	server->stream_count--;
	stream->guest->streams--;
	free(stream->in);
	free(stream->out);
	free(stream);
}

void name_stream_send(NameStream *stream, const DnsMessage *message)
{
	size_t size = stream->out_size + DNS_LENGTH_BYTES + message->size;

	if (size > OUT_MAX) {
		stream->broken = true;
		return;
	}
	stream->out = must_realloc(stream->out, size, 1);
	dns_message_frame(stream->out + stream->out_size, message);
	stream->out_size = size;
	arm(stream);
}

void name_stream_answered(NameStream *stream)
{
	stream->queries--;
	arm(stream);
}

static void flush(NameStream *stream)
{
	ssize_t sent;

	if (!stream->out_size)
		return;
	sent = send(stream->source.fd, stream->out, stream->out_size, MSG_NOSIGNAL);
	if (sent < 0) {
		stream->broken |= !name_is_transient(errno);
		return;
	}
	stream->out_size -= (size_t)sent;
	memmove(stream->out, stream->out + sent, stream->out_size);
	touch(stream);
}

static void fill(NameStream *stream)
{
	ssize_t got =
		recv(stream->source.fd, stream->in + stream->in_size, IN_MAX - stream->in_size, 0);

	if (got < 0) {
		stream->broken |= !name_is_transient(errno);
		return;
	}
	stream->ended = got == 0;
	stream->in_size += (size_t)got;
	touch(stream);
}

static void handle_messages(NameStream *stream)
{
	const NameAsker asker = { .guest = stream->guest, .stream = stream };

	while (!is_full(stream) && has_message(stream)) {
		size_t size = dns_framed_size(stream->in, stream->in_size);

		name_handle(stream->server, &asker, stream->in + DNS_LENGTH_BYTES,
			    size - DNS_LENGTH_BYTES);
		stream->in_size -= size;
		memmove(stream->in, stream->in + size, stream->in_size);
	}
	stream->broken |= dns_framed_size(stream->in, stream->in_size) > IN_MAX;
}

static void ready(NameSource *source, uint32_t events)
{
	NameStream *stream = container_of(source, NameStream, source);

	flush(stream);
	if (events & (EPOLLERR | EPOLLHUP))
		stream->broken = true;
	if (!is_full(stream) && (events & EPOLLIN))
		fill(stream);
	handle_messages(stream);
	if (stream->broken || (stream->ended && !stream->queries && !stream->out_size))
		name_stream_close(stream);
	else
		arm(stream);
}

static void begin(NameServer *server, NameGuest *guest, int fd)
{
	NameStream *stream = new0(NameStream);

	stream->source = (NameSource){ .fd = fd, .ready = ready };
	stream->server = server;
	stream->guest = guest;
	stream->in = must_calloc(IN_MAX, 1);
	stream->idle_since = clock_mono_us();
	server->stream_count++;
	guest->streams++;
	DL_APPEND(server->streams, stream);
	if (name_watch(server, &stream->source, EPOLLIN) < 0)
		name_stream_close(stream);
}

void name_stream_accept(NameListener *listener)
{
	NameServer *server = listener->server;
	NameAddress from = { .size = sizeof from.storage };
	cleanup_close int fd = accept4(listener->source.fd, (struct sockaddr *)&from.storage,
				       &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	NameGuest *guest;

	if (fd < 0) {
		/* It stays in the queue, and would be announced again at once. */
		if (errno != EAGAIN && errno != ECONNABORTED)
			clock_sleep_us(REST_US);
		return;
	}
	guest = name_guest(server, &from);
	if (!guest || server->stream_count >= NAME_STREAMS_MAX ||
	    guest->streams >= NAME_GUEST_STREAMS_MAX) {
		name_count(server, NAME_COUNT_DROPPED);
		return;
	}
	begin(server, guest, take_fd(fd));
}

void name_streams_tend(NameServer *server)
{
	int64_t idle = clock_mono_us() - NAME_IDLE_MSEC * INT64_C(1000);

	while (server->streams && server->streams->idle_since < idle)
		name_stream_close(server->streams);
}
