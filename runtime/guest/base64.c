/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *guest_base64_write(char *to, const void *bytes, size_t length)
{
	const unsigned char *at = bytes;

	for (; length; at += length < 3 ? length : 3, length -= length < 3 ? length : 3) {
		uint32_t three = (uint32_t)at[0] << 16;

		if (length > 1)
			three |= (uint32_t)at[1] << 8;
		if (length > 2)
			three |= at[2];
		for (size_t i = 0; i < 4; i++)
			to[i] = alphabet[three >> (18 - 6 * i) & 63];
		if (length < 2)
			to[2] = '=';
		if (length < 3)
			to[3] = '=';
		to += 4;
	}
	return to;
}

/* Return: the six bits of @c, or -1. */
static int six_bits(int c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Reads four characters, the last @padding of them "=". Bits that are of no byte must be zero. */
static int read_four(const char *text, size_t padding, unsigned char three[static 3])
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4; i++) {
		int six = i < 4 - padding ? six_bits(text[i]) : 0;

		if (six < 0)
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)six;
	}
	three[0] = (unsigned char)(bits >> 16);
	three[1] = (unsigned char)(bits >> 8);
	three[2] = (unsigned char)bits;
	if ((padding > 0 && three[2]) || (padding > 1 && three[1]))
		return -EBADMSG;
	return 0;
}

int guest_base64_read(char *text, size_t length, size_t *ret)
{
	size_t padding = 0, used = 0;

	if (length % 4)
		return -EBADMSG;
	if (length && text[length - 1] == '=')
		padding = text[length - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < length; i += 4) {
		size_t pad = i + 4 == length ? padding : 0;
		unsigned char three[3];

		if (read_four(text + i, pad, three) < 0)
			return -EBADMSG;
		memcpy(text + used, three, 3 - pad);
		used += 3 - pad;
	}
	*ret = used;
	return 0;
}
