/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/netlink.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

enum {
	ANSWER_MAX = 32 * 1024
};

static struct nlmsghdr *head(GuestNetlink *message)
{
	return (struct nlmsghdr *)(void *)message->bytes;
}

void guest_netlink_begin(GuestNetlink *message, uint16_t type, uint16_t flags, const void *header,
			 size_t size)
{
	*message = (GuestNetlink){ 0 };
	assert(NLMSG_HDRLEN + size <= sizeof message->bytes);
	*head(message) = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + NLMSG_ALIGN(size)),
		.nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST),
		.nlmsg_seq = 1,
	};
	memcpy(message->bytes + NLMSG_HDRLEN, header, size);
}

void guest_netlink_add(GuestNetlink *message, uint16_t type, const void *value, size_t size)
{
	struct rtattr attribute = { .rta_type = type,
				    .rta_len = (unsigned short)(sizeof attribute + size) };
	size_t at = head(message)->nlmsg_len;

	assert(at + RTA_ALIGN(sizeof attribute + size) <= sizeof message->bytes);
	memcpy(message->bytes + at, &attribute, sizeof attribute);
	memcpy(message->bytes + at + sizeof attribute, value, size);
	head(message)->nlmsg_len = (uint32_t)(at + RTA_ALIGN(sizeof attribute + size));
}

int guest_netlink_open(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&kernel, sizeof kernel) < 0) {
		int r = -errno;

		(void)close(fd);
		return r;
	}
	return fd;
}

/* Return: 1 to go on, 0 at the end, -errno. */
static int hear(const struct nlmsghdr *one, void (*found)(void *user, const struct nlmsghdr *one),
		void *user)
{
	if (one->nlmsg_type == NLMSG_ERROR || one->nlmsg_type == NLMSG_DONE) {
		int error = 0;

		if (one->nlmsg_len >= NLMSG_HDRLEN + sizeof error)
			memcpy(&error, (const char *)one + NLMSG_HDRLEN, sizeof error);
		return error;
	}
	if (found)
		found(user, one);
	return 1;
}

int guest_netlink_dump(int fd, GuestNetlink *message,
		       void (*found)(void *user, const struct nlmsghdr *one), void *user)
{
	static _Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
	int r = 1;

	if (send(fd, message->bytes, head(message)->nlmsg_len, 0) < 0)
		return -errno;
	while (r > 0) {
		const struct nlmsghdr *one = (const struct nlmsghdr *)(const void *)answer;
		ssize_t n = recv(fd, answer, sizeof answer, 0);
		size_t left = n < 0 ? 0 : (size_t)n;

		if (n < 0 && errno != EINTR)
			return -errno;
		while (r > 0 && left >= sizeof *one && one->nlmsg_len >= sizeof *one &&
		       one->nlmsg_len <= left) {
			size_t length = NLMSG_ALIGN(one->nlmsg_len);

			r = hear(one, found, user);
			left -= length < left ? length : left;
			one = (const struct nlmsghdr *)(const void *)((const char *)one + length);
		}
	}
	return r;
}

int guest_netlink_call(int fd, GuestNetlink *message)
{
	head(message)->nlmsg_flags |= NLM_F_ACK;
	return guest_netlink_dump(fd, message, NULL, NULL);
}
