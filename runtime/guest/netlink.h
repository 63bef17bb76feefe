/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Requests to the kernel's rtnetlink, one at a time, each with its answer.
 */

#include "base/cleanup.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GUEST_NETLINK_MAX = 512
};

typedef struct GuestNetlink {
	_Alignas(struct nlmsghdr) char bytes[GUEST_NETLINK_MAX];
} GuestNetlink;

/* Begins a message with what its type is followed by. */
void guest_netlink_begin(GuestNetlink *message, uint16_t type, uint16_t flags, const void *header,
			 size_t size);
void guest_netlink_add(GuestNetlink *message, uint16_t type, const void *value, size_t size);

/* Return: a socket, or -errno. */
int guest_netlink_open(void) must_check;

/* Return: 0 or -errno, as the kernel says. */
int guest_netlink_call(int fd, GuestNetlink *message) must_check;

/**
 * guest_netlink_dump() - call @found with each message that answers a request for all of something
 * Return:	0, or -errno
 */
int guest_netlink_dump(int fd, GuestNetlink *message,
		       void (*found)(void *user, const struct nlmsghdr *one), void *user)
	must_check;
