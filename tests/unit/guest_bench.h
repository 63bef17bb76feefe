/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * For the tests of hearth-guest: the daemon in a process of its own, that is this program's code
 * with its sanitizers, and a host that talks to it over a unix socket.
 */

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/guest/base64.h"
#include "runtime/guest/daemon.h"
#include "runtime/guest/protocol.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

enum {
	WAIT_MS = 60000, /* long enough to never matter */
	LINE_ROOM = 2 * GUEST_LINE_MAX
};

typedef struct Bench {
	char dir[64], socket[80];
	pid_t daemon;
	int fd;
	size_t used;
	char input[LINE_ROOM];
} Bench;

static inline void bench_free(Bench *bench)
{
	int status;

	closep(&bench->fd);
	(void)kill(bench->daemon, SIGTERM);
	cr_assert_eq(waitpid(bench->daemon, &status, 0), bench->daemon);
	(void)!file_remove_tree(bench->dir);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the daemon ended with %x",
		  (unsigned)status);
}

static inline int bench_connect(const Bench *bench)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	text_copy(address.sun_path, sizeof address.sun_path, bench->socket);
	for (int i = 0; i < 1000; i++) {
		if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
			return fd;
		(void)usleep(10000);
	}
	cr_assert_fail("no daemon at %s", bench->socket);
	return -1;
}

static inline void send_bytes(const Bench *bench, const char *bytes, size_t length)
{
	while (length) {
		ssize_t n = send(bench->fd, bytes, length, MSG_NOSIGNAL);

		cr_assert_gt(n, 0);
		bytes += n;
		length -= (size_t)n;
	}
}

/* Quotes are written as ' for the sake of whoever reads the tests. */
static inline void say(const Bench *bench, const char *format, ...) printf_like(2, 3);
static inline void say(const Bench *bench, const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = text_vprintf(format, ap);
	va_end(ap);
	for (char *at = text; *at; at++)
		if (*at == '\'')
			*at = '"';
	send_bytes(bench, text, strlen(text));
	send_bytes(bench, "\n", 1);
}

/* Is there a line within the time? */
static inline bool fill(Bench *bench, int timeout_ms)
{
	while (!memchr(bench->input, '\n', bench->used)) {
		struct pollfd state = { .fd = bench->fd, .events = POLLIN };
		ssize_t n;

		if (poll(&state, 1, timeout_ms) <= 0)
			return false;
		n = recv(bench->fd, bench->input + bench->used, LINE_ROOM - bench->used, 0);
		if (n <= 0)
			return false;
		bench->used += (size_t)n;
	}
	return true;
}

/* The next object, the caller's to release. */
static inline json_t *hear(Bench *bench)
{
	json_t *object = NULL;

	while (!object) {
		char *end;

		cr_assert(fill(bench, WAIT_MS), "the daemon says nothing");
		end = memchr(bench->input, '\n', bench->used);
		object = json_loadb(bench->input, (size_t)(end - bench->input), 0, NULL);
		cr_assert(object || end == bench->input, "no JSON: %.*s", (int)(end - bench->input),
			  bench->input);
		bench->used -= (size_t)(end + 1 - bench->input);
		memmove(bench->input, end + 1, bench->used);
	}
	return object;
}

/* The next object with this member, and those before it are dropped. */
static inline json_t *hear_with(Bench *bench, const char *member)
{
	for (;;) {
		json_t *object = hear(bench);

		if (json_object_get(object, member))
			return object;
		json_decref(object);
	}
}

static inline int64_t number_in(const json_t *object, const char *member)
{
	return json_integer_value(json_object_get(object, member));
}

static inline const char *text_in(const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	return text ? text : "";
}

static inline void jsonp(json_t **object)
{
	json_decref(*object);
}

#define cleanup_json cleanup_(jsonp)

/* The answer to the request @id. */
static inline json_t *answer(Bench *bench, int64_t id)
{
	for (;;) {
		json_t *object = hear_with(bench, "id");

		if (number_in(object, "id") == id)
			return object;
		json_decref(object);
	}
}

/* Is the answer to @id this error, about this member? */
static inline void expect_error(Bench *bench, int64_t id, const char *code, const char *message)
{
	cleanup_json json_t *object = answer(bench, id);

	cr_expect_str_eq(text_in(object, "error"), code, "%s: %s", message,
			 text_in(object, "message"));
	cr_expect_eq(strncmp(text_in(object, "message"), message, strlen(message)), 0, "%s, not %s",
		     text_in(object, "message"), message);
}

static inline void expect_done(Bench *bench, int64_t id)
{
	cleanup_json json_t *object = answer(bench, id);

	cr_expect_null(json_object_get(object, "error"), "%s: %s", text_in(object, "error"),
		       text_in(object, "message"));
}

static inline void greet(Bench *bench, const char *nonce)
{
	for (;;) {
		cleanup_json json_t *object = NULL;

		say(bench, "{'hello': '%s', 'version': 1}", nonce);
		object = hear_with(bench, "hello");
		if (strcmp(text_in(object, "hello"), nonce) == 0)
			return;
	}
}

static inline void bench_start(Bench *bench, bool wait_ready)
{
	GuestDaemonConfig config = { .dir = bench->dir,
				     .socket = bench->socket,
				     .wait_ready = wait_ready };

	bench->daemon = fork();
	cr_assert_geq(bench->daemon, 0);
	if (bench->daemon == 0) {
		(void)prctl(PR_SET_PDEATHSIG,
			    SIGKILL); /* an assertion that fails cleans up nothing */
		_exit(guest_daemon_run(&config) < 0);
	}
	bench->fd = bench_connect(bench);
	bench->used = 0;
}

static inline Bench bench_in(const char *folder, bool wait_ready)
{
	Bench bench = { .fd = -1 };

	(void)snprintf(bench.dir, sizeof bench.dir, "%s/hearth-guest-XXXXXX", folder);
	cr_assert_not_null(mkdtemp(bench.dir));
	(void)snprintf(bench.socket, sizeof bench.socket, "%s/host.sock", bench.dir);
	bench_start(&bench, wait_ready);
	return bench;
}

static inline Bench bench_new(bool wait_ready)
{
	return bench_in("/dev/shm", wait_ready);
}

/* A daemon that has been greeted. */
#define BENCH(name)                                         \
	cleanup_(bench_free) Bench name = bench_new(false); \
	greet(&name, "first")

/* What came of a command. */
typedef struct Outcome {
	int64_t code, signal; /* -1: it was not that */
	bool timed_out;
	char *output; /* of both, up to a zero byte */
	size_t length, most;
} Outcome;

static inline void outcome_clear(Outcome *outcome)
{
	free(outcome->output);
}

#define cleanup_outcome cleanup_(outcome_clear)

static inline void add_output(Outcome *outcome, const json_t *object)
{
	cleanup_free char *text = text_dup(text_in(object, "data"));
	size_t length;

	cr_assert_eq(guest_base64_read(text, strlen(text), &length), 0);
	if (outcome->length + length < outcome->most) {
		memcpy(outcome->output + outcome->length, text, length);
		outcome->output[outcome->length + length] = '\0';
	}
	outcome->length += length;
}

/* Hears the stream @id to its end, and gives it all the credit it takes. */
static inline Outcome finish(Bench *bench, int64_t id)
{
	Outcome outcome = { .code = -1, .signal = -1, .most = 65536 };

	outcome.output = new0_array(char, outcome.most);
	for (;;) {
		cleanup_json json_t *object = hear_with(bench, "stream");
		size_t before = outcome.length;

		if (number_in(object, "stream") != id)
			continue;
		if (json_object_get(object, "data"))
			add_output(&outcome, object);
		if (outcome.length > before)
			say(bench, "{'stream': %d, 'credit': %zu}", (int)id,
			    outcome.length - before);
		if (json_object_get(object, "exit"))
			outcome.code = number_in(object, "exit");
		if (json_object_get(object, "signal"))
			outcome.signal = number_in(object, "signal");
		outcome.timed_out = json_is_true(json_object_get(object, "timed_out"));
		if (outcome.code >= 0 || outcome.signal >= 0)
			return outcome;
	}
}

/* Runs a line of shell, with more members of the request in @more. */
static inline Outcome shell(Bench *bench, int64_t id, const char *script, const char *more)
{
	say(bench, "{'id': %d, 'op': 'exec', 'argv': ['sh', '-c', '%s']%s}", (int)id, script, more);
	expect_done(bench, id);
	return finish(bench, id);
}
