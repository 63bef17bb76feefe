/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/token.h"

enum {
	VARINT_MAX = 10,
	VARINT32_MAX = 5, /* tags and lengths: protobuf-c reads no longer ones */
};

const char *token_read_varint(uint64_t *ret, const uint8_t **at, const uint8_t *end, unsigned max)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < max; i++) {
		uint8_t byte;

		if (*at == end)
			return "truncated";
		byte = *(*at)++;
		if (i == VARINT_MAX - 1 && byte > 1)
			return "a number of more than 64 bits";
		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret = value;
			return NULL;
		}
	}
	return "an oversized number";
}

const char *token_read(Token *ret, const uint8_t **at, const uint8_t *end)
{
	const char *wrong;
	uint64_t tag, length;

	wrong = token_read_varint(&tag, at, end, VARINT32_MAX);
	if (wrong)
		return wrong;
	if (tag > UINT32_MAX || tag >> 3 == 0)
		return "a field number out of range";
	*ret = (Token){ .id = (uint32_t)(tag >> 3), .wire = tag & 7, .bytes = *at };

	switch (tag & 7) {
	case WIRE_VARINT:
		wrong = token_read_varint(&ret->value, at, end, VARINT_MAX);
		ret->size = (size_t)(*at - ret->bytes);
		return wrong;
	case WIRE_64BIT:
		length = 8;
		break;
	case WIRE_32BIT:
		length = 4;
		break;
	case WIRE_BYTES:
		wrong = token_read_varint(&length, at, end, VARINT32_MAX);
		if (wrong)
			return wrong;
		break;
	default:
		return "a group or an unknown wire type";
	}
	if (length > (size_t)(end - *at))
		return "truncated";
	ret->bytes = *at;
	ret->size = (size_t)length;
	*at += length;
	return NULL;
}
