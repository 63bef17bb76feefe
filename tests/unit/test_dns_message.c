/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/dns_message.h"
#include "tests/support/dns.h"

#include <criterion/criterion.h>
#include <string.h>

static int parse(DnsQuery *ret, const DnsSpec *spec)
{
	DnsBytes message = dns_make(spec);

	return dns_query_parse(ret, message.bytes, message.size);
}

static DnsQuery query_of(const char *name, uint16_t type)
{
	const DnsSpec spec = { .id = 7, .flags = DNS_QUERY_FLAGS, .name = name, .type = type };
	DnsQuery query;

	cr_assert_eq(parse(&query, &spec), 0);
	return query;
}

Test(dns_message, a_query_is_read)
{
	const DnsSpec spec = { .id = 0x1234,
			       .flags = DNS_QUERY_FLAGS,
			       .name = "WWW.Example.org",
			       .type = DNS_A,
			       .edns = 4096 };
	cleanup_(dns_query_clear) DnsQuery query;

	cr_assert_eq(parse(&query, &spec), 0);

	cr_assert_eq(query.id, 0x1234);
	cr_assert_str_eq(query.name, "www.example.org");
	cr_assert(query.plain);
	cr_assert(query.edns);
	cr_assert_eq(query.size, DNS_UDP_SIZE_MAX);
	cr_assert_eq(query.kind, DNS_KIND_ADDRESS);
}

Test(dns_message, what_kind_of_answer_there_can_be)
{
	static const struct {
		uint16_t type, class;
		DnsKind kind;
	} rows[] = {
		{ DNS_A, 1, DNS_KIND_ADDRESS },   { DNS_AAAA, 1, DNS_KIND_ADDRESS },
		{ DNS_TXT, 1, DNS_KIND_OTHER },   { 64, 1, DNS_KIND_HINTS },
		{ DNS_HTTPS, 1, DNS_KIND_HINTS }, { DNS_ANY, 1, DNS_KIND_REFUSED },
		{ 252, 1, DNS_KIND_REFUSED },     { DNS_A, 3, DNS_KIND_REFUSED },
		{ 41, 1, DNS_KIND_REFUSED },      { 65280, 1, DNS_KIND_OTHER },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		const DnsSpec spec = { .flags = DNS_QUERY_FLAGS,
				       .name = "a.org",
				       .type = rows[i].type,
				       .class = rows[i].class };
		cleanup_(dns_query_clear) DnsQuery query;

		cr_assert_eq(parse(&query, &spec), 0);
		cr_expect_eq(query.kind, rows[i].kind, "%u", rows[i].type);
	}
}

Test(dns_message, names_that_are_no_hosts_are_told_apart)
{
	static const uint8_t dotted[] = { 0,   1,   1,   0,   0, 1,   0,   0,   0, 0, 0, 0, 5, 'e',
					  'v', '.', 'i', 'l', 3, 'o', 'r', 'g', 0, 0, 1, 0, 1 };
	cleanup_(dns_query_clear) DnsQuery query, root;

	cr_assert_eq(dns_query_parse(&query, dotted, sizeof dotted), 0);
	cr_assert_not(query.plain);
	root = query_of("", DNS_A);
	cr_assert_str_eq(root.name, "");
}

Test(dns_message, what_is_no_query_is_answered_or_ignored)
{
	static const uint8_t garbage[] = { 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 63, 'x' };
	static const uint8_t loop[] = { 0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1 };
	const DnsSpec none = { .id = 9, .flags = DNS_QUERY_FLAGS };
	const DnsSpec answer = { .flags = DNS_ANSWER_FLAGS, .name = "a.org", .type = DNS_A };
	const DnsSpec status = { .flags = 0x1000, .name = "a.org", .type = DNS_A };
	cleanup_(dns_query_clear) DnsQuery query;

	cr_assert_lt(dns_query_parse(&query, garbage, 11), 0);
	cr_assert_lt(parse(&query, &answer), 0);
	cr_assert_eq(dns_query_parse(&query, garbage, sizeof garbage), DNS_FORMERR);
	cr_assert_eq(query.id, 9);
	cr_assert_eq(dns_query_parse(&query, loop, sizeof loop), DNS_FORMERR);
	cr_assert_eq(parse(&query, &none), DNS_FORMERR);
	cr_assert_eq(parse(&query, &status), DNS_NOTIMP);
}

/* @count records more that say they are signatures: a root, TSIG, ANY, of no life, one byte. */
static void append_signatures(DnsBytes *message, uint8_t count)
{
	static const uint8_t signature[] = { 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 1, 'x' };

	for (uint8_t i = 0; i < count; i++) {
		memcpy(message->bytes + message->size, signature, sizeof signature);
		message->size += sizeof signature;
	}
	message->bytes[11] += count;
}

Test(dns_message, a_query_with_more_than_one_additional_record_is_malformed)
{
	const DnsSpec spec = { .flags = DNS_QUERY_FLAGS, .name = "a.org", .type = DNS_A };
	const DnsSpec edns = {
		.flags = DNS_QUERY_FLAGS, .name = "a.org", .type = DNS_A, .edns = 1232
	};
	DnsBytes two = dns_make(&spec), signed_one = dns_make(&edns), many = dns_make(&spec);
	cleanup_(dns_query_clear) DnsQuery query;

	append_signatures(&two, 2);
	append_signatures(&signed_one, 1);
	many.bytes[10] = 1;

	cr_expect_eq(dns_query_parse(&query, two.bytes, two.size), DNS_FORMERR);
	cr_expect_eq(dns_query_parse(&query, signed_one.bytes, signed_one.size), DNS_FORMERR);
	cr_expect_eq(dns_query_parse(&query, many.bytes, many.size), DNS_FORMERR);
}

static int read_answer(DnsAnswer *ret, const DnsQuery *query, uint16_t id, const DnsSpec *spec)
{
	DnsBytes message = dns_make(spec);

	return dns_answer_parse(ret, query, id, message.bytes, message.size);
}

static DnsSeen reply(const DnsQuery *query, const DnsReply *what, size_t *size)
{
	cleanup_(dns_message_clear) DnsMessage message = { 0 };

	cr_assert_eq(dns_reply_write(&message, query, what), 0);
	*size = message.size;
	return dns_look(message.bytes, message.size);
}

Test(dns_message, an_answer_is_followed_along_its_aliases)
{
	static const DnsRecord records[] = {
		{ "other.org", DNS_A, 60, "192.0.2.66" }, { "b.net", DNS_A, 50, "192.0.2.1" },
		{ "A.org", DNS_CNAME, 7200, "b.net" },    { "B.net", DNS_A, 90, "192.0.2.2" },
		{ "b.net", DNS_TXT, 60, "more" },
	};
	const DnsSpec spec = { .id = 3,
			       .flags = DNS_ANSWER_FLAGS,
			       .name = "a.ORG",
			       .type = DNS_A,
			       .answers = records,
			       .answer_count = array_size(records) };
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_A);
	cleanup_(dns_answer_clear) DnsAnswer answer;
	char text[PREFIX_TEXT_MAX];
	DnsSeen seen;
	size_t size;

	cr_assert_eq(read_answer(&answer, &query, 3, &spec), 0);

	cr_assert_eq(answer.code, DNS_NOERROR);
	cr_assert_eq(answer.count, 2);
	cr_assert_str_eq(prefix_format(&answer.addresses[0], text), "192.0.2.1/32");
	cr_assert_str_eq(prefix_format(&answer.addresses[1], text), "192.0.2.2/32");
	cr_assert_eq(answer.ttl, 90);
	seen = reply(&query, &(DnsReply){ .answer = &answer, .limit = 512 }, &size);
	cr_assert_eq(seen.id, 7);
	cr_assert_eq(seen.answers, 3);
	cr_assert_eq(seen.additional, 0);
}

Test(dns_message, aliases_that_lead_in_a_circle_end)
{
	static const DnsRecord records[] = {
		{ "a.org", DNS_CNAME, 60, "b.org" },
		{ "b.org", DNS_CNAME, 60, "a.org" },
	};
	const DnsSpec spec = { .id = 3,
			       .flags = DNS_ANSWER_FLAGS,
			       .name = "a.org",
			       .type = DNS_A,
			       .answers = records,
			       .answer_count = array_size(records) };
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_A);
	cleanup_(dns_answer_clear) DnsAnswer answer;

	cr_assert_eq(read_answer(&answer, &query, 3, &spec), 0);
	cr_assert_eq(answer.count, 0);
}

Test(dns_message, an_answer_to_something_else_is_none)
{
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_A);
	const DnsSpec rows[] = {
		{ .id = 4, .flags = DNS_ANSWER_FLAGS, .name = "a.org", .type = DNS_A },
		{ .id = 3, .flags = DNS_ANSWER_FLAGS, .name = "b.org", .type = DNS_A },
		{ .id = 3, .flags = DNS_ANSWER_FLAGS, .name = "a.org", .type = DNS_AAAA },
		{ .id = 3, .flags = DNS_ANSWER_FLAGS, .name = "a.org", .type = DNS_A, .class = 3 },
		{ .id = 3, .flags = DNS_QUERY_FLAGS, .name = "a.org", .type = DNS_A },
		{ .id = 3, .flags = DNS_ANSWER_FLAGS },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		cleanup_(dns_answer_clear) DnsAnswer answer;

		cr_expect_lt(read_answer(&answer, &query, 3, &rows[i]), 0, "%zu", i);
	}
}

Test(dns_message, additional_records_of_an_answer_are_not_read)
{
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_A);
	const DnsRecord record = { "a.org", DNS_A, 60, "192.0.2.1" };
	const DnsSpec spec = { .id = 3,
			       .flags = DNS_ANSWER_FLAGS,
			       .name = "a.org",
			       .type = DNS_A,
			       .answers = &record,
			       .answer_count = 1 };
	cleanup_(dns_answer_clear) DnsAnswer answer;
	DnsBytes message = dns_make(&spec);

	append_signatures(&message, 3);
	message.size--;

	cr_assert_eq(dns_answer_parse(&answer, &query, 3, message.bytes, message.size), 0);
	cr_assert_eq(answer.count, 1);
}

Test(dns_message, that_there_is_nothing_is_told_with_for_how_long)
{
	static const DnsRecord soa = { "org", DNS_SOA, 100000, "ns.org" };
	const DnsSpec spec = { .id = 3,
			       .flags = DNS_ANSWER_FLAGS | DNS_NXDOMAIN,
			       .name = "a.org",
			       .type = DNS_A,
			       .authority = &soa };
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_A);
	cleanup_(dns_answer_clear) DnsAnswer answer;
	DnsSeen seen;
	size_t size;

	cr_assert_eq(read_answer(&answer, &query, 3, &spec), 0);
	seen = reply(&query, &(DnsReply){ .code = answer.code, .answer = &answer, .limit = 512 },
		     &size);

	cr_assert_eq(seen.code, DNS_NXDOMAIN);
	cr_assert_eq(seen.authorities, 1);
}

Test(dns_message, what_is_too_large_is_truncated)
{
	DnsRecord records[40];
	const DnsSpec spec = { .id = 3,
			       .flags = DNS_ANSWER_FLAGS,
			       .name = "a.org",
			       .type = DNS_TXT,
			       .answers = records,
			       .answer_count = array_size(records) };
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_TXT);
	cleanup_(dns_answer_clear) DnsAnswer answer;
	DnsSeen seen;
	size_t size;

	for (size_t i = 0; i < array_size(records); i++)
		records[i] =
			(DnsRecord){ "a.org", DNS_TXT, 60, "a text of some length, and no more" };
	cr_assert_eq(read_answer(&answer, &query, 3, &spec), 0);
	seen = reply(&query, &(DnsReply){ .answer = &answer, .limit = 512 }, &size);
	cr_assert(seen.truncated);
	cr_assert_eq(seen.answers, 0);
	cr_assert_leq(size, 512);
	seen = reply(&query, &(DnsReply){ .answer = &answer, .limit = DNS_MESSAGE_MAX }, &size);
	cr_assert_not(seen.truncated);
	cr_assert_eq(seen.answers, 40);
}

Test(dns_message, a_truncated_answer_says_so_and_nothing_else)
{
	static const DnsRecord one = { "a.org", DNS_A, 60, "192.0.2.1" };
	const DnsSpec spec = { .id = 3,
			       .flags = DNS_ANSWER_FLAGS | DNS_TRUNCATED_FLAG,
			       .name = "a.org",
			       .type = DNS_A,
			       .answers = &one,
			       .answer_count = 1 };
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_A);
	cleanup_(dns_answer_clear) DnsAnswer answer;

	cr_assert_eq(read_answer(&answer, &query, 3, &spec), 0);
	cr_assert(answer.truncated);
	cr_assert_eq(answer.count, 0);
}

Test(dns_message, a_refusal_says_why_to_those_who_understand_it)
{
	const DnsReply refused = { .code = DNS_REFUSED,
				   .reason = DNS_REASON_BLOCKED,
				   .limit = 512 };
	const DnsSpec spec = {
		.id = 7, .flags = DNS_QUERY_FLAGS, .name = "a.org", .type = DNS_A, .edns = 1232
	};
	cleanup_(dns_query_clear) DnsQuery plain = query_of("a.org", DNS_A), edns;
	DnsSeen seen;
	size_t size;

	cr_assert_eq(parse(&edns, &spec), 0);
	seen = reply(&edns, &refused, &size);
	cr_assert_eq(seen.code, DNS_REFUSED);
	cr_assert_eq(seen.reason, 15);
	cr_assert(seen.response);
	seen = reply(&plain, &refused, &size);
	cr_assert_eq(seen.code, DNS_REFUSED);
	cr_assert_eq(seen.reason, -1);
	cr_assert_eq(seen.additional, 0);
}

Test(dns_message, what_is_asked_of_a_resolver_is_read_back)
{
	cleanup_(dns_query_clear) DnsQuery query = query_of("a.org", DNS_AAAA), again;
	cleanup_(dns_message_clear) DnsMessage message = { 0 };

	cr_assert_eq(dns_query_write(&message, &query, 99), 0);
	cr_assert_eq(dns_query_parse(&again, message.bytes, message.size), 0);

	cr_assert_eq(again.id, 99);
	cr_assert_str_eq(again.name, "a.org");
	cr_assert(again.edns);
	again.id = query.id;
	cr_assert(dns_query_equal(&again, &query));
}
