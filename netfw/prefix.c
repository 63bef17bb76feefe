/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/prefix.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum {
	BITS_4 = 32,
	BITS_6 = 128,
	BYTE = 8,
};

static unsigned bits_of(const Prefix *prefix)
{
	return prefix->family == 4 ? BITS_4 : BITS_6;
}

/* The bits of byte @at that belong to a prefix of @length. */
static uint8_t mask_of(unsigned length, size_t at)
{
	unsigned before = (unsigned)at * BYTE;

	if (length >= before + BYTE)
		return UINT8_MAX;
	return length <= before ? 0 : (uint8_t)(UINT8_MAX << (BYTE - (length - before)));
}

int prefix_parse_address(Prefix *ret, const char *text)
{
	Prefix prefix = { .family = strchr(text, ':') ? 6 : 4 };

	if (inet_pton(prefix.family == 4 ? AF_INET : AF_INET6, text, prefix.address) != 1)
		return -EINVAL;
	prefix.length = (uint8_t)bits_of(&prefix);
	*ret = prefix;
	return 0;
}

int prefix_parse_in(Prefix *ret, uint8_t *length, const char *text)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	Prefix prefix;
	uint64_t bits;

	if (!slash || (size_t)(slash - text) >= sizeof address)
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (prefix_parse_address(&prefix, address) < 0 || text_to_u64(&bits, slash + 1) == -EINVAL)
		return -EINVAL;
	if (text_to_u64(&bits, slash + 1) < 0 || bits > prefix.length)
		return -ERANGE;
	*ret = prefix;
	*length = (uint8_t)bits;
	return 0;
}

Prefix prefix_network(const Prefix *address, uint8_t length)
{
	Prefix prefix = *address;

	prefix.length = length;
	for (size_t i = 0; i < sizeof prefix.address; i++)
		prefix.address[i] &= mask_of(length, i);
	return prefix;
}

int prefix_parse(Prefix *ret, const char *text)
{
	const char *slash = strchr(text, '/');
	Prefix address, prefix;
	uint8_t length;
	int r;

	/* "/08" is a number, but nobody's way to write a length. */
	if (slash && slash[1] == '0' && slash[2])
		return -EINVAL;
	r = prefix_parse_in(&address, &length, text);
	if (r < 0)
		return r;
	prefix = prefix_network(&address, length);
	if (memcmp(prefix.address, address.address, sizeof prefix.address) != 0)
		return -EDOM;
	*ret = prefix;
	return 0;
}

const char *prefix_problem(int error)
{
	switch (error) {
	case -ERANGE:
		return "the prefix is too long";
	case -EDOM:
		return "host bits are set";
	default:
		return "not an address, a slash and the length of a prefix";
	}
}

const char *prefix_format(const Prefix *prefix, char ret[static PREFIX_TEXT_MAX])
{
	size_t used;

	(void)inet_ntop(prefix->family == 4 ? AF_INET : AF_INET6, prefix->address, ret,
			PREFIX_TEXT_MAX);
	used = strlen(ret);
	(void)text_append(ret + used, ret + PREFIX_TEXT_MAX, "/%u", prefix->length);
	return ret;
}

bool prefix_contains(const Prefix *outer, const Prefix *inner)
{
	if (outer->family != inner->family || outer->length > inner->length)
		return false;
	for (size_t i = 0; i < sizeof outer->address; i++)
		if ((inner->address[i] & mask_of(outer->length, i)) != outer->address[i])
			return false;
	return true;
}

int prefix_compare(const Prefix *a, const Prefix *b)
{
	int order = (int)a->family - (int)b->family;

	if (order == 0)
		order = memcmp(a->address, b->address, sizeof a->address);
	return order ? order : (int)a->length - (int)b->length;
}
