/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/listener.h"

#include "agent/listener_socket.h"

#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum {
	SOCKETS_MAX = 16,
	PAUSE_MS = 50 /* when nothing can be accepted, nor refused */
};

struct Listener {
	ListenerAccepted *accepted;
	void *user;
	ListenerSocket sockets[SOCKETS_MAX];
	unsigned count;
	int stop;  /* eventfd, readable once the thread shall end */
	int spare; /* given up when there are no more descriptors; -1: lost */
	bool running;
	pthread_t thread;
};

Listener *listener_new(ListenerAccepted *accepted, void *user)
{
	Listener *listener = new0(Listener);

	listener->accepted = accepted;
	listener->user = user;
	listener->stop = -1;
	listener->spare = -1;
	return listener;
}

void listener_free(Listener *listener)
{
	listener_stop(listener);
	closep(&listener->stop);
	closep(&listener->spare);
	free(listener);
}

int listener_add(Listener *listener, const char *address, Error *err)
{
	if (listener->count == SOCKETS_MAX)
		return error_set(err, ERROR_INVALID_REQUEST, "listen on %s: more than %d addresses",
				 address, SOCKETS_MAX);
	if (listener_socket_open(&listener->sockets[listener->count], address, err) < 0)
		return -1;
	listener->count++;
	return 0;
}

unsigned listener_port(const Listener *listener, unsigned i)
{
	return i < listener->count ? listener->sockets[i].port : 0;
}

static int spare_open(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Out of descriptors: turns one client away with the spare; false if that cannot be done. */
static bool turn_away(Listener *listener, int socket)
{
	int fd;

	closep(&listener->spare);
	fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
	closep(&fd);
	listener->spare = spare_open();
	return fd >= 0 && listener->spare >= 0;
}

/* Accepts what waits at @socket; false if it is better to pause. */
static bool accept_all(Listener *listener, int socket)
{
	const int yes = 1;

	for (;;) {
		int fd = accept4(socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			/* Fails on a unix socket, which needs it not. */
			(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
			listener->accepted(listener->user, fd);
			continue;
		}
		switch (errno) {
		case EAGAIN:
			return true;
		case EMFILE:
		case ENFILE:
			if (!turn_away(listener, socket))
				return false;
			break;
		case EINTR:
		case ECONNABORTED:
		case EPROTO:
			break; /* that connection's own trouble */
		default:
			return false;
		}
	}
}

/* Accepts at every socket that is ready; false if it is better to pause. */
static bool accept_ready(Listener *listener, const struct pollfd *fds)
{
	bool fine = true;

	for (unsigned i = 0; i < listener->count; i++)
		if (fds[i].revents && !accept_all(listener, fds[i].fd))
			fine = false;
	if (listener->spare < 0)
		listener->spare = spare_open();
	return fine;
}

static void *work(void *arg)
{
	Listener *listener = arg;
	struct pollfd fds[SOCKETS_MAX + 1] = { { .fd = listener->stop, .events = POLLIN } };

	(void)pthread_setname_np(pthread_self(), "listener");
	for (unsigned i = 0; i < listener->count; i++)
		fds[i + 1] = (struct pollfd){ .fd = listener->sockets[i].fd, .events = POLLIN };

	for (;;) {
		if (poll(fds, listener->count + 1, -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		if (!accept_ready(listener, fds + 1))
			(void)poll(fds, 1, PAUSE_MS);
	}
}

int listener_start(Listener *listener, Error *err)
{
	int r;

	listener->stop = eventfd(0, EFD_CLOEXEC);
	listener->spare = spare_open();
	if (listener->stop < 0 || listener->spare < 0)
		return error_set_errno(err, ERROR_QUEUE_FULL, errno, "prepare to listen");
	r = pthread_create(&listener->thread, NULL, work, listener);
	if (r)
		return error_set_errno(err, ERROR_QUEUE_FULL, r, "start the listener's thread");
	listener->running = true;
	return 0;
}

void listener_stop(Listener *listener)
{
	if (listener->running) {
		const uint64_t one = 1;
		ssize_t n = write(listener->stop, &one, sizeof one);

		assert(n == sizeof one);
		(void)n;
		(void)pthread_join(listener->thread, NULL);
		listener->running = false;
	}
	for (unsigned i = 0; i < listener->count; i++)
		listener_socket_close(&listener->sockets[i]);
}
