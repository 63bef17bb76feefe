/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/guest_private.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* What a guest says on its link, and what becomes of it. */

enum {
	SHARE = 64 * 1024,       /* read of one link before the others' turn */
	NOISE_MAX = 1024 * 1024, /* bytes that answer nothing, since something did */
	NOISE_LINE = 512,        /* as many as an object counts for that answers nothing */
};

/* What was sent with @id; 0 is nobody's. */
static GuestCall *find_call(const GuestLink *link, json_int_t id)
{
	GuestCall *call = guest_link_find(link, (uint64_t)id);

	return call && call->sent ? call : NULL;
}

static void answer_error(GuestLink *link, GuestCall *call, const char *code, const json_t *answer)
{
	static const struct {
		const char *code;
		ErrorCause cause;
	} causes[] = {
		{ "BAD_REQUEST", CAUSE_INPUT },
		{ "NOT_FOUND", CAUSE_MISSING },
		{ "EXHAUSTED", CAUSE_EXHAUSTED },
	};
	const char *message = json_string_value(json_object_get(answer, "message"));
	cleanup_free char *words = new0_array(char, 3 * GUEST_LINE_MAX + 1);
	ErrorCause cause = CAUSE_HOST;
	char said[300];

	for (size_t i = 0; i < array_size(causes); i++)
		if (strcmp(code, causes[i].code) == 0)
			cause = causes[i].cause;
	(void)text_to_utf8(words, message ? message : "", message ? strlen(message) : 0);
	(void)snprintf(said, sizeof said, "the guest says %.32s: %.240s", code, words);
	guest_link_fail(link, call, cause, said);
}

static bool take_answer(GuestLink *link, const json_t *object)
{
	GuestCall *call = find_call(link, json_integer_value(json_object_get(object, "id")));
	const char *code = json_string_value(json_object_get(object, "error"));

	if (!call || call->streams)
		return false;
	if (code) {
		answer_error(link, call, code, object);
		return true;
	}
	if (call->ended) {
		call->streams = true;
		call->deadline = INT64_MAX;
	} else {
		guest_link_forget(link, call);
	}
	call->done(call, object, NULL);
	return true;
}

/* Kills the command: whoever asked for it hears of @words. */
void guest_link_end_stream(GuestLink *link, GuestCall *call, ErrorCause cause, const char *words)
{
	uint64_t id = call->id;

	guest_link_fail(link, call, cause, words);
	guest_link_say(link, json_pack("{s:I, s:i}", "stream", (json_int_t)id, "kill", SIGKILL));
}

static bool take_output(GuestLink *link, const GuestSaid *said)
{
	GuestCall *call = find_call(link, said->stream);
	unsigned char bytes[GUEST_DATA_MAX];
	int count;

	if (link->state != LINK_OPEN || !call || !call->streams)
		return false;
	count = guest_decode(bytes, sizeof bytes, said->data);
	if (count < 0 || (said->fd != 1 && said->fd != 2) || (call->window -= count) < 0)
		guest_link_end_stream(link, call, CAUSE_CORRUPT, "the guest sent what it must not");
	else
		call->output(call, said->fd, bytes, (size_t)count);
	return true;
}

static void take_end(GuestLink *link, GuestCall *call, const json_t *object)
{
	const json_t *code = json_object_get(object, "exit");
	GuestEnd end = {
		.code = json_is_integer(code) ? (int)json_integer_value(code) : -1,
		.signal = (int)json_integer_value(json_object_get(object, "signal")),
		.timed_out = json_is_true(json_object_get(object, "timed_out")),
	};

	guest_link_forget(link, call);
	call->ended(call, &end, NULL);
}

static bool take_frame(GuestLink *link, const json_t *object)
{
	const GuestSaid output = {
		.stream = json_integer_value(json_object_get(object, "stream")),
		.fd = (int)json_integer_value(json_object_get(object, "fd")),
		.data = json_string_value(json_object_get(object, "data")),
	};
	GuestCall *call = find_call(link, output.stream);
	const json_t *credit = json_object_get(object, "credit");

	if (!call || !call->streams)
		return false;
	if (output.data)
		return take_output(link, &output);
	if (json_is_integer(credit) && json_integer_value(credit) > 0)
		call->credit(call, (size_t)json_integer_value(credit));
	else if (json_object_get(object, "exit") || json_object_get(object, "signal"))
		take_end(link, call, object);
	else
		return false;
	return true;
}

/* Whoever was there before answers nothing any more. */
static void begin_anew(GuestLink *link)
{
	if (link->state == LINK_OPEN)
		guest_link_lose(link, CAUSE_HOST, "the guest's daemon has begun anew");
	else if (link->state == LINK_HELLO)
		guest_link_greet(link);
}

static bool take_object(GuestLink *link, const json_t *object)
{
	/* One that only echoes is no daemon. */
	if (text_equal(json_string_value(json_object_get(object, "hello")), link->nonce) &&
	    json_is_string(json_object_get(object, "agent"))) {
		if (link->state == LINK_HELLO)
			guest_link_open(link, object);
		return true;
	}
	if (text_equal(json_string_value(json_object_get(object, "event")), "started")) {
		begin_anew(link);
		return false;
	}
	if (link->state != LINK_OPEN)
		return false;
	if (text_equal(json_string_value(json_object_get(object, "event")), "ready")) {
		guest_watch_ready(link);
		return false;
	}
	return take_answer(link, object) || take_frame(link, object);
}

/* Is one of both the other's beginning? */
static bool begins(const char *a, const char *b)
{
	size_t m = strlen(a), n = strlen(b);

	return strncmp(a, b, m < n ? m : n) == 0;
}

/* "OK <port of the host's>", which comes before all else: how much of @bytes it is. */
static size_t take_port(GuestLink *link, const char *bytes, size_t count)
{
	static const char ok[] = "OK ";
	const char *end = memchr(bytes, '\n', count);
	size_t length = end ? (size_t)(end - bytes) + 1 : count;
	size_t room = sizeof link->port - 1 - link->port_count;

	(void)strncat(link->port, bytes, length < room ? length : room);
	link->port_count = strlen(link->port);
	if (length > room || !begins(link->port, ok))
		guest_link_lose(link, CAUSE_CORRUPT, "connect: the VMM answers nonsense");
	else if (end)
		guest_link_greet(link);
	return length;
}

static void take_bytes(GuestLink *link, const char *bytes, size_t count)
{
	GuestSaid said;

	if (link->state == LINK_PORT) {
		size_t used = take_port(link, bytes, count);

		bytes += used;
		count -= used;
	}
	while (link->fd >= 0 && guest_input_take(&link->input, &bytes, &count, &said)) {
		if (said.object ? take_object(link, said.object) : take_output(link, &said)) {
			link->input.skipped = 0;
			link->answered = clock_mono_us();
		} else {
			link->input.skipped += NOISE_LINE;
		}
		json_decref(said.object);
	}
	if (link->fd >= 0 && link->input.skipped > NOISE_MAX)
		guest_link_lose(link, CAUSE_CORRUPT,
				"decode: the guest says too much that answers nothing");
}

/* @error: of recv(), or 0 at the end. */
static const char *why_over(const GuestLink *link, int error)
{
	if (error)
		return strerrordesc_np(error);
	return link->state == LINK_PORT ? "connect: nobody listens in the guest"
					: "the connection was closed";
}

void guest_link_read(GuestLink *link)
{
	char bytes[16 * 1024];
	size_t total = 0;

	while (link->fd >= 0 && total < SHARE) {
		ssize_t n = recv(link->fd, bytes, sizeof bytes, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			guest_link_lose(link, CAUSE_HOST, why_over(link, n < 0 ? errno : 0));
			return;
		}
		total += (size_t)n;
		take_bytes(link, bytes, (size_t)n);
	}
}
