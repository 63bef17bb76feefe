/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/utf8.h"

/* How long a sequence is that begins with @first, and in @bits what of it is in @first. */
static size_t announced(unsigned char first, uint32_t *bits)
{
	if (first < 0x80) {
		*bits = first;
		return 1;
	}
	if (first >= 0xc2 && first <= 0xdf) {
		*bits = first & 0x1fU;
		return 2;
	}
	if (first >= 0xe0 && first <= 0xef) {
		*bits = first & 0x0fU;
		return 3;
	}
	*bits = first & 0x07U;
	return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

size_t guest_utf8_length(const char *at, size_t room)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t point;
	size_t length = room ? announced((unsigned char)at[0], &point) : 0;

	if (!length || length > room)
		return 0;
	for (size_t i = 1; i < length; i++) {
		unsigned char next = (unsigned char)at[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (next & 0x3fU);
	}
	if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return length;
}

size_t guest_utf8_put(char *to, uint32_t point)
{
	static const unsigned char marks[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t length = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

	if (length == 1) {
		to[0] = (char)point;
		return 1;
	}
	for (size_t i = length - 1; i > 0; i--) {
		to[i] = (char)(0x80 | (point & 0x3f));
		point >>= 6;
	}
	to[0] = (char)(marks[length] | point);
	return length;
}
