/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The resolver that guests have: a forwarder of DNS that answers for allowed
 * names alone, and tells where one leads only once that may be reached.
 *
 * One thread. Each try at a resolver has a socket, a port and an id of its own,
 * so that nobody answers in its place who does not see it. Bounds hold for each
 * guest and for all of them: NAME_*. It caches nothing: guests and resolvers do.
 */

#include "base/error.h"
#include "netfw/name_lead.h"

typedef struct NameServer NameServer;

enum {
	NAME_RESOLVERS_MAX = 3,
	NAME_PORT = 53,
	NAME_QUERIES_MAX = 4096,     /* in flight, of all guests */
	NAME_GUEST_QUERIES_MAX = 64, /* of one; beyond these there is SERVFAIL at once */
	NAME_GUEST_RATE = 500, /* queries a second of one, and as many at once; more are dropped */
	NAME_TOLD_A_SECOND = 10, /* refusals of one guest */
	NAME_STREAMS_MAX = 256,  /* connections by TCP, of all guests */
	NAME_GUEST_STREAMS_MAX = 4,
	NAME_STREAM_QUERIES_MAX = 16, /* in flight of one connection, which is then not read */
	NAME_TRY_MSEC = 2000,         /* for which a resolver is waited for */
	NAME_TRIES = 3,
	NAME_IDLE_MSEC = 10000, /* after which a connection is closed */
	NAME_HOLD_SECONDS = 30, /* for which an answer holds longer than it says */
};

typedef enum NameVerdict {
	NAME_NO_GUEST, /* not answered at all */
	NAME_DENIED,
	NAME_ALLOWED,
} NameVerdict;

/* A query that was refused for what it asks. */
typedef struct NameRefusal {
	const char *name;    /* in lower case, as text; "": the root */
	bool leads;          /* the name is allowed, but leads where it must not */
	uint32_t suppressed; /* of the same guest since the one before, that are not told of */
} NameRefusal;

/* Called on the server's thread. */
typedef struct NameServerOps {
	/* May the guest at @source know where @name leads? Must not wait. */
	NameVerdict (*allows)(void *user, const Prefix *source, const char *name);
	/* Before it knows: lets it reach what @lead says. CAUSE_INPUT: it must not lead there, and
	 * the guest is told so; other errors: it is told that the server has failed. */
	int (*pin)(void *user, const Prefix *source, const NameLead *lead, Error *err);
	/* Tells of NAME_TOLD_A_SECOND refusals of one guest; the rest are counted. May be NULL. */
	void (*refused)(void *user, const Prefix *source, const NameRefusal *refusal);
} NameServerOps;

typedef struct NameServerConfig {
	Prefix listen[2]; /* addresses; they need not be the host's yet */
	size_t listen_count;
	uint16_t port;                        /* 0: NAME_PORT */
	Prefix resolvers[NAME_RESOLVERS_MAX]; /* asked in turn */
	size_t resolver_count;                /* 1 at least */
	uint16_t resolver_port;               /* 0: NAME_PORT */
	const NameServerOps *ops;
	void *user;
} NameServerConfig;

/* @err: NETWORK_SETUP: an address is taken, or what the kernel lacks. */
int name_server_open(NameServer **ret, const NameServerConfig *config, Error *err) must_check;
/* What is in flight is not answered any more. */
void name_server_close(NameServer *server);
DEFINE_CLEANUP(NameServer *, name_server_close);

/* Since it was opened. */
typedef struct NameCounters {
	uint64_t queries;
	uint64_t answered; /* with what a resolver says */
	uint64_t denied; /* the name is not allowed, or no name of a host, or a kind not answered */
	uint64_t filtered; /* it leads where it must not */
	uint64_t failed;   /* no resolver has answered, or what is answered can't be reached */
	uint64_t dropped;  /* beyond a bound, of no guest, or nothing that can be answered */
} NameCounters;

void name_server_counters(NameServer *server, NameCounters *ret);
