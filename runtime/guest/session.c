/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/session.h"

#include <assert.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

enum {
	MESSAGE_MAX = 256,
	ANSWER_MAX = 4096,        /* more than any answer takes */
	ANSWERS_ROOM = 16 * 1024, /* which output leaves free */
	OUTPUT_MAX = 128 * 1024,
};

struct GuestSession {
	const GuestSessionUser *functions;
	void *user;
	bool open;
	bool skipping;     /* what is left of a line that is too long */
	size_t used;       /* of input */
	size_t start, end; /* of what is to be written, in output */
	char input[GUEST_LINE_MAX];
	char output[OUTPUT_MAX];
	GuestJson json;
};

static const char *const codes[] = {
	[GUEST_UNKNOWN_OP] = "UNKNOWN_OP", [GUEST_BAD_REQUEST] = "BAD_REQUEST",
	[GUEST_NOT_FOUND] = "NOT_FOUND",   [GUEST_EXHAUSTED] = "EXHAUSTED",
	[GUEST_FAILED] = "FAILED",
};
static_assert(array_size(codes) == GUEST_CODE_COUNT_, "name every code");

GuestSession *guest_session_new(const GuestSessionUser *functions, void *user)
{
	/* Untouched, zeroed pages take no memory. */
	GuestSession *session = calloc(1, sizeof *session);

	if (!session)
		return NULL;
	session->functions = functions;
	session->user = user;
	return session;
}

void guest_session_free(GuestSession *session)
{
	if (!session)
		return;
	explicit_bzero(session->input, sizeof session->input);
	free(session);
}

bool guest_session_is_open(const GuestSession *session)
{
	return session->open;
}

void guest_session_close(GuestSession *session)
{
	bool was_open = session->open;

	session->open = session->skipping = false;
	explicit_bzero(session->input, session->used);
	session->used = session->start = session->end = 0;
	if (was_open)
		session->functions->over(session->user);
}

static size_t output_room(const GuestSession *session)
{
	return OUTPUT_MAX - (session->end - session->start);
}

static void read_boot_id(char *ret, size_t size)
{
	cleanup_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, ret, size - 1);

	ret[n < 0 ? 0 : n] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

/*
 * Drops what the session before had to say. Some of it may have been written, up to the middle
 * of a line, hence the newline.
 */
static void greet(GuestSession *session, const char *nonce)
{
	char boot_id[64];
	GuestLine line;

	if (session->open)
		session->functions->over(session->user);
	session->open = true;
	session->start = 0;
	session->end = 1;
	session->output[0] = '\n';
	read_boot_id(boot_id, sizeof boot_id);
	guest_session_begin(session, &line);
	guest_line_text(&line, "hello", nonce);
	guest_line_number(&line, "version", GUEST_VERSION);
	guest_line_text(&line, "agent", HEARTH_VERSION);
	guest_line_text(&line, "boot_id", boot_id);
	guest_session_send(session, &line);
	session->functions->begun(session->user);
}

void guest_session_announce(GuestSession *session)
{
	static const char line[] = "\n{\"event\":\"started\"}\n";

	memcpy(session->output, line, sizeof line - 1);
	session->start = 0;
	session->end = sizeof line - 1;
}

static bool member_number(const GuestRequest *request, const char *name, int64_t *ret)
{
	const GuestJsonValue *value = guest_json_member(request->json, request->object, name);

	if (!value || value->type != GUEST_JSON_NUMBER || value->number < 1)
		return false;
	*ret = value->number;
	return true;
}

static const char *member_text(const GuestRequest *request, const char *name)
{
	const GuestJsonValue *value = guest_json_member(request->json, request->object, name);

	return value ? guest_json_text(request->json, value) : NULL;
}

static void serve_line(GuestSession *session, char *text, size_t length)
{
	GuestRequest request = { .session = session, .json = &session->json };
	const char *nonce;
	int64_t stream;

	if (guest_json_read(&session->json, text, length) < 0)
		return;
	request.object = guest_json_root(&session->json);
	nonce = member_text(&request, "hello");
	if (nonce && *nonce && strlen(nonce) <= GUEST_NONCE_MAX) {
		greet(session, nonce);
	} else if (!session->open) {
		return;
	} else if (member_number(&request, "id", &request.id)) {
		const char *op = member_text(&request, "op");

		if (op)
			session->functions->request(session->user, &request, op);
		else
			guest_session_fail(session, request.id, GUEST_BAD_REQUEST, "op");
	} else if (member_number(&request, "stream", &stream)) {
		session->functions->stream(session->user, &request, stream);
	}
}

/* Drops @length bytes at the front of the input, and wipes what they and their move left. */
static void drop_input(GuestSession *session, size_t length)
{
	size_t left = session->used - length;

	memmove(session->input, session->input + length, left);
	explicit_bzero(session->input + left, length);
	session->used = left;
}

static void serve_lines(GuestSession *session)
{
	size_t done = 0;
	char *newline;

	while (output_room(session) >= ANSWER_MAX &&
	       (newline = memchr(session->input + done, '\n', session->used - done))) {
		char *text = session->input + done;

		done = (size_t)(newline + 1 - session->input);
		if (!session->skipping)
			serve_line(session, text, (size_t)(newline - text));
		session->skipping = false;
	}
	drop_input(session, done);
	if (session->used == sizeof session->input && output_room(session) >= ANSWER_MAX) {
		session->skipping = true;
		drop_input(session, session->used);
	}
}

char *guest_session_room(GuestSession *session, size_t *room)
{
	*room = sizeof session->input - session->used;
	return *room && output_room(session) >= ANSWER_MAX ? session->input + session->used : NULL;
}

void guest_session_read(GuestSession *session, size_t length)
{
	session->used += length;
	serve_lines(session);
}

const char *guest_session_output(const GuestSession *session, size_t *length)
{
	*length = session->end - session->start;
	return session->output + session->start;
}

void guest_session_written(GuestSession *session, size_t length)
{
	session->start += length;
	if (session->start == session->end)
		session->start = session->end = 0;
	serve_lines(session);
}

bool guest_session_has_room(const GuestSession *session, size_t data)
{
	/* 256: for what else is in the line. */
	return output_room(session) >= ANSWERS_ROOM + 256 + (data + 2) / 3 * 4;
}

void guest_session_begin(GuestSession *session, GuestLine *line)
{
	if (session->start) {
		memmove(session->output, session->output + session->start,
			session->end - session->start);
		session->end -= session->start;
		session->start = 0;
	}
	guest_line_begin(line, session->output + session->end, OUTPUT_MAX - session->end);
}

void guest_session_send(GuestSession *session, GuestLine *line)
{
	if (session->open)
		session->end += guest_line_end(line);
}

void guest_session_answer(GuestSession *session, int64_t id)
{
	GuestLine line;

	if (!id)
		return;
	guest_session_begin(session, &line);
	guest_line_number(&line, "id", id);
	guest_session_send(session, &line);
}

void guest_session_answer_number(GuestSession *session, int64_t id, const char *name,
				 int64_t number)
{
	GuestLine line;

	if (!id)
		return;
	guest_session_begin(session, &line);
	guest_line_number(&line, "id", id);
	guest_line_number(&line, name, number);
	guest_session_send(session, &line);
}

void guest_session_fail(GuestSession *session, int64_t id, GuestCode code, const char *format, ...)
{
	char message[MESSAGE_MAX];
	GuestLine line;
	va_list ap;

	if (!id)
		return;
	va_start(ap, format);
	(void)vsnprintf(message, sizeof message, format, ap);
	va_end(ap);
	guest_session_begin(session, &line);
	guest_line_number(&line, "id", id);
	guest_line_text(&line, "error", codes[code]);
	guest_line_text(&line, "message", message);
	guest_session_send(session, &line);
}

static GuestCode code_of(int error)
{
	switch (error) {
	case ENOENT:
	case ENODEV:
	case ENOTDIR:
	case ENXIO:
		return GUEST_NOT_FOUND;
	case EAGAIN:
	case ENOMEM:
	case ENOSPC:
	case EMFILE:
	case ENFILE:
		return GUEST_EXHAUSTED;
	default:
		return GUEST_FAILED;
	}
}

void guest_session_fail_errno(GuestSession *session, int64_t id, int error, const char *what)
{
	guest_session_fail(session, id, code_of(-error), "%s: %s", what, strerror(-error));
}
