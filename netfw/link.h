/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Interfaces of the host by netlink: what makes a tap part of a network.
 *
 * All taps of VMs share one pair of tc blocks, which an anchor, a tap that
 * nobody uses, keeps alive: the filter's programs are attached to the blocks
 * once. A tap has the blocks before it comes up, so that there is no moment at
 * which it is up and not filtered; all the rest is one message. They are in a
 * group of their own: ours are found and removed by it. Safe from any thread.
 */

#include "base/error.h"
#include "netfw/prefix.h"

#include <net/if.h>

enum {
	LINK_BLOCK_FROM_VM = 0x68740001, /* shared by clsact's ingress side */
	LINK_BLOCK_TO_VM = 0x68740002,
};

typedef struct LinkConfig {
	uint32_t group;     /* of links, for all taps of this agent; 1 to 0x3fffffff */
	const char *anchor; /* name of the anchor */
} LinkConfig;

/**
 * link_prepare() - make the anchor with its blocks, unless it is there
 * @err:	NETWORK_SETUP
 */
int link_prepare(const LinkConfig *config, Error *err) must_check;

/**
 * link_attach() - the programs on the blocks; replaces those that are there, each atomically
 * @from_vm:	of a loaded program of type SCHED_CLS, as is @to_vm
 * @err:	NETWORK_SETUP
 */
int link_attach(int from_vm, int to_vm, Error *err) must_check;

/* A tap of a VM. */
typedef struct LinkTap {
	const char *name;
	uint32_t mtu;       /* 0: as it is */
	const uint8_t *mac; /* six bytes, of the host's end; NULL: as it is */
	const char *bridge; /* to be a port of, apart from other such ports; NULL: routed */
	bool filtered;      /* with the blocks; else without any */
	Prefix address4;    /* length 0: none. The guest's, as the host has it; if bridged, none */
	Prefix address6;    /* the same; without, the tap has no IPv6 */
	/* Six bytes, for permanent neighbour entries; NULL: none. Bridged, it is the only one that
	 * the port is for, so that the bridge need not learn it. */
	const uint8_t *guest_mac;
} LinkTap;

/**
 * link_up() - configure the tap and bring it up
 * @ret:	its index
 * @err:	NETWORK_SETUP: in words which step; the tap is down then, without routes.
 *		CAUSE_EXHAUSTED: the bridge has as many ports as it can have
 *
 * Idempotent: one that is up already gets what it lacks.
 */
int link_up(uint32_t *ret, const LinkConfig *config, const LinkTap *tap, Error *err) must_check;

/* Down, out of a bridge, without routes and neighbours; absent is success, and only taps are. */
int link_down(const char *name, Error *err) must_check;

/**
 * link_remove() - remove links by name, all of them in one message
 * @names:	@count of them, taps but not the anchor; those absent are passed over
 * @err:	NETWORK_SETUP; nothing is removed if one of @names is no tap
 *
 * Costs the kernel some 20 ms for one and half a millisecond each for many. On the way they are in
 * a group for that, which is @config's with 0x40000000 added.
 */
int link_remove(const LinkConfig *config, const char *const *names, size_t count, Error *err)
	must_check;

/* Calls @each for every link of our group but the anchor; more than once if links come or go. */
int link_each(const LinkConfig *config,
	      void (*each)(void *user, const char *name, uint32_t ifindex), void *user, Error *err)
	must_check;

/* The index of @name, or 0. */
uint32_t link_index(const char *name);
/* Is there a link with @ifindex? */
bool link_is(uint32_t ifindex);

/* NETWORK_SETUP: there is no bridge called @name. */
int link_check_bridge(const char *name, Error *err) must_check;

/* The gateway's address on the loopback interface, so that the host answers for it. Idempotent.
 * Neighbour discovery looks at the tap alone: there an IPv6 gateway has its address. */
int link_add_address(const char *name, const Prefix *address, Error *err) must_check;

/* Calls @each for every address of the host, as prefixes of full length; as link_each() does. */
int link_each_address(void (*each)(void *user, const Prefix *address), void *user, Error *err)
	must_check;

/* Removes the anchor, and with it the programs. For uninstalling, and tests. */
void link_unprepare(const LinkConfig *config);
