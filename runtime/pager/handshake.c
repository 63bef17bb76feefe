/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/handshake.h"

#include "base/clock.h"
#include "base/text.h"
#include "runtime/pager/uffd.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
	TIMEOUT = 10 * USEC_PER_SEC, /* from its connection to its last byte */
	FDS_MAX = 8,                 /* seen, so that too many are noticed */
	BACKLOG = 8
};

/* What has come so far. */
typedef struct Message {
	char text[HANDSHAKE_MAX];
	size_t used;
	int uffd; /* -1: none yet */
} Message;

int handshake_listen(int *ret, const char *path, uid_t owner, Error *err)
{
	cleanup_close int fd = -1;
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT, "socket path %s is too long",
				       path);
	text_copy(address.sun_path, sizeof address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || (unlink(path) < 0 && errno != ENOENT) ||
	    bind(fd, (const void *)&address, sizeof address) < 0)
		return error_set_errno(err, ERROR_UFFD, errno, "bind %s", path);
	if (owner != (uid_t)-1 && lchown(path, owner, owner) < 0)
		return error_set_errno(err, ERROR_UFFD, errno, "give %s to uid %u", path,
				       (unsigned)owner);
	if (listen(fd, BACKLOG) < 0)
		return error_set_errno(err, ERROR_UFFD, errno, "listen on %s", path);
	*ret = take_fd(fd);
	return 0;
}

/* A member that is no number, or not there, or negative: -1. */
static int take_number(uint64_t *ret, const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -1;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

/* Both members mean bytes; versions before 1.11 have the second only. */
static int take_page_size(uint64_t *ret, const json_t *object)
{
	if (json_object_get(object, "page_size"))
		return take_number(ret, object, "page_size");
	return take_number(ret, object, "page_size_kib");
}

static int take_region(Regions *regions, const json_t *object, size_t index, Error *err)
{
	Region *region = &regions->items[index];
	uint64_t page_size;

	if (take_number(&region->address, object, "base_host_virt_addr") < 0 ||
	    take_number(&region->size, object, "size") < 0 ||
	    take_number(&region->offset, object, "offset") < 0 ||
	    take_page_size(&page_size, object) < 0)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "region %zu lacks a number that it must have", index);
	if (index > 0 && page_size != regions->page_size)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "region %zu has pages of another size", index);
	regions->page_size = page_size;
	return 0;
}

static int take_regions(Regions *regions, const json_t *array, Error *err)
{
	size_t count = json_array_size(array);

	if (!json_is_array(array) || count == 0 || count > REGIONS_MAX)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "the VMM sent no array of 1 to %d regions", REGIONS_MAX);
	regions->count = count;
	for (size_t i = 0; i < count; i++)
		if (take_region(regions, json_array_get(array, i), i, err) < 0)
			return -1;
	return 0;
}

int handshake_parse(Regions *ret, const char *text, size_t length, uint64_t file_size, Error *err)
{
	json_t *array = length <= HANDSHAKE_MAX
				? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL)
				: NULL;
	Regions regions = { 0 };
	int r = take_regions(&regions, array, err);

	json_decref(array);
	if (r < 0 || regions_check(&regions, file_size, err) < 0)
		return -1;
	*ret = regions;
	return 0;
}

/* Takes the one descriptor there is to be; any other is closed. */
static int take_fds(Message *message, struct msghdr *header, Error *err)
{
	int fds[FDS_MAX];
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
		memcpy(fds, CMSG_DATA(c), count * sizeof *fds);
	}
	if (count == 1 && message->uffd < 0 && !(header->msg_flags & MSG_CTRUNC) &&
	    uffd_is_one(0, fds[0])) {
		message->uffd = fds[0];
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		(void)close(fds[i]);
	if (count == 0 && !(header->msg_flags & MSG_CTRUNC))
		return 0;
	return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
			       "the VMM sent something else than one userfaultfd");
}

/* Return: bytes; 0: their end or none for now, as errno has it; -1 with @err. */
static ssize_t take_part(Message *message, int connection, Error *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec part = { message->text + message->used, sizeof message->text - message->used };
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	ssize_t n = recvmsg(connection, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return error_set_errno(err, ERROR_UFFD, errno, "receive from the VMM");
	if (take_fds(message, &header, err) < 0)
		return -1;
	if (n == 0)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "the VMM hung up after %zu bytes", message->used);
	message->used += (size_t)n;
	return n;
}

/* Nothing says how long it is. An array is whole once it parses; most pieces need no try. */
static bool is_whole(const Message *message)
{
	json_t *root;

	if (!message->used || message->text[message->used - 1] != ']')
		return false;
	root = json_loadb(message->text, message->used, 0, NULL);
	json_decref(root);
	return root;
}

/* Return: 1 when the VMM's connection can be read, or @deadline is over; 0 when it ended. */
static int await(int fd, int pidfd, int64_t deadline)
{
	struct pollfd polled[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = pidfd, .events = POLLIN },
	};

	(void)poll(polled, array_size(polled), deadline < 0 ? -1 : clock_left_ms(deadline));
	return polled[0].revents || !polled[1].revents;
}

static int receive(Message *message, int connection, int pidfd, Error *err)
{
	int64_t deadline = clock_mono_us() + TIMEOUT;

	while (!is_whole(message)) {
		if (message->used == sizeof message->text)
			return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
					       "the VMM sent more than %d bytes", HANDSHAKE_MAX);
		if (clock_mono_us() >= deadline)
			return error_set_cause(err, ERROR_UFFD, CAUSE_TIMEOUT,
					       "the VMM sent %zu bytes and no more", message->used);
		if (!await(connection, pidfd, deadline))
			return error_set(err, ERROR_UFFD, "the VMM ended");
		if (take_part(message, connection, err) < 0)
			return -1;
	}
	if (message->uffd < 0)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT, "the VMM sent no userfaultfd");
	return 0;
}

/* The next connection, if it is @vmm's; -1: another's, or none. */
static int take_connection(int listener, const ProcessId *vmm)
{
	cleanup_close int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer = { 0 };
	socklen_t size = sizeof peer;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -1;
	return peer.pid == vmm->pid ? take_fd(fd) : -1;
}

static int await_connection(int *ret, int listener, const HandshakePeer *vmm, Error *err)
{
	int fd = -1;

	while (fd < 0) {
		if (vmm->deadline >= 0 && clock_mono_us() >= vmm->deadline)
			return error_set_cause(err, ERROR_UFFD, CAUSE_TIMEOUT,
					       "the VMM, pid %d, has a userfaultfd and does not "
					       "connect",
					       (int)vmm->id.pid);
		if (!await(listener, vmm->pidfd, vmm->deadline))
			return error_set(err, ERROR_UFFD, "the VMM ended");
		fd = take_connection(listener, &vmm->id);
	}
	*ret = fd;
	return 0;
}

int handshake_accept(Handshake *ret, int listener, const HandshakePeer *vmm, uint64_t file_size,
		     Error *err)
{
	cleanup_free Message *message = new0(Message);
	cleanup_close int connection = -1, uffd = -1;
	int r;

	if (await_connection(&connection, listener, vmm, err) < 0)
		return -1;
	message->uffd = -1;
	r = receive(message, connection, vmm->pidfd, err);
	uffd = message->uffd;
	if (r < 0 ||
	    handshake_parse(&ret->regions, message->text, message->used, file_size, err) < 0)
		return -1;
	ret->uffd = take_fd(uffd);
	ret->connection = take_fd(connection);
	return 0;
}
