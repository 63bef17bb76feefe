/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What guests ask and what resolvers answer. The first byte says which it is; of an answer the next
 * one says to which query. What has been read is written again, and is then no larger than it may
 * be.
 */

#include "netfw/dns_message.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_reply(const DnsQuery *query, const DnsAnswer *answer, uint8_t code)
{
	cleanup_(dns_message_clear) DnsMessage message = { .bytes = NULL };
	const DnsReply reply = {
		.code = code, .reason = DNS_REASON_BLOCKED, .answer = answer, .limit = query->size
	};

	if (dns_reply_write(&message, query, &reply) == 0 && message.size > query->size &&
	    strlen(query->name) < 256)
		__builtin_trap();
}

static void read_query(const uint8_t *data, size_t size)
{
	cleanup_(dns_query_clear) DnsQuery query = { .question = NULL };
	cleanup_(dns_message_clear) DnsMessage message = { .bytes = NULL };
	int r = dns_query_parse(&query, data, size);

	if (r < 0)
		return;
	write_reply(&query, NULL, (uint8_t)r);
	if (r == 0 && dns_query_write(&message, &query, 1) < 0)
		__builtin_trap();
}

static void read_answer(const uint8_t *data, size_t size)
{
	static const uint8_t types[] = { 1, 28, 5, 16, 15, 33 };
	uint8_t asked[] = { 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 1 };
	cleanup_(dns_query_clear) DnsQuery query = { .question = NULL };
	cleanup_(dns_answer_clear) DnsAnswer answer = { .records = NULL };

	asked[16] = types[data[0] % sizeof types];
	if (dns_query_parse(&query, asked, sizeof asked) != 0)
		__builtin_trap();
	if (dns_answer_parse(&answer, &query, 0, data + 1, size - 1) < 0)
		return;
	if (answer.count > DNS_ADDRESSES_MAX || answer.ttl > DNS_TTL_MAX)
		__builtin_trap();
	if (!answer.truncated)
		write_reply(&query, &answer, answer.code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 2 && data[0] % 2)
		read_answer(data + 1, size - 1);
	else if (size > 1)
		read_query(data + 1, size - 1);
	return 0;
}
