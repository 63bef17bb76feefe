/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the hub (guest_hub.c) and its links (guest_link.c) know of each other. All of a link but
 * what is atomic belongs to the hub's thread. */

#include "runtime/guest_input.h"
#include "runtime/guest_link.h"

#include <stdatomic.h>

enum {
	GUEST_SILENCE = 10 * 1000 * 1000 /* usec, after which the daemon may be another one */
};

typedef enum LinkState {
	LINK_CLOSED,
	LINK_PORT,  /* Firecracker has been asked for the port */
	LINK_HELLO, /* the guest has been greeted */
	LINK_OPEN,
} LinkState;

struct GuestLink {
	atomic_uint_least64_t next_id;
	atomic_uint refs;
	atomic_bool open;
	bool vsock;
	bool listed;
	GuestHub *hub;
	char *path;
	GuestLink *next,
		*previous; /* the hub's list of those that have calls, a watch or a socket */

	LinkState state;
	int fd;
	uint32_t waits_for; /* events that epoll was told of */
	char nonce[33];
	char port[32]; /* of "OK ..." what has come */
	size_t port_count;
	char why[160];          /* it is not open */
	int64_t retry;          /* when to connect again */
	int64_t greeted;        /* when the hello was last sent */
	int64_t answered, used; /* when the guest last did; when there last was a call */
	GuestInput input;
	char *out; /* not yet sent */
	size_t out_count;
	GuestCall *calls;
	size_t call_count;

	/* guest_watch.c's */
	GuestWatch *watch; /* or NULL */
	GuestHeard heard;
	bool beating;
	GuestCall beat;  /* a ping that is asked while nothing else is */
	int64_t watched; /* since when it is */
	int64_t closed;  /* since when it is not open, which the watch does not know yet; or 0 */
};

/* Something for the hub's thread to do with a link. */
typedef struct GuestTask GuestTask;
struct GuestTask {
	void (*run)(GuestTask *task);
	GuestLink *link; /* a reference */
	GuestCall *call;
	GuestWatch *watch;
	uint64_t id;
	json_t *members;
	size_t count;
	GuestTask *next;
};

/* Runs @task, which it copies, on the hub's thread; where that ends, @task's call fails at once. */
void guest_hub_run(GuestHub *hub, const GuestTask *task);
/* The hub looks after @link: from now on; or no more. */
void guest_hub_list(GuestHub *hub, GuestLink *link);
void guest_hub_unlist(GuestHub *hub, GuestLink *link);
/* @link's socket is to be waited for, for @events: 0 or -errno. */
int guest_hub_watch(GuestHub *hub, GuestLink *link, uint32_t events) must_check;

/* @link's socket has @events. */
void guest_link_ready(GuestLink *link, uint32_t events);
/* Time has passed: what has waited for too long fails, what is to be tried again is. */
void guest_link_tick(GuestLink *link, int64_t now);
/* All that is asked fails with these words; the socket is closed. */
void guest_link_break(GuestLink *link, ErrorCause cause, const char *words);

/* guest_link.c, for the others. */

/* @call, which is no link's, hears the last. */
void guest_call_fail(GuestCall *call, ErrorCause cause, const char *words);
/* The same of a link's. */
void guest_link_fail(GuestLink *link, GuestCall *call, ErrorCause cause, const char *words);
/* @call is over, and no more the link's. */
void guest_link_forget(GuestLink *link, const GuestCall *call);
/* The socket is closed: what was sent fails, what was not waits on for the next one. */
void guest_link_lose(GuestLink *link, ErrorCause cause, const char *why);
/* Takes @object over. */
void guest_link_say(GuestLink *link, json_t *object);
void guest_link_greet(GuestLink *link);
/* The guest has answered the hello, with @answer. */
void guest_link_open(GuestLink *link, const json_t *answer);
/* What was asked with @id, and is not over; NULL: nothing. */
GuestCall *guest_link_find(const GuestLink *link, uint64_t id);
/* One call more, which is sent as soon as it can be. */
void guest_link_add(GuestLink *link, GuestCall *call);
void guest_link_connect(GuestLink *link);
/* The socket is closed, with nobody told; @why: for calls that wait. */
void guest_link_close(GuestLink *link, const char *why);

/* guest_watch.c: what the daemon tells of itself, for the watch if there is one. */

void guest_watch_opened(GuestLink *link, const json_t *answer);
/* The guest has said that it is ready. */
void guest_watch_ready(GuestLink *link);
void guest_watch_tick(GuestLink *link, int64_t now);
/* The watch, if there is one, is no more. */
void guest_watch_drop(GuestLink *link);

/* guest_talk.c, for guest_link.c. */

/* What has come, as far as it is this link's turn. */
void guest_link_read(GuestLink *link);
/* Kills the command: whoever asked for it hears of @words. */
void guest_link_end_stream(GuestLink *link, GuestCall *call, ErrorCause cause, const char *words);
