/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/dns_message.h"

#include "base/text.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

enum {
	HEADER_BYTES = 12,
	ADDITIONAL_AT = 10,   /* in the header: how many additional records there are */
	FLAG_RESPONSE = 0x80, /* in the third byte */
	CHAIN_MAX = 16,       /* names that lead from one to the next */
	TYPE_SVCB = 64,
	TYPE_HTTPS = 65,
	TYPE_META_FIRST = 128, /* to 255: no types of data (RFC 6895) */
	TYPE_META_LAST = 255,
};

static void free_packet(ldns_pkt **packet)
{
	ldns_pkt_free(*packet);
}

static bool is_plain(const char *name)
{
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == strlen(name);
}

/* As text in lower case. */
static int read_name(DnsQuery *ret, const ldns_rdf *name)
{
	cleanup_free char *text = ldns_rdf2str(name);
	size_t length = text ? strlen(text) : 0;

	if (length == 0 || length >= sizeof ret->name)
		return -EINVAL;
	if (text[length - 1] == '.')
		text[length - 1] = '\0';
	text_copy(ret->name, sizeof ret->name, text);
	text_lower(ret->name);
	ret->plain = is_plain(ret->name);
	return 0;
}

static DnsKind kind_of(const ldns_rr *question)
{
	unsigned type = ldns_rr_get_type(question);

	if (ldns_rr_get_class(question) != LDNS_RR_CLASS_IN || type == LDNS_RR_TYPE_OPT ||
	    (type >= TYPE_META_FIRST && type <= TYPE_META_LAST))
		return DNS_KIND_REFUSED;
	if (type == LDNS_RR_TYPE_A || type == LDNS_RR_TYPE_AAAA)
		return DNS_KIND_ADDRESS;
	return type == TYPE_SVCB || type == TYPE_HTTPS ? DNS_KIND_HINTS : DNS_KIND_OTHER;
}

static uint16_t size_of(const ldns_pkt *packet)
{
	uint16_t size = ldns_pkt_edns_udp_size(packet);

	if (!ldns_pkt_edns(packet) || size < DNS_UDP_SIZE)
		return DNS_UDP_SIZE;
	return size > DNS_UDP_SIZE_MAX ? DNS_UDP_SIZE_MAX : size;
}

/*
 * ldns loses the memory of every OPT and TSIG of a message but the last. A query of ours has one
 * additional record at most (more OPTs are wrong: RFC 6891 §6.1.1; signatures are not verified
 * here), and none is read of an answer.
 */
static bool has_many_additional(const uint8_t *bytes)
{
	return bytes[ADDITIONAL_AT] > 0 || bytes[ADDITIONAL_AT + 1] > 1;
}

static int parse_without_additional(ldns_pkt **ret, const uint8_t *bytes, size_t size)
{
	cleanup_free uint8_t *copy = malloc(size);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, size);
	memset(copy + ADDITIONAL_AT, 0, 2);
	return ldns_wire2pkt(ret, copy, size) == LDNS_STATUS_OK ? 0 : -EINVAL;
}

int dns_query_parse(DnsQuery *ret, const uint8_t *bytes, size_t size)
{
	cleanup_(free_packet) ldns_pkt *packet = NULL;
	const ldns_rr *question;

	*ret = (DnsQuery){ .size = DNS_UDP_SIZE };
	if (size < HEADER_BYTES || size > DNS_MESSAGE_MAX || (bytes[2] & FLAG_RESPONSE))
		return -EINVAL;
	ret->id = (uint16_t)(bytes[0] << 8 | bytes[1]);
	if (has_many_additional(bytes) || ldns_wire2pkt(&packet, bytes, size) != LDNS_STATUS_OK)
		return DNS_FORMERR;
	ret->edns = ldns_pkt_edns(packet);
	ret->size = size_of(packet);
	if (ldns_pkt_get_opcode(packet) != LDNS_PACKET_QUERY)
		return DNS_NOTIMP;
	if (ldns_pkt_qdcount(packet) != 1 || ldns_pkt_ancount(packet) != 0)
		return DNS_FORMERR;
	question = ldns_rr_list_rr(ldns_pkt_question(packet), 0);
	if (read_name(ret, ldns_rr_owner(question)) < 0)
		return DNS_FORMERR;
	ret->kind = kind_of(question);
	ret->question = ldns_rr_clone(question);
	return ret->question ? 0 : DNS_SERVFAIL;
}

void dns_query_clear(DnsQuery *query)
{
	ldns_rr_free(query->question);
	query->question = NULL;
}

static bool same_question(const ldns_rr *a, const ldns_rr *b)
{
	return ldns_rr_get_type(a) == ldns_rr_get_type(b) &&
	       ldns_rr_get_class(a) == ldns_rr_get_class(b) &&
	       ldns_dname_compare(ldns_rr_owner(a), ldns_rr_owner(b)) == 0;
}

bool dns_query_equal(const DnsQuery *a, const DnsQuery *b)
{
	return a->id == b->id && a->question && b->question &&
	       same_question(a->question, b->question);
}

static bool is_answer(const ldns_pkt *packet, const DnsQuery *query, uint16_t id)
{
	return ldns_pkt_qr(packet) && ldns_pkt_id(packet) == id &&
	       ldns_pkt_get_opcode(packet) == LDNS_PACKET_QUERY && ldns_pkt_qdcount(packet) == 1 &&
	       same_question(ldns_rr_list_rr(ldns_pkt_question(packet), 0), query->question);
}

static void keep(ldns_rr_list *list, const ldns_rr *record)
{
	ldns_rr *copy = ldns_rr_clone(record);

	if (ldns_rr_ttl(copy) > DNS_TTL_MAX)
		ldns_rr_set_ttl(copy, DNS_TTL_MAX);
	(void)ldns_rr_list_push_rr(list, copy);
}

/* The first record of @type that is @owner's, from number @at on. */
static const ldns_rr *find(const ldns_rr_list *list, const ldns_rdf *owner, ldns_rr_type type,
			   size_t *at)
{
	for (; *at < ldns_rr_list_rr_count(list); ++*at) {
		const ldns_rr *record = ldns_rr_list_rr(list, *at);

		if (ldns_rr_get_type(record) == type &&
		    ldns_rr_get_class(record) == LDNS_RR_CLASS_IN &&
		    ldns_dname_compare(ldns_rr_owner(record), owner) == 0)
			return ldns_rr_list_rr(list, (*at)++);
	}
	return NULL;
}

static void add_address(DnsAnswer *ret, const ldns_rr *record)
{
	const ldns_rdf *data = ldns_rr_rdf(record, 0);
	bool four = ldns_rr_get_type(record) == LDNS_RR_TYPE_A;
	Prefix *address = &ret->addresses[ret->count++];

	*address = (Prefix){ .family = four ? 4 : 6, .length = four ? 32 : 128 };
	memcpy(address->address, ldns_rdf_data(data), four ? 4 : 16);
	if (ldns_rr_ttl(record) > ret->ttl)
		ret->ttl = ldns_rr_ttl(record);
	if (ret->ttl > DNS_TTL_MAX)
		ret->ttl = DNS_TTL_MAX;
}

static bool is_address_record(const ldns_rr *record, const DnsQuery *query)
{
	const ldns_rdf *data = ldns_rr_rdf(record, 0);
	size_t size = ldns_rr_get_type(record) == LDNS_RR_TYPE_A ? 4 : 16;

	return query->kind == DNS_KIND_ADDRESS && data && ldns_rdf_size(data) == size;
}

/* All of @owner's that the query is for. */
static void take_records(DnsAnswer *ret, const DnsQuery *query, const ldns_rr_list *answer,
			 const ldns_rdf *owner)
{
	ldns_rr_type type = ldns_rr_get_type(query->question);
	const ldns_rr *record;

	for (size_t at = 0; (record = find(answer, owner, type, &at));) {
		if (query->kind == DNS_KIND_OTHER) {
			keep(ret->records, record);
		} else if (is_address_record(record, query) && ret->count < DNS_ADDRESSES_MAX) {
			add_address(ret, record);
			keep(ret->records, record);
		}
	}
}

/* From the name that was asked for along its aliases. */
static void follow(DnsAnswer *ret, const DnsQuery *query, const ldns_rr_list *answer)
{
	const ldns_rdf *owner = ldns_rr_owner(query->question);
	bool aliases = ldns_rr_get_type(query->question) != LDNS_RR_TYPE_CNAME;

	for (int i = 0; owner && i < CHAIN_MAX; i++) {
		size_t at = 0;
		const ldns_rr *alias =
			aliases ? find(answer, owner, LDNS_RR_TYPE_CNAME, &at) : NULL;

		if (!alias) {
			take_records(ret, query, answer, owner);
			return;
		}
		keep(ret->records, alias);
		owner = ldns_rr_rdf(alias, 0);
	}
}

/* By what clients know for how long there is no such thing. */
static void take_authority(DnsAnswer *ret, const ldns_rr_list *authority)
{
	for (size_t i = 0; authority && i < ldns_rr_list_rr_count(authority); i++) {
		const ldns_rr *record = ldns_rr_list_rr(authority, i);

		if (ldns_rr_get_type(record) == LDNS_RR_TYPE_SOA) {
			keep(ret->authority, record);
			return;
		}
	}
}

int dns_answer_parse(DnsAnswer *ret, const DnsQuery *query, uint16_t id, const uint8_t *bytes,
		     size_t size)
{
	cleanup_(free_packet) ldns_pkt *packet = NULL;

	*ret = (DnsAnswer){ .code = DNS_SERVFAIL };
	if (size < HEADER_BYTES || size > DNS_MESSAGE_MAX ||
	    parse_without_additional(&packet, bytes, size) < 0 || !is_answer(packet, query, id))
		return -EINVAL;
	ret->code = (uint8_t)ldns_pkt_get_rcode(packet);
	ret->truncated = ldns_pkt_tc(packet);
	if (ret->truncated)
		return 0;
	ret->records = ldns_rr_list_new();
	ret->authority = ldns_rr_list_new();
	follow(ret, query, ldns_pkt_answer(packet));
	if (ret->count == 0)
		take_authority(ret, ldns_pkt_authority(packet));
	return 0;
}

void dns_answer_clear(DnsAnswer *answer)
{
	ldns_rr_list_deep_free(answer->records);
	ldns_rr_list_deep_free(answer->authority);
	answer->records = answer->authority = NULL;
}

void dns_message_clear(DnsMessage *message)
{
	free(message->bytes);
	message->bytes = NULL;
}

void dns_message_frame(uint8_t *to, const DnsMessage *message)
{
	to[0] = (uint8_t)(message->size >> 8);
	to[1] = (uint8_t)message->size;
	memcpy(to + DNS_LENGTH_BYTES, message->bytes, message->size);
}

size_t dns_framed_size(const uint8_t *bytes, size_t size)
{
	if (size < DNS_LENGTH_BYTES)
		return 0;
	return DNS_LENGTH_BYTES + ((size_t)bytes[0] << 8 | bytes[1]);
}

static int write_packet(DnsMessage *ret, const ldns_pkt *packet)
{
	*ret = (DnsMessage){ .bytes = NULL };
	return ldns_pkt2wire(&ret->bytes, packet, &ret->size) == LDNS_STATUS_OK ? 0 : -EINVAL;
}

static void push(ldns_pkt *packet, ldns_pkt_section section, const ldns_rr *record)
{
	(void)ldns_pkt_push_rr(packet, section, ldns_rr_clone(record));
}

int dns_query_write(DnsMessage *ret, const DnsQuery *query, uint16_t id)
{
	cleanup_(free_packet) ldns_pkt *packet = ldns_pkt_new();

	if (!packet)
		return -EINVAL;
	ldns_pkt_set_id(packet, id);
	ldns_pkt_set_rd(packet, true);
	ldns_pkt_set_edns_udp_size(packet, DNS_UDP_SIZE_MAX);
	push(packet, LDNS_SECTION_QUESTION, query->question);
	return write_packet(ret, packet);
}

static void add_reason(ldns_pkt *packet, DnsReason reason)
{
	const uint8_t code[] = { 0, (uint8_t)reason };
	ldns_edns_option_list *options;

	if (reason == DNS_REASON_NONE)
		return;
	options = ldns_edns_option_list_new();
	(void)ldns_edns_option_list_push(options,
					 ldns_edns_new_from_data(LDNS_EDNS_EDE, sizeof code, code));
	ldns_pkt_set_edns_option_list(packet, options);
}

static void add_records(ldns_pkt *packet, const DnsAnswer *answer)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(answer->records); i++)
		push(packet, LDNS_SECTION_ANSWER, ldns_rr_list_rr(answer->records, i));
	for (size_t i = 0; i < ldns_rr_list_rr_count(answer->authority); i++)
		push(packet, LDNS_SECTION_AUTHORITY, ldns_rr_list_rr(answer->authority, i));
}

static int write_reply(DnsMessage *ret, const DnsQuery *query, const DnsReply *reply,
		       bool truncated)
{
	cleanup_(free_packet) ldns_pkt *packet = ldns_pkt_new();

	if (!packet)
		return -EINVAL;
	ldns_pkt_set_id(packet, query->id);
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_set_rd(packet, true);
	ldns_pkt_set_ra(packet, true);
	ldns_pkt_set_tc(packet, truncated);
	ldns_pkt_set_rcode(packet, reply->code);
	if (query->question)
		push(packet, LDNS_SECTION_QUESTION, query->question);
	if (query->edns) {
		ldns_pkt_set_edns_udp_size(packet, DNS_UDP_SIZE_MAX);
		add_reason(packet, reply->reason);
	}
	if (reply->answer && !truncated)
		add_records(packet, reply->answer);
	return write_packet(ret, packet);
}

int dns_reply_write(DnsMessage *ret, const DnsQuery *query, const DnsReply *reply)
{
	int r = write_reply(ret, query, reply, false);

	if (r < 0 || ret->size <= reply->limit)
		return r;
	dns_message_clear(ret);
	return write_reply(ret, query, reply, true);
}
