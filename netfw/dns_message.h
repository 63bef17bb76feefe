/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages of the domain name system (RFC 1035, EDNS of RFC 6891), as a
 * forwarder sees them: what a client asks, what a resolver answers, and what the
 * client is told. Of answers only what leads from the asked name to the asked
 * type is taken over. Plain values; whoever parses clears.
 */

#include "netfw/prefix.h"

enum {
	DNS_NAME_MAX = 1024, /* as text, with escapes and its NUL */
	DNS_ADDRESSES_MAX = 64,
	DNS_MESSAGE_MAX = 65535,
	DNS_LENGTH_BYTES = 2, /* before each message by TCP (RFC 7766) */
	DNS_UDP_SIZE = 512,   /* without EDNS */
	DNS_UDP_SIZE_MAX =
		1232,       /* what passes unfragmented everywhere, as of the DNS flag day 2020 */
	DNS_TTL_MAX = 3600, /* seconds, in what a client is told */
};

/* Response codes (RFC 1035, 2136). */
enum {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

/* Why, for those who understand it (RFC 8914). */
typedef enum DnsReason {
	DNS_REASON_NONE = -1,
	DNS_REASON_OTHER = 0,
	DNS_REASON_BLOCKED = 15,  /* by policy, the name */
	DNS_REASON_FILTERED = 17, /* by policy, where it leads */
	DNS_REASON_UNREACHABLE = 22,
} DnsReason;

/* What kind of answer there can be. */
typedef enum DnsKind {
	DNS_KIND_ADDRESS, /* A, AAAA */
	DNS_KIND_OTHER,
	DNS_KIND_HINTS,   /* SVCB, HTTPS: addresses that nobody would look at */
	DNS_KIND_REFUSED, /* ANY, transfers, classes other than IN */
} DnsKind;

typedef struct DnsQuery {
	uint16_t id;
	bool edns;
	uint16_t size; /* how large an answer by UDP may be */
	DnsKind kind;
	char name[DNS_NAME_MAX]; /* in lower case, without a dot at its end; "": the root */
	bool plain;              /* the name has only letters, digits, '-' and '_' in its labels */
	struct ldns_struct_rr *question;
} DnsQuery;

/**
 * dns_query_parse() - read what a client asks
 *
 * Return: 0; the DNS_* to be answered; or -EINVAL: nothing that could be answered.
 */
int dns_query_parse(DnsQuery *ret, const uint8_t *bytes, size_t size) must_check;
void dns_query_clear(DnsQuery *query);

/* Do they ask the same under the same id? */
bool dns_query_equal(const DnsQuery *a, const DnsQuery *b);

typedef struct DnsAnswer {
	uint8_t code;   /* DNS_* */
	bool truncated; /* to be asked for by TCP: there is nothing else in here */
	Prefix addresses[DNS_ADDRESSES_MAX]; /* of full length */
	size_t count;
	uint32_t ttl; /* the longest of theirs, at most DNS_TTL_MAX */
	struct ldns_struct_rr_list *records, *authority;
} DnsAnswer;

/**
 * dns_answer_parse() - read what a resolver answers to @query, asked as @id
 *
 * Return: 0, or -EINVAL: malformed, or an answer to something else.
 */
int dns_answer_parse(DnsAnswer *ret, const DnsQuery *query, uint16_t id, const uint8_t *bytes,
		     size_t size) must_check;
void dns_answer_clear(DnsAnswer *answer);

/* A message on the wire. */
typedef struct DnsMessage {
	uint8_t *bytes;
	size_t size;
} DnsMessage;

void dns_message_clear(DnsMessage *message);

/* Writes @message with its length before it to @to, which has the room. */
void dns_message_frame(uint8_t *to, const DnsMessage *message);
/* How large the message is, with its length, that begins at @bytes, of which @size are known; 0:
 * too few to say. */
size_t dns_framed_size(const uint8_t *bytes, size_t size);

/* @query for a resolver, under @id: 0 or -EINVAL. */
int dns_query_write(DnsMessage *ret, const DnsQuery *query, uint16_t id) must_check;

typedef struct DnsReply {
	uint8_t code;
	DnsReason reason;
	const DnsAnswer *answer; /* NULL: nothing but the code */
	size_t limit;            /* bytes; what is larger becomes a truncated message */
} DnsReply;

/* @reply to @query, of which dns_query_parse() may have read no more than the id: 0 or -EINVAL. */
int dns_reply_write(DnsMessage *ret, const DnsQuery *query, const DnsReply *reply) must_check;
