/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/dns.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

enum {
	IN = 1,
	OPT = 41,
	HEADER = 12,
	EDE = 15,
};

static void add(DnsBytes *to, const void *bytes, size_t size)
{
	assert(to->size + size <= sizeof to->bytes);
	memcpy(to->bytes + to->size, bytes, size);
	to->size += size;
}

static void add16(DnsBytes *to, unsigned number)
{
	const uint8_t bytes[] = { (uint8_t)(number >> 8), (uint8_t)number };

	add(to, bytes, sizeof bytes);
}

static void add_name(DnsBytes *to, const char *name)
{
	while (*name) {
		size_t length = strcspn(name, ".");
		uint8_t byte = (uint8_t)length;

		add(to, &byte, 1);
		add(to, name, length);
		name += length + (name[length] == '.');
	}
	add(to, "", 1);
}

static void add_data(DnsBytes *to, const DnsRecord *record)
{
	uint8_t address[16], length = (uint8_t)strlen(record->data);

	switch (record->type) {
	case DNS_A:
		assert(inet_pton(AF_INET, record->data, address) == 1);
		add(to, address, 4);
		break;
	case DNS_AAAA:
		assert(inet_pton(AF_INET6, record->data, address) == 1);
		add(to, address, 16);
		break;
	case DNS_CNAME:
		add_name(to, record->data);
		break;
	case DNS_SOA:
		add_name(to, record->data);
		add_name(to, record->data);
		for (int i = 0; i < 10; i++)
			add16(to, 1);
		break;
	default:
		add(to, &length, 1);
		add(to, record->data, length);
		break;
	}
}

static void add_record(DnsBytes *to, const DnsRecord *record)
{
	DnsBytes data = { .size = 0 };

	add_data(&data, record);
	add_name(to, record->owner);
	add16(to, record->type);
	add16(to, IN);
	add16(to, record->ttl >> 16);
	add16(to, record->ttl & 0xffff);
	add16(to, (unsigned)data.size);
	add(to, data.bytes, data.size);
}

DnsBytes dns_make(const DnsSpec *spec)
{
	DnsBytes to = { .size = 0 };

	add16(&to, spec->id);
	add16(&to, spec->flags);
	add16(&to, spec->name != NULL);
	add16(&to, (unsigned)spec->answer_count);
	add16(&to, spec->authority != NULL);
	add16(&to, spec->edns != 0);
	if (spec->name) {
		add_name(&to, spec->name);
		add16(&to, spec->type);
		add16(&to, spec->class ? spec->class : IN);
	}
	for (size_t i = 0; i < spec->answer_count; i++)
		add_record(&to, &spec->answers[i]);
	if (spec->authority)
		add_record(&to, spec->authority);
	if (spec->edns) {
		add_name(&to, "");
		add16(&to, OPT);
		add16(&to, spec->edns);
		for (int i = 0; i < 3; i++)
			add16(&to, 0);
	}
	return to;
}

static uint16_t at16(const uint8_t *bytes, size_t at)
{
	return (uint16_t)(bytes[at] << 8 | bytes[at + 1]);
}

/* Behind the root's name and the type, at the end of the message. */
static int find_reason(const uint8_t *bytes, size_t size)
{
	static const uint8_t head[] = { 0, 0, OPT };

	for (size_t at = HEADER; at + 17 <= size; at++)
		if (memcmp(bytes + at, head, sizeof head) == 0 && at16(bytes, at + 9) >= 6 &&
		    at16(bytes, at + 11) == EDE)
			return at16(bytes, at + 15);
	return -1;
}

DnsSeen dns_look(const uint8_t *bytes, size_t size)
{
	assert(size >= HEADER);
	return (DnsSeen){
		.id = at16(bytes, 0),
		.response = bytes[2] & 0x80,
		.truncated = bytes[2] & 0x02,
		.code = bytes[3] & 0x0f,
		.questions = at16(bytes, 4),
		.answers = at16(bytes, 6),
		.authorities = at16(bytes, 8),
		.additional = at16(bytes, 10),
		.reason = find_reason(bytes, size),
	};
}
