/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fault_server.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
	HEARD_MAX = 64 * 1024,
};

struct FaultServer {
	const FaultStep *steps;
	size_t count;
	char dir[40];
	char *path;
	int listener, end;
	pthread_t thread;
	bool joined;
	/* the thread's until it has been joined */
	size_t requests;
	char log[HEARD_MAX];
	char heard[HEARD_MAX];
	size_t used;
};

/* Waits for @fd: false when the server is to end. */
static bool wait_for(const FaultServer *server, int fd)
{
	struct pollfd fds[] = {
		{ .fd = server->end, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};

	return poll(fds, array_size(fds), -1) > 0 && !fds[0].revents;
}

/* The length of the whole request at the front of what was heard, or 0. */
static size_t whole_request(const FaultServer *server)
{
	const char *body = strstr(server->heard, "\r\n\r\n");
	const char *length = strcasestr(server->heard, "\r\nContent-Length:");
	size_t needed;

	if (!body)
		return 0;
	body += 4;
	needed = (size_t)(body - server->heard);
	if (length && length < body)
		needed += strtoul(length + 17, NULL, 10);
	return needed <= server->used ? needed : 0;
}

static void note_request(FaultServer *server, size_t length)
{
	size_t used = strlen(server->log);
	const char *body = strstr(server->heard, "\r\n\r\n") + 4;
	int head = (int)strcspn(server->heard, "\r");
	int rest = (int)(length - (size_t)(body - server->heard));

	/* "PUT /path HTTP/1.1" without its last word. */
	head -= (int)strlen(" HTTP/1.1");
	(void)snprintf(server->log + used, sizeof server->log - used, "%.*s %.*s\n", head,
		       server->heard, rest, body);
	server->requests++;
	server->used -= length;
	memmove(server->heard, server->heard + length, server->used + 1);
}

/* Reads one request: false at the connection's or the server's end. */
static bool hear(FaultServer *server, int client)
{
	size_t length;

	while (!(length = whole_request(server))) {
		ssize_t n;

		if (!wait_for(server, client))
			return false;
		n = recv(client, server->heard + server->used,
			 sizeof server->heard - 1 - server->used, 0);
		if (n <= 0)
			return false;
		server->used += (size_t)n;
		server->heard[server->used] = '\0';
	}
	note_request(server, length);
	return true;
}

static void say(int client, const FaultStep *step)
{
	for (size_t i = 0; i <= step->repeats; i++)
		if (send(client, step->says, strlen(step->says), MSG_NOSIGNAL) < 0)
			return;
}

static void serve(FaultServer *server, int client)
{
	server->used = 0;
	server->heard[0] = '\0';
	while (hear(server, client)) {
		size_t i = server->requests - 1;
		const FaultStep *step = &server->steps[i < server->count ? i : server->count - 1];

		say(client, step);
		if (step->then == FAULT_STALLS)
			(void)wait_for(server, -1);
		if (step->then != FAULT_STAYS)
			return;
	}
}

static void *server_main(void *user)
{
	FaultServer *server = user;

	while (wait_for(server, server->listener)) {
		cleanup_close int client = accept(server->listener, NULL, NULL);

		if (client >= 0)
			serve(server, client);
	}
	return NULL;
}

FaultServer *fault_server_new(const FaultStep *steps, size_t count)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	FaultServer *server = new0(FaultServer);

	server->steps = steps;
	server->count = count;
	(void)stpcpy(server->dir, "/tmp/hearth-fault-XXXXXX");
	cr_assert_not_null(mkdtemp(server->dir));
	server->path = text_printf("%s/api.sock", server->dir);
	text_copy(address.sun_path, sizeof address.sun_path, server->path);
	server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	server->end = eventfd(0, EFD_CLOEXEC);
	cr_assert_eq(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
	cr_assert_eq(listen(server->listener, 8), 0);
	cr_assert_eq(pthread_create(&server->thread, NULL, server_main, server), 0);
	return server;
}

const char *fault_server_path(const FaultServer *server)
{
	return server->path;
}

const char *fault_server_stop(FaultServer *server)
{
	if (!server->joined) {
		(void)eventfd_write(server->end, 1);
		(void)pthread_join(server->thread, NULL);
		server->joined = true;
	}
	return server->log;
}

size_t fault_server_count(FaultServer *server)
{
	(void)fault_server_stop(server);
	return server->requests;
}

void fault_server_free(FaultServer *server)
{
	(void)fault_server_stop(server);
	(void)close(server->listener);
	(void)close(server->end);
	(void)unlink(server->path);
	(void)rmdir(server->dir);
	free(server->path);
	free(server);
}
