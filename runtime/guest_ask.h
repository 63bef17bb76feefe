/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A question to a guest's daemon that is waited for, by a thread that may block. */

#include "runtime/guest_link.h"

typedef struct GuestQuery {
	const char *op;  /* a literal */
	json_t *members; /* taken over */
	int64_t timeout; /* usec */
	int cancel_fd;   /* readable once nobody wants to know any more; -1: never */
	int vmm;         /* its pidfd, with whose end the question is over; -1: it is not known */
} GuestQuery;

/* GUEST_METADATA, as guest_link_ask() has it. */
int guest_ask(GuestLink *link, const GuestQuery *query, Error *err) must_check;

/*
 * What makes a guest that was restored, copied or long paused one of its own and of now.
 * @query: its timeout and descriptors.
 */

/* The kernel's random numbers are drawn anew, from these of the host's as well. */
int guest_reseed(GuestLink *link, const GuestQuery *query, Error *err) must_check;
/* The time is the host's. */
int guest_set_clock(GuestLink *link, const GuestQuery *query, Error *err) must_check;

/* An interface of the guest as it is to be; NULL or 0: as it is. */
typedef struct GuestInterface {
	const char *name; /* the guest's, as "eth0" */
	const char *mac;
	uint32_t mtu;
	const char *ipv4, *ipv6;         /* with a prefix's length */
	const char *gateway4, *gateway6; /* without */
} GuestInterface;

/* Its addresses take the place of those it has of their family. */
int guest_set_network(GuestLink *link, const GuestQuery *query, const GuestInterface *interface,
		      Error *err) must_check;
