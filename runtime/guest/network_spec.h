/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a set_network request asks for.
 */

#include "runtime/guest/request.h"

#include <netinet/in.h>

/* One address family; which of the two is in @family. */
typedef struct GuestAddress {
	int family;
	bool set, has_gateway;
	unsigned char prefix;
	unsigned char address[16], gateway[16];
} GuestAddress;

typedef struct GuestNetworkSpec {
	const char *interface; /* in the request's line */
	bool has_mac;
	unsigned char mac[6];
	int64_t mtu; /* 0: as it is */
	GuestAddress addresses[2];
} GuestNetworkSpec;

/* Return: 0, or -1, having answered why not. */
int guest_network_spec_read(GuestNetworkSpec *ret, const GuestRequest *request) must_check;

size_t guest_address_size(const GuestAddress *address);
