/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/listener_socket.h"

#include "base/text.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	BACKLOG = 1024
};

static int refuse(Error *err, int errnum, const char *doing, const char *address)
{
	ErrorKind kind =
		errnum == EMFILE || errnum == ENFILE ? ERROR_QUEUE_FULL : ERROR_INVALID_REQUEST;

	return error_set_errno(err, kind, errnum, "%s %s", doing, address);
}

/* Removes a socket that nobody answers; a live one and what is no socket stay. */
static int remove_stale(const struct sockaddr_un *address, Error *err)
{
	const char *path = address->sun_path;
	cleanup_close int probe = -1;
	struct stat info;

	if (lstat(path, &info) < 0)
		return errno == ENOENT ? 0 : refuse(err, errno, "look at", path);
	if (!S_ISSOCK(info.st_mode))
		return error_set(err, ERROR_INVALID_REQUEST,
				 "listen on %s: it exists and is not a socket", path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return refuse(err, errno, "open a socket for", path);
	if (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 ||
	    errno == EAGAIN)
		return error_set(err, ERROR_INVALID_REQUEST,
				 "listen on %s: another process listens there", path);
	if (errno != ECONNREFUSED)
		return refuse(err, errno, "connect to", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return refuse(err, errno, "remove stale", path);
	return 0;
}

static int open_unix(ListenerSocket *ret, const char *path, Error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_close int fd = -1;
	struct stat info;

	if (path[0] != '/' || strlen(path) >= sizeof address.sun_path)
		return error_set(err, ERROR_INVALID_REQUEST,
				 "listen on unix:%s: not an absolute path of at most %zu bytes",
				 path, sizeof address.sun_path - 1);
	text_copy(address.sun_path, sizeof address.sun_path, path);
	if (remove_stale(&address, err) < 0)
		return -1;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* bind() gives the file the socket's mode, so that it never has a wider one. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0 ||
	    lstat(path, &info) < 0)
		return refuse(err, errno, "listen on", path);

	ret->path = text_dup(path);
	ret->inode = info.st_ino;
	ret->fd = take_fd(fd);
	return 0;
}

/* Splits "host:port" or "[host]:port"; false if it is neither. */
static bool split(const char *address, char *host, size_t size, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t length = colon ? (size_t)(colon - address) : 0;

	if (length && address[0] == '[' && address[length - 1] == ']') {
		address++;
		length -= 2;
	} else if (memchr(address, ':', length)) {
		return false;
	}
	if (!length || length >= size || !colon[1] ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return false;
	text_copy(host, length + 1, address);
	*port = colon + 1;
	return true;
}

static unsigned port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name = { .any = { .sa_family = AF_UNSPEC } };
	socklen_t size = sizeof name;

	if (getsockname(fd, &name.any, &size) < 0)
		return 0;
	return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

/* A socket that listens on @info, or -errno. */
static int listen_on(const struct addrinfo *info)
{
	cleanup_close int fd =
		socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const int yes = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
	    bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(fd);
}

static int open_tcp(ListenerSocket *ret, const char *address, Error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found = NULL;
	const char *port;
	char host[256];
	int r, fd = -EADDRNOTAVAIL;

	if (!split(address, host, sizeof host, &port))
		return error_set(err, ERROR_INVALID_REQUEST,
				 "listen on %s: neither unix:/path nor host:port", address);
	r = getaddrinfo(host, port, &hints, &found);
	if (r)
		return error_set(err, ERROR_INVALID_REQUEST, "listen on %s: %s", address,
				 gai_strerror(r));
	for (const struct addrinfo *info = found; info && fd < 0; info = info->ai_next)
		fd = listen_on(info);
	freeaddrinfo(found);
	if (fd < 0)
		return refuse(err, -fd, "listen on", address);

	ret->fd = fd;
	ret->port = port_of(fd);
	return 0;
}

int listener_socket_open(ListenerSocket *ret, const char *address, Error *err)
{
	*ret = (ListenerSocket){ .fd = -1 };
	if (strncmp(address, "unix:", 5) == 0)
		return open_unix(ret, address + 5, err);
	return open_tcp(ret, address, err);
}

void listener_socket_close(ListenerSocket *socket)
{
	struct stat info;

	if (socket->path && socket->fd >= 0 && lstat(socket->path, &info) == 0 &&
	    info.st_ino == socket->inode)
		(void)unlink(socket->path);
	closep(&socket->fd);
	socket->fd = -1;
	free(take_ptr(socket->path));
}
