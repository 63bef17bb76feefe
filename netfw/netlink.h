/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A conversation with rtnetlink: several messages are sent in one, and answered.
 *
 * The kernel works on them in order and goes on after one that fails; it tells
 * of failures unasked, so that an acknowledgement is asked of the last alone.
 * One that must not happen unless another has succeeded belongs into the next
 * netlink_run(). One thread at a time.
 */

#include "base/error.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

typedef struct Netlink Netlink;

/* @err: NETWORK_SETUP */
int netlink_open(Netlink **ret, Error *err) must_check;
void netlink_close(Netlink *netlink);
DEFINE_CLEANUP(Netlink *, netlink_close);

/* A message to be. */
typedef struct NetlinkStep {
	uint16_t type, flags; /* RTM_*; NLM_F_* but NLM_F_REQUEST and NLM_F_ACK */
	const char *words;    /* for errors, such as "bring it up"; not copied */
	int passed_over;      /* an errno that is no failure; 0: none */
} NetlinkStep;

enum {
	NETLINK_ROOM = 512 /* for all that is put into one message */
};

/* A message behind those there are; valid until the next call with @netlink. */
struct nlmsghdr *netlink_add(Netlink *netlink, const NetlinkStep *step);

/* The attributes of @message, behind a header of @head bytes: the one after @before, or NULL. */
const struct nlattr *netlink_attribute(const struct nlmsghdr *message, size_t head,
				       const struct nlattr *before);
/* Those in @nest. */
const struct nlattr *netlink_nested(const struct nlattr *nest, const struct nlattr *before);

typedef void NetlinkEach(void *user, const struct nlmsghdr *answer);

/**
 * netlink_run() - send what was added and wait for all answers
 * @about:	whom, for errors: "<about>: <words> (<what the kernel says>): <strerror>"
 * @each:	called for each answer to a query; NULL: there is none
 * @err:	NETWORK_SETUP; the first failure, and all others were tried
 *
 * A dump has to be the only message. It is repeated if something has changed meanwhile, so that
 * @each may meet an answer twice. Return: how many were passed over; -1.
 */
int netlink_run(Netlink *netlink, const char *about, NetlinkEach *each, void *user, Error *err)
	must_check;
