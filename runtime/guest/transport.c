/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/transport.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
	PAUSE_MS = 500,
	LOOK_MS = 1000,
	LOOK_LATER_MS = 5000,
	LOOKS_EARLY = 60,
};

static const char ports[] = "/sys/class/virtio-ports";

static bool is_port_named(const char *entry)
{
	char path[PATH_MAX], name[sizeof GUEST_SERIAL + 1] = "";
	cleanup_close int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof path, "%s/%s/name", ports, entry);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, sizeof name - 1);
	return n > 0 && strcmp(name, GUEST_SERIAL "\n") == 0;
}

/* Return: the port, or -1. */
static int open_port(void)
{
	cleanup_closedir DIR *dir = opendir(ports);
	const struct dirent *entry;
	char path[PATH_MAX];

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || !is_port_named(entry->d_name))
			continue;
		(void)snprintf(path, sizeof path, "/dev/%s", entry->d_name);
		return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	}
	return -1;
}

static int listen_at(int domain, const void *address, size_t size)
{
	int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, address, (socklen_t)size) < 0 || listen(fd, 4) < 0) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return fd;
}

static int listen_vsock(void)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK,
				       .svm_cid = VMADDR_CID_ANY,
				       .svm_port = GUEST_PORT };

	return listen_at(AF_VSOCK, &address, sizeof address);
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return listen_at(AF_UNIX, &address, sizeof address);
}

/* A port comes before vsock, which can be listened at in a guest that has none. */
static void look(GuestTransport *transport)
{
	int64_t now = guest_clock_ms();

	if (transport->socket || transport->fd >= 0 || now < transport->look_at)
		return;
	transport->looks++;
	transport->look_at = now + (transport->looks < LOOKS_EARLY ? LOOK_MS : LOOK_LATER_MS);
	transport->fd = open_port();
	transport->serial = transport->fd >= 0;
	if (transport->serial) {
		closep(&transport->listener);
		transport->listener = -1;
		guest_session_announce(transport->session);
	} else if (transport->listener < 0) {
		transport->listener = listen_vsock();
	}
}

int guest_transport_open(GuestTransport *ret, GuestSession *session, const char *socket)
{
	*ret = (GuestTransport){ .session = session, .socket = socket, .listener = -1, .fd = -1 };
	if (socket)
		ret->listener = listen_unix(socket);
	else
		look(ret);
	return socket && ret->listener < 0 ? ret->listener : 0;
}

void guest_transport_close(GuestTransport *transport)
{
	closep(&transport->fd);
	closep(&transport->listener);
	if (transport->socket)
		(void)unlink(transport->socket);
}

void guest_transport_prepare(GuestTransport *transport, GuestPoll *poll)
{
	bool accepts = guest_clock_ms() >= transport->accept_at;
	size_t room, output;
	int events = 0;

	transport->place = 0;
	transport->listener_place = guest_poll_add(poll, transport->listener, accepts ? POLLIN : 0);
	guest_poll_by(poll, accepts ? -1 : transport->accept_at);
	if (transport->fd < 0) {
		guest_poll_by(poll, transport->socket ? -1 : transport->look_at);
		return;
	}
	if (guest_clock_ms() < transport->pause_to) {
		guest_poll_by(poll, transport->pause_to);
		return;
	}
	(void)guest_session_output(transport->session, &output);
	if (guest_session_room(transport->session, &room))
		events |= POLLIN;
	if (output)
		events |= POLLOUT;
	transport->place = guest_poll_add(poll, transport->fd, (short)events);
}

/*
 * The other end is gone. A port stays, and its hang-up would end every poll() at once, so that it
 * is left alone for a while.
 */
static void hang_up(GuestTransport *transport, bool lost)
{
	guest_session_close(transport->session);
	if (transport->serial && !lost) {
		transport->pause_to = guest_clock_ms() + PAUSE_MS;
		return;
	}
	(void)close(transport->fd);
	transport->fd = -1;
	transport->serial = false;
	transport->look_at = 0;
}

static bool is_host(int fd)
{
	struct sockaddr_vm peer = { 0 };
	socklen_t size = sizeof peer;

	return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
	       peer.svm_cid == VMADDR_CID_HOST;
}

static void take_connection(GuestTransport *transport)
{
	int fd = accept4(transport->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	/* Whoever cannot be accepted, as for lack of memory, would end every poll() at once. */
	if (fd < 0) {
		transport->accept_at = guest_clock_ms() + PAUSE_MS;
		return;
	}
	if (!transport->socket && !is_host(fd)) {
		(void)close(fd);
		return;
	}
	if (transport->fd >= 0)
		hang_up(transport, true);
	transport->fd = fd;
	transport->pause_to = 0;
}

/* Return: false once the other end is gone. */
static bool read_some(GuestTransport *transport)
{
	size_t room;
	char *to = guest_session_room(transport->session, &room);
	ssize_t n = to ? read(transport->fd, to, room) : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		hang_up(transport, n < 0);
		return false;
	}
	guest_session_read(transport->session, (size_t)n);
	return true;
}

static void write_some(GuestTransport *transport)
{
	size_t length;
	const char *bytes = guest_session_output(transport->session, &length);
	ssize_t n = length ? write(transport->fd, bytes, length) : 0;

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		hang_up(transport, true);
	else if (n > 0)
		guest_session_written(transport->session, (size_t)n);
}

void guest_transport_serve(GuestTransport *transport, const GuestPoll *poll)
{
	short got = guest_poll_got(poll, transport->place);

	if (guest_poll_got(poll, transport->listener_place)) {
		take_connection(transport);
		return;
	}
	/* A hang-up is seen by reading, once all is read; or if nothing is to be read, right now.
	 */
	if ((got & (POLLIN | POLLHUP | POLLERR)) && !read_some(transport))
		return;
	if (got & POLLOUT)
		write_some(transport);
	look(transport);
}
