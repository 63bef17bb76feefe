/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For tests of runtime/guest_link.h: guests that do whatever they like, and what is asked of them.
 */

#include "base/clock.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/guest_link.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A link to guests that do whatever they like. The real one is in tests/e2e/test_guest_daemon.py.
 */

enum {
	LONG = 30 * USEC_PER_SEC, /* never reached where the code is right */
	SHORT = 300 * USEC_PER_MSEC,
	LINE = 64 * 1024,
	OUTPUT_MAX = 256 * 1024,
};

/* What is asked, and what has become of it. */
typedef struct Asked {
	GuestCall call;
	Lock lock;
	Cond changed;
	int answers, ends; /* under lock, as is what follows */
	int64_t uptime;
	GuestEnd end;
	Error err;
	size_t output;
} Asked;

typedef struct Bench Bench;
struct Bench {
	GuestHub *hub;
	GuestLink *link;
	char dir[32];
	char path[64];
	int listener, client;
	FILE *from, *to; /* the guest's */
	void (*guest)(Bench *bench);
	pthread_t thread;
};

/* The next line the host says, without its end; false: it has gone. Not for long: overwritten. */
static inline const char *hear(Bench *bench)
{
	static _Thread_local char line[LINE];

	do {
		if (!fgets(line, sizeof line, bench->from))
			return NULL;
		line[strcspn(line, "\n")] = '\0';
	} while (!*line);
	return line;
}

static inline void say(Bench *bench, const char *line)
{
	(void)fprintf(bench->to, "%s\n", line);
	(void)fflush(bench->to);
}

/* Hears the hello, answers it. */
static inline void meet(Bench *bench)
{
	const char *hello = hear(bench);
	json_t *object = hello ? json_loads(hello, 0, NULL) : NULL;
	char *answer;

	if (object)
		(void)json_object_set_new(object, "agent", json_string("a test"));
	answer = object ? json_dumps(object, JSON_COMPACT) : NULL;

	if (answer)
		say(bench, answer);
	free(answer);
	json_decref(object);
}

static inline void be_silent(Bench *bench)
{
	while (hear(bench))
		;
}

/* The id of the next request; 0: none comes. */
static inline json_int_t hear_request(Bench *bench)
{
	const char *line = hear(bench);
	json_t *object = line ? json_loads(line, 0, NULL) : NULL;
	json_int_t id = json_integer_value(json_object_get(object, "id"));

	json_decref(object);
	return id;
}

static inline bool accept_host(Bench *bench)
{
	bench->client = accept(bench->listener, NULL, NULL);
	if (bench->client < 0)
		return false;
	bench->from = fdopen(dup(bench->client), "r");
	bench->to = fdopen(dup(bench->client), "w");
	return true;
}

static inline void hang_up(Bench *bench)
{
	(void)fclose(bench->from);
	(void)fclose(bench->to);
	(void)close(bench->client);
}

static inline void *guest_main(void *user)
{
	Bench *bench = user;

	while (accept_host(bench)) {
		bench->guest(bench);
		hang_up(bench);
	}
	return NULL;
}

static inline Bench *bench_new(void (*guest)(Bench *bench), bool vsock)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	Bench *bench = new0(Bench);

	(void)signal(SIGPIPE, SIG_IGN);
	(void)stpcpy(bench->dir, "/tmp/hearth-guest-XXXXXX");
	cr_assert_not_null(mkdtemp(bench->dir));
	(void)snprintf(bench->path, sizeof bench->path, "%s/guest.sock", bench->dir);
	bench->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	text_copy(address.sun_path, sizeof address.sun_path, bench->path);
	cr_assert_eq(bind(bench->listener, (struct sockaddr *)&address, sizeof address), 0);
	bench->guest = guest;
	if (guest) {
		cr_assert_eq(listen(bench->listener, 4), 0);
		cr_assert_eq(pthread_create(&bench->thread, NULL, guest_main, bench), 0);
	}
	bench->hub = guest_hub_new();
	cr_assert_not_null(bench->hub);
	bench->link = guest_link_new(bench->hub, bench->path, vsock);
	return bench;
}

static inline void bench_free(Bench *bench)
{
	guest_hub_free(bench->hub);
	guest_link_unref(bench->link);
	(void)shutdown(bench->listener, SHUT_RDWR);
	if (bench->guest)
		(void)pthread_join(bench->thread, NULL);
	(void)close(bench->listener);
	(void)unlink(bench->path);
	(void)rmdir(bench->dir);
	free(bench);
}
DEFINE_CLEANUP(Bench *, bench_free);

static inline void take_answer(GuestCall *call, const json_t *answer, const Error *err)
{
	Asked *asked = container_of(call, Asked, call);

	lock_take(&asked->lock);
	asked->answers++;
	asked->uptime = json_integer_value(json_object_get(answer, "uptime_ms"));
	if (err)
		asked->err = *err;
	cond_broadcast(&asked->changed);
	lock_drop(&asked->lock);
}

static inline void take_output(GuestCall *call, int fd, const void *bytes, size_t count)
{
	Asked *asked = container_of(call, Asked, call);

	(void)fd;
	(void)bytes;
	lock_take(&asked->lock);
	asked->output += count;
	cond_broadcast(&asked->changed);
	lock_drop(&asked->lock);
}

static inline void take_room(GuestCall *call, size_t count)
{
	(void)call;
	(void)count;
}

static inline void take_end(GuestCall *call, const GuestEnd *end, const Error *err)
{
	Asked *asked = container_of(call, Asked, call);

	lock_take(&asked->lock);
	asked->ends++;
	if (end)
		asked->end = *end;
	if (err)
		asked->err = *err;
	cond_broadcast(&asked->changed);
	lock_drop(&asked->lock);
}

static inline void asked_init(Asked *asked)
{
	*asked = (Asked){ .answers = 0 };
	lock_init(&asked->lock);
	cond_init(&asked->changed);
}

static inline void ask(Bench *bench, Asked *asked, const char *op, int64_t timeout)
{
	asked->call = (GuestCall){
		.op = op,
		.request = json_object(),
		.timeout = timeout,
		.done = take_answer,
	};
	if (strcmp(op, "exec") == 0) {
		asked->call.output = take_output;
		asked->call.credit = take_room;
		asked->call.ended = take_end;
	}
	asked->call.id = guest_link_next_id(bench->link);
	guest_link_ask(bench->link, &asked->call);
}

/* Until it has been answered, or has ended; never in vain. */
static inline void wait_answers(Asked *asked, int answers, int ends, size_t output)
{
	lock_take(&asked->lock);
	while (asked->answers < answers || asked->ends < ends || asked->output < output)
		cond_wait(&asked->changed, &asked->lock);
	lock_drop(&asked->lock);
}

static inline void ping(Bench *bench, Asked *asked, int64_t timeout)
{
	asked_init(asked);
	ask(bench, asked, "ping", timeout);
	wait_answers(asked, 1, 0, 0);
}

static inline void expect(const Asked *asked, ErrorCause cause, const char *words)
{
	cr_assert_eq(asked->err.kind, ERROR_GUEST_METADATA);
	cr_assert_eq(asked->err.cause, cause, "%s", asked->err.what);
	cr_assert_not_null(strstr(asked->err.what, words), "%s", asked->err.what);
}
