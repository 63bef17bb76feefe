/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Messages of the domain name system, put together and taken apart byte by byte. */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_HTTPS = 65,
	DNS_ANY = 255,
	DNS_QUERY_FLAGS = 0x0100,  /* recursion desired */
	DNS_ANSWER_FLAGS = 0x8180, /* and available */
	DNS_TRUNCATED_FLAG = 0x0200,
	DNS_BYTES = 8192,
};

/* One record; @data as text: an address, a name, or for TXT whatever it is. */
typedef struct DnsRecord {
	const char *owner;
	uint16_t type;
	uint32_t ttl;
	const char *data;
} DnsRecord;

typedef struct DnsSpec {
	uint16_t id, flags;
	const char *name;     /* NULL: no question */
	uint16_t type, class; /* class 0: IN */
	const DnsRecord *answers;
	size_t answer_count;
	const DnsRecord *authority; /* of one, or NULL */
	uint16_t edns;              /* the size it offers; 0: no EDNS */
} DnsSpec;

typedef struct DnsBytes {
	uint8_t bytes[DNS_BYTES];
	size_t size;
} DnsBytes;

DnsBytes dns_make(const DnsSpec *spec);

/* What there is in a message: its header, and what can be found in it without looking closely. */
typedef struct DnsSeen {
	uint16_t id;
	uint8_t code;
	bool response, truncated;
	uint16_t questions, answers, authorities, additional;
	int reason; /* of EDNS; -1: none */
} DnsSeen;

DnsSeen dns_look(const uint8_t *bytes, size_t size);
