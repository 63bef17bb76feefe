/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The talk with the host, apart from how its bytes get here: lines in, lines out, hellos, and
 * whose turn it is. It knows no request, but hands each line on to whoever uses it.
 *
 * Both buffers are bounded. Lines wait in the one for as long as the other has no room for an
 * answer, and then no more is read: a host that does not listen is not listened to. A command's
 * output leaves room for answers.
 */

#include "runtime/guest/json.h"
#include "runtime/guest/line.h"

typedef struct GuestSession GuestSession;

/* A line of the host, valid until the function that gets it returns. */
typedef struct GuestRequest {
	GuestSession *session;
	const GuestJson *json;
	const GuestJsonValue *object;
	int64_t id; /* 0: it is no request, and is not answered */
} GuestRequest;

typedef struct GuestSessionUser {
	void (*begun)(void *user); /* the session before is over; called after the hello's answer */
	void (*over)(void *user);
	void (*request)(void *user, const GuestRequest *request, const char *op);
	void (*stream)(void *user, const GuestRequest *line, int64_t stream);
} GuestSessionUser;

typedef enum GuestCode {
	GUEST_UNKNOWN_OP,
	GUEST_BAD_REQUEST,
	GUEST_NOT_FOUND,
	GUEST_EXHAUSTED,
	GUEST_FAILED,
	GUEST_CODE_COUNT_
} GuestCode;

/* Return: NULL without memory. @functions must outlive the session. */
GuestSession *guest_session_new(const GuestSessionUser *functions, void *user);
void guest_session_free(GuestSession *session);
DEFINE_CLEANUP(GuestSession *, guest_session_free);

/* Has the host said hello, and not gone since? */
bool guest_session_is_open(const GuestSession *session);

/* The host is gone: forgets what it said and what was to be said to it. */
void guest_session_close(GuestSession *session);

/* Tells a host that talks to the daemon before this one, and cannot see that it has ended. */
void guest_session_announce(GuestSession *session);

/* Where to read into, then how much was. Return: NULL while nothing is to be read. */
char *guest_session_room(GuestSession *session, size_t *room);
void guest_session_read(GuestSession *session, size_t length);

/* What is to be written, then how much was. */
const char *guest_session_output(const GuestSession *session, size_t *length);
void guest_session_written(GuestSession *session, size_t length);

/* Is there room for a line with this much data, beside the room for answers? */
bool guest_session_has_room(const GuestSession *session, size_t data);

/* A line to the host; dropped when the session is not open. */
void guest_session_begin(GuestSession *session, GuestLine *line);
void guest_session_send(GuestSession *session, GuestLine *line);

/* Answers to the request @id, to none if it is 0. */
void guest_session_answer(GuestSession *session, int64_t id);
void guest_session_answer_number(GuestSession *session, int64_t id, const char *name,
				 int64_t number);
void guest_session_fail(GuestSession *session, int64_t id, GuestCode code, const char *format, ...)
	printf_like(4, 5);

/* The same, with the code that fits -@error, and its text behind @what. */
void guest_session_fail_errno(GuestSession *session, int64_t id, int error, const char *what);
