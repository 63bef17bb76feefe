/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of netfw/link.h share. The callers' netlink has nothing to
 * send when these are called, and nothing after.
 */

#include "netfw/link.h"
#include "netfw/netlink.h"

/* A link as the kernel tells of it. */
typedef struct LinkSeen {
	uint32_t index; /* 0: there is none */
	uint32_t group;
	bool is_tap, is_bridge;
	char name[IFNAMSIZ];
} LinkSeen;

/* Fills @ret from an RTM_NEWLINK. */
void link_read(LinkSeen *ret, const struct nlmsghdr *answer);

/* The link called @name; success also if there is none. */
int link_look(Netlink *netlink, LinkSeen *ret, const char *name, Error *err) must_check;

/* The same, of a tap; NETWORK_SETUP if it is another kind of link. */
int link_look_tap(Netlink *netlink, LinkSeen *ret, const char *name, Error *err) must_check;

/* An RTM_SETLINK for @index: its state comes by link_flag_up() and the rest as attributes. */
struct nlmsghdr *link_change(Netlink *netlink, uint32_t index, const char *words);
void link_flag_up(struct nlmsghdr *message, bool up);

/* Takes @link down and out of a bridge. */
int link_take_down(Netlink *netlink, const LinkSeen *link, Error *err) must_check;

/* @link gets the blocks; if it has others it is taken down first. */
int link_block(Netlink *netlink, const LinkSeen *link, Error *err) must_check;
/* @link has none. */
int link_unblock(Netlink *netlink, const LinkSeen *link, Error *err) must_check;
