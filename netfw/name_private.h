/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the name server share; for nobody else. All of it is the
 * server's thread's, but for the counters.
 */

#include "netfw/dns_message.h"
#include "netfw/name_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <uthash.h>
#include <utlist.h>

/* A descriptor, and who is told of what becomes of it. */
typedef struct NameSource {
	int fd;
	void (*ready)(struct NameSource *source, uint32_t events);
} NameSource;

/* A socket's address of either family. */
typedef struct NameAddress {
	struct sockaddr_storage storage;
	socklen_t size;
} NameAddress;

/* So many things a second, and as many at once. */
typedef struct NameBudget {
	int64_t tokens, filled; /* a million for each thing; monotonic usec */
} NameBudget;

/* What a guest has in flight; it goes a while after all that. */
typedef struct NameGuest {
	Prefix address;
	unsigned queries, streams;
	NameBudget asks, told;
	uint32_t suppressed; /* refusals since the last one that was told of */
	UT_hash_handle hh;
} NameGuest;

typedef struct NameListener {
	NameSource source;
	NameServer *server;
} NameListener;

/* A connection of a guest. */
typedef struct NameStream {
	NameSource source;
	NameServer *server;
	NameGuest *guest;
	uint8_t *in, *out; /* each message has its length before it */
	size_t in_size, out_size;
	unsigned queries;
	bool ended;  /* the guest says no more */
	bool broken; /* to be closed */
	int64_t idle_since;
	struct NameStream *prev, *next; /* the longest idle one first */
} NameStream;

/* Who has asked, and where the answer goes. */
typedef struct NameAsker {
	NameGuest *guest;
	NameStream *stream; /* or: */
	NameListener *listener;
	NameAddress address;
} NameAsker;

/* One that a resolver is asked. */
typedef struct NameQuery {
	NameSource source; /* of the try; fd -1: none */
	NameServer *server;
	NameAsker asker;
	DnsQuery query;
	unsigned tries;
	uint16_t id; /* of the try */
	bool by_tcp;
	DnsMessage out; /* by TCP: what is to be sent, and what has come */
	size_t sent;
	uint8_t *in;
	size_t in_size;
	int64_t deadline;              /* monotonic usec */
	struct NameQuery *prev, *next; /* the next one to time out first */
} NameQuery;

typedef enum NameCount {
	NAME_COUNT_QUERIES,
	NAME_COUNT_ANSWERED,
	NAME_COUNT_DENIED,
	NAME_COUNT_FILTERED,
	NAME_COUNT_FAILED,
	NAME_COUNT_DROPPED,
	NAME_COUNT_COUNT_,
} NameCount;

struct NameServer {
	NameServerConfig config;
	int epoll;
	NameSource wake;
	NameListener listeners[4]; /* UDP and TCP of each address */
	size_t listener_count;
	NameGuest *guests;
	NameQuery *queries;
	unsigned query_count;
	NameStream *streams;
	unsigned stream_count;
	pthread_t thread;
	atomic_bool ends;
	atomic_uint_least64_t counts[NAME_COUNT_COUNT_];
	uint8_t message[DNS_MESSAGE_MAX];
};

/* What a socket says when it is to be asked again later. */
static inline bool name_is_transient(int error)
{
	return error == EAGAIN || error == EINTR;
}

/* name_server.c */
NameAddress name_address(const Prefix *address, uint16_t port);
/* Has @source's descriptor looked at for @events: 0 or -errno. */
int name_watch(NameServer *server, NameSource *source, uint32_t events) must_check;
int name_rewatch(NameServer *server, NameSource *source, uint32_t events) must_check;
/* Closes it. */
void name_unwatch(NameSource *source);
void name_count(NameServer *server, NameCount what);
/* Answers @message, or sees to it that it will be. */
void name_handle(NameServer *server, const NameAsker *asker, const uint8_t *bytes, size_t size);
void name_reply(const NameAsker *asker, const DnsQuery *query, DnsReply *reply);

/* name_guest.c */
/* The one at @address, made if need be; NULL: it is no guest's. */
NameGuest *name_guest(NameServer *server, const NameAddress *address);
/* May it ask once more? */
bool name_guest_asks(NameGuest *guest);
/* Tells of a query that is refused. */
void name_guest_refused(NameServer *server, NameGuest *guest, const char *name, bool leads);
/* Forgets those that have nothing and have asked nothing for a while. */
void name_guests_tend(NameServer *server);
void name_guests_free(NameServer *server);

/* name_query.c */
/* Asks a resolver; takes @query over. */
void name_query_begin(NameServer *server, const NameAsker *asker, DnsQuery *query);
/* Forgets those that @stream has asked. */
void name_queries_drop(NameServer *server, const NameStream *stream);
/* What has come to nothing in time is asked elsewhere. */
void name_queries_tend(NameServer *server);

/* name_stream.c */
void name_stream_accept(NameListener *listener);
/* A stream stays until its descriptor is looked at again, also one that can't take the message. */
void name_stream_send(NameStream *stream, const DnsMessage *message);
/* One query less, answered or not. */
void name_stream_answered(NameStream *stream);
void name_streams_tend(NameServer *server);
void name_stream_close(NameStream *stream);
