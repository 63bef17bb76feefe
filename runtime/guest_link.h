/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host's end of what runtime/guest/protocol.h describes: one GuestLink a VM, all of
 * them served by the one thread of a GuestHub.
 *
 * A link connects when there is something to ask, tries again until what is asked has
 * waited for too long, and lets go of its socket when nothing has been asked for a
 * while. The guest is not trusted: a link keeps a line of what it says, reads no more
 * than a share at a time, and breaks when too much of it answers nothing. Safe from any
 * thread; what is called back is so on the hub's thread, and must not block.
 */

#include "base/error.h"
#include "runtime/guest/protocol.h"

#include <jansson.h>

typedef struct GuestHub GuestHub;
typedef struct GuestLink GuestLink;
typedef struct GuestCall GuestCall;

/* NULL with errno set. */
GuestHub *guest_hub_new(void);
/* All that is asked fails, from now on as well. */
void guest_hub_stop(GuestHub *hub);
/* Stops it first. Links that others hold stay, and fail whatever they are asked. */
void guest_hub_free(GuestHub *hub); /* accepts NULL */

/* @path: of the VMM's unix socket; @vsock: Firecracker's, where the port is asked for first. */
GuestLink *guest_link_new(GuestHub *hub, const char *path, bool vsock);
GuestLink *guest_link_ref(GuestLink *link);
void guest_link_unref(GuestLink *link); /* accepts NULL */
DEFINE_CLEANUP(GuestLink *, guest_link_unref);

/* How a command ended. */
typedef struct GuestEnd {
	int code;   /* -1: by a signal */
	int signal; /* 0: none */
	bool timed_out;
} GuestEnd;

/* What a guest's daemon has told of itself, in printable ASCII, cut to fit. */
typedef struct GuestHeard {
	bool open; /* the connection to it stands */
	bool ready;
	char agent[64], boot_id[64];
} GuestHeard;

/* Whoever wants to hear it, part of the caller's own structure; on the hub's thread. */
typedef struct GuestWatch GuestWatch;
struct GuestWatch {
	void (*heard)(GuestWatch *watch, const GuestHeard *heard);
	void (*released)(GuestWatch *watch); /* exactly once, the last */
};

/* Connects, and again whenever that is lost, and asks now and then whether anybody is there, until
 * it is no longer watched. One at a time. */
void guest_link_watch(GuestLink *link, GuestWatch *watch);
/* And lets go of the socket. */
void guest_link_unwatch(GuestLink *link);
/* Does the connection stand at this moment? */
bool guest_link_is_open(const GuestLink *link);

/* A request on its way, part of the caller's own structure. The caller fills in what is above the
 * line, and may release it in the last of what is called: done, or for a command that runs ended.
 */
struct GuestCall {
	const char *op;  /* a literal */
	json_t *request; /* its members but id and op; taken over */
	int64_t timeout; /* usec until the answer */
	/* Exactly once; @answer is borrowed, and NULL with @err. */
	void (*done)(GuestCall *call, const json_t *answer, const Error *err);
	uint64_t id; /* of guest_link_next_id() */
	/* Of exec alone, after done without @err: output, room for input, what guest_link_poke()
	 * asks for, and once the end. */
	void (*output)(GuestCall *call, int fd, const void *bytes, size_t count);
	void (*credit)(GuestCall *call, size_t count);
	void (*poked)(GuestCall *call);
	void (*ended)(GuestCall *call, const GuestEnd *end, const Error *err);
	/* The link's. */
	int64_t deadline, window;
	bool sent, streams;
	GuestCall *next;
};

uint64_t guest_link_next_id(GuestLink *link);

/*
 * @err: GUEST_METADATA, in the words of the stage that failed (connect, hello, or the request),
 * with cause TIMEOUT, CORRUPT (the guest says what it must not), EXHAUSTED, or as the guest says:
 * INPUT, MISSING.
 */
void guest_link_ask(GuestLink *link, GuestCall *call);

/* Has poked() called on the guests' thread, if the stream @id has begun and is not over. */
void guest_link_poke(GuestLink *link, uint64_t id);

/* More of the stream @id: @members of protocol.h's lines but stream, taken over. Of one that is
 * over nothing comes. */
void guest_link_tell(GuestLink *link, uint64_t id, json_t *members);

/* So much of @id's output has been dealt with, and as much more may come. */
void guest_link_allow(GuestLink *link, uint64_t id, size_t count);

/* Whoever asked @id no longer wants to know: a command is killed. done or ended comes soon, if it
 * has not yet. */
void guest_link_cancel(GuestLink *link, uint64_t id);
