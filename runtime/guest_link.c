/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/guest_private.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
	OUT_MAX = 4 * 1024 * 1024,      /* not taken by a guest that does not read */
	RETRY = 100 * USEC_PER_MSEC,    /* between two tries to connect */
	HELLO_AGAIN = 2 * USEC_PER_SEC, /* until it is answered */
	SILENCE = GUEST_SILENCE,        /* after which the guest's daemon may be another one */
	KEPT_OPEN = 30 * USEC_PER_SEC,  /* without a call or watch */
	EAGER = 60 * USEC_PER_SEC,      /* a guest may take to boot, before it is tried seldom: */
	RETRY_SELDOM = USEC_PER_SEC,
	NONCE_BYTES = 16,
};

GuestLink *guest_link_new(GuestHub *hub, const char *path, bool vsock)
{
	GuestLink *link = new0(GuestLink);

	link->refs = 1;
	link->hub = hub;
	link->path = text_dup(path);
	link->vsock = vsock;
	link->fd = -1;
	return link;
}

GuestLink *guest_link_ref(GuestLink *link)
{
	if (link)
		atomic_fetch_add(&link->refs, 1);
	return link;
}

void guest_link_unref(GuestLink *link)
{
	if (!link || atomic_fetch_sub(&link->refs, 1) != 1)
		return;
	guest_input_clear(&link->input);
	free(link->path);
	free(link->out);
	free(link);
}

void guest_link_forget(GuestLink *link, const GuestCall *call)
{
	GuestCall **at = &link->calls;

	while (*at && *at != call)
		at = &(*at)->next;
	if (*at) {
		*at = call->next;
		link->call_count--;
	}
}

void guest_call_fail(GuestCall *call, ErrorCause cause, const char *words)
{
	Error err = { 0 };

	(void)error_set_cause(&err, ERROR_GUEST_METADATA, cause, "%s: %s", call->op, words);
	json_decref(take_ptr(call->request));
	if (call->streams)
		call->ended(call, NULL, &err);
	else
		call->done(call, NULL, &err);
}

void guest_link_fail(GuestLink *link, GuestCall *call, ErrorCause cause, const char *words)
{
	guest_link_forget(link, call);
	guest_call_fail(call, cause, words);
}

void guest_link_close(GuestLink *link, const char *why)
{
	if (link->fd >= 0)
		(void)close(link->fd);
	link->fd = -1;
	link->waits_for = 0;
	if (link->state == LINK_OPEN)
		link->closed = clock_mono_us();
	atomic_store(&link->open, false);
	link->state = LINK_CLOSED;
	link->out_count = 0;
	link->retry = clock_mono_us() + RETRY;
	link->input.count = 0;
	link->input.skipping = false;
	link->input.skipped = 0;
	text_copy(link->why, sizeof link->why, why);
	if (!link->calls && !link->watch)
		guest_hub_unlist(link->hub, link);
}

/* What has been sent will have no answer; what has not waits on for the next try. */
void guest_link_lose(GuestLink *link, ErrorCause cause, const char *why)
{
	(void)guest_link_ref(link);
	for (GuestCall *call = link->calls, *next; call; call = next) {
		next = call->next;
		if (call->sent)
			guest_link_fail(link, call, cause, why);
	}
	guest_link_close(link, why);
	guest_link_unref(link);
}

void guest_link_break(GuestLink *link, ErrorCause cause, const char *words)
{
	(void)guest_link_ref(link);
	while (link->calls)
		guest_link_fail(link, link->calls, cause, words);
	guest_link_close(link, words);
	guest_link_unref(link);
}

/* As much of what is to be sent as the socket takes: 0 or -errno. */
static int flush(GuestLink *link)
{
	size_t sent = 0;
	int r = 0;

	while (sent < link->out_count && r == 0) {
		ssize_t n = send(link->fd, link->out + sent, link->out_count - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR)
			r = -errno;
	}
	link->out_count -= sent;
	if (link->out_count)
		memmove(link->out, link->out + sent, link->out_count);
	if (sent)
		explicit_bzero(link->out + link->out_count, sent); /* there may be a secret in it */
	if (r < 0 && r != -EAGAIN)
		return r;
	return guest_hub_watch(link->hub, link, EPOLLIN | (link->out_count ? EPOLLOUT : 0));
}

static void say(GuestLink *link, const char *text, size_t length)
{
	int r;

	if (link->fd < 0)
		return;
	if (link->out_count + length > OUT_MAX) {
		guest_link_lose(link, CAUSE_EXHAUSTED, "the guest does not read");
		return;
	}
	link->out = must_realloc(link->out, link->out_count + length, 1);
	memcpy(link->out + link->out_count, text, length);
	link->out_count += length;
	r = flush(link);
	if (r < 0)
		guest_link_lose(link, CAUSE_HOST, strerrordesc_np(-r));
}

/* Takes @object over. To wipe_line(); NULL: it is no UTF-8. */
static char *line_of(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);
	char *line = text ? text_printf("%s\n", text) : NULL;

	json_decref(object);
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	return line;
}

/* There may be a secret in it. */
static void wipe_line(char **line)
{
	if (*line)
		explicit_bzero(*line, strlen(*line));
	free(*line);
}

/* Takes @object over. */
void guest_link_say(GuestLink *link, json_t *object)
{
	cleanup_(wipe_line) char *line = line_of(object);

	if (line)
		say(link, line, strlen(line));
}

/* Whatever an earlier host left of a line ends here. */
void guest_link_greet(GuestLink *link)
{
	cleanup_free char *line =
		text_printf("\n{\"hello\":\"%s\",\"version\":%d}\n", link->nonce, GUEST_VERSION);

	link->state = LINK_HELLO;
	link->greeted = clock_mono_us();
	say(link, line, strlen(line));
}

/* By the file itself: what a jailed VMM may have put in its place must not lead elsewhere. */
static int open_socket(GuestLink *link)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int file = open(link->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (file < 0)
		return -errno;
	(void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", file);
	link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return -errno;
	r = connect(link->fd, (const struct sockaddr *)&address, sizeof address);
	return r < 0 ? -errno : guest_hub_watch(link->hub, link, EPOLLIN);
}

void guest_link_connect(GuestLink *link)
{
	cleanup_free char *line = text_printf("CONNECT %d\n", GUEST_PORT);
	char why[sizeof link->why];
	int r = open_socket(link);

	if (r < 0) {
		(void)snprintf(why, sizeof why, "connect: %s", strerrordesc_np(-r));
		guest_link_close(link, why);
		return;
	}
	text_random_hex(link->nonce, NONCE_BYTES);
	link->port[0] = '\0';
	link->port_count = 0;
	if (!link->vsock) {
		guest_link_greet(link);
		return;
	}
	link->state = LINK_PORT;
	say(link, line, strlen(line));
}

static void send_call(GuestLink *link, GuestCall *call)
{
	cleanup_(wipe_line) char *line = NULL;
	json_t *request = take_ptr(call->request);

	(void)json_object_set_new(request, "id", json_integer((json_int_t)call->id));
	(void)json_object_set_new(request, "op", json_string(call->op));
	line = line_of(request);
	if (!line || strlen(line) > GUEST_LINE_MAX) {
		guest_link_fail(link, call, CAUSE_INPUT,
				line ? "encode: larger than a message can be" : "encode: no UTF-8");
		return;
	}
	call->sent = true;
	say(link, line, strlen(line));
}

void guest_link_open(GuestLink *link, const json_t *answer)
{
	link->state = LINK_OPEN;
	link->answered = clock_mono_us();
	atomic_store(&link->open, true);
	guest_watch_opened(link, answer);
	for (GuestCall *call = link->calls, *next; call && link->state == LINK_OPEN; call = next) {
		next = call->next;
		if (!call->sent)
			send_call(link, call);
	}
}

bool guest_link_is_open(const GuestLink *link)
{
	return atomic_load(&link->open);
}

void guest_link_ready(GuestLink *link, uint32_t events)
{
	int r;

	(void)guest_link_ref(link);
	if (events & EPOLLOUT) {
		r = flush(link);
		if (r < 0)
			guest_link_lose(link, CAUSE_HOST, strerrordesc_np(-r));
	}
	if (link->fd >= 0 && events & ~(uint32_t)EPOLLOUT)
		guest_link_read(link);
	guest_link_unref(link);
}

static const char *stage_of(const GuestLink *link)
{
	return link->state == LINK_CLOSED  ? (*link->why ? link->why : "connect")
	       : link->state == LINK_PORT  ? "connect: no answer in time"
	       : link->state == LINK_HELLO ? "hello: no answer in time"
					   : "no answer in time";
}

void guest_link_add(GuestLink *link, GuestCall *call)
{
	if (link->call_count >= GUEST_REQUESTS_MAX) {
		guest_call_fail(call, CAUSE_EXHAUSTED, "too many calls wait for this guest");
		return;
	}
	call->deadline = clock_mono_us() + call->timeout;
	call->window = GUEST_CREDIT;
	call->next = link->calls;
	link->calls = call;
	link->call_count++;
	link->used = clock_mono_us();
	guest_hub_list(link->hub, link);
	if (link->state == LINK_OPEN)
		send_call(link, call);
	else if (link->fd < 0 && clock_mono_us() >= link->retry)
		guest_link_connect(link);
}

/* Nobody wants to know any more what @call asked for: a program that may have begun is killed, for
 * the guest goes by the order of lines. */
static void give_up(GuestLink *link, GuestCall *call, ErrorCause cause, const char *words)
{
	if (call->sent && call->ended)
		guest_link_end_stream(link, call, cause, words);
	else
		guest_link_fail(link, call, cause, words);
}

/* Fails what has waited for too long; true if nothing comes for what was sent. */
static bool end_late(GuestLink *link, int64_t now)
{
	bool silent = false;

	for (GuestCall *call = link->calls, *next; call; call = next) {
		next = call->next;
		if (call->deadline > now)
			continue;
		silent |= call->sent;
		give_up(link, call, CAUSE_TIMEOUT, stage_of(link));
	}
	return silent;
}

/* Nobody waits for a guest that may never have a daemon. */
static bool may_retry(const GuestLink *link, int64_t now)
{
	if (link->calls || now < link->watched + EAGER)
		return now >= link->retry;
	return now >= link->retry + RETRY_SELDOM;
}

void guest_link_tick(GuestLink *link, int64_t now)
{
	bool silent, wanted;

	(void)guest_link_ref(link);
	silent = end_late(link, now);
	wanted = link->calls || link->watch;
	if (wanted)
		link->used = now;
	if (silent && link->state == LINK_OPEN && link->answered < now - SILENCE)
		guest_link_lose(link, CAUSE_TIMEOUT, "the guest has fallen silent");
	else if (wanted && link->fd < 0 && may_retry(link, now))
		guest_link_connect(link);
	else if (wanted && link->state == LINK_HELLO && link->greeted < now - HELLO_AGAIN)
		guest_link_greet(link);
	else if (!wanted && link->used < now - KEPT_OPEN)
		guest_link_close(link, "");
	guest_watch_tick(link, now);
	guest_link_unref(link);
}

static void run_ask(GuestTask *task)
{
	guest_link_add(task->link, task->call);
}

uint64_t guest_link_next_id(GuestLink *link)
{
	return atomic_fetch_add(&link->next_id, 1) + 1;
}

void guest_link_ask(GuestLink *link, GuestCall *call)
{
	const GuestTask task = { .run = run_ask, .link = link, .call = call };

	call->sent = call->streams = false;
	guest_hub_run(link->hub, &task);
}

GuestCall *guest_link_find(const GuestLink *link, uint64_t id)
{
	GuestCall *call = link->calls;

	while (call && call->id != id)
		call = call->next;
	return call;
}

static GuestCall *find_stream(const GuestTask *task)
{
	GuestCall *call = guest_link_find(task->link, task->id);

	return call && call->streams ? call : NULL;
}

static void run_tell(GuestTask *task)
{
	if (!find_stream(task))
		return;
	(void)json_object_set_new(task->members, "stream", json_integer((json_int_t)task->id));
	guest_link_say(task->link, take_ptr(task->members));
}

void guest_link_tell(GuestLink *link, uint64_t id, json_t *members)
{
	const GuestTask task = { .run = run_tell, .link = link, .id = id, .members = members };

	guest_hub_run(link->hub, &task);
}

static void run_poke(GuestTask *task)
{
	GuestCall *call = find_stream(task);

	if (call)
		call->poked(call);
}

void guest_link_poke(GuestLink *link, uint64_t id)
{
	const GuestTask task = { .run = run_poke, .link = link, .id = id };

	guest_hub_run(link->hub, &task);
}

static void run_allow(GuestTask *task)
{
	GuestCall *call = find_stream(task);

	if (!call)
		return;
	call->window += (int64_t)task->count;
	guest_link_say(task->link, json_pack("{s:I, s:I}", "stream", (json_int_t)task->id, "credit",
					     (json_int_t)task->count));
}

void guest_link_allow(GuestLink *link, uint64_t id, size_t count)
{
	const GuestTask task = { .run = run_allow, .link = link, .id = id, .count = count };

	guest_hub_run(link->hub, &task);
}

static void run_cancel(GuestTask *task)
{
	GuestCall *call = guest_link_find(task->link, task->id);

	if (call)
		give_up(task->link, call, CAUSE_HOST, "given up");
}

void guest_link_cancel(GuestLink *link, uint64_t id)
{
	const GuestTask task = { .run = run_cancel, .link = link, .id = id };

	guest_hub_run(link->hub, &task);
}
