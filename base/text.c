/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

char *text_append(char *at, const char *end, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	at = text_vappend(at, end, format, ap);
	va_end(ap);
	return at;
}

char *text_vappend(char *at, const char *end, const char *format, va_list ap)
{
	size_t room = (size_t)(end - at);
	int n = vsnprintf(at, room, format, ap);

	if (n < 0)
		return at;
	return at + ((size_t)n < room ? (size_t)n : room - 1);
}

void text_copy(char *to, size_t size, const char *text)
{
	size_t length = text ? strnlen(text, size - 1) : 0;

	if (length)
		memcpy(to, text, length);
	to[length] = '\0';
}

void text_lower(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text - 'A' + 'a');
}

char *text_dup(const char *text)
{
	char *copy;

	if (!text)
		return NULL;
	copy = strdup(text);
	if (!copy)
		abort();
	return copy;
}

char *text_printf(const char *format, ...)
{
	va_list ap;
	char *text;

	va_start(ap, format);
	text = text_vprintf(format, ap);
	va_end(ap);
	return text;
}

char *text_vprintf(const char *format, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, format, ap) < 0)
		abort();
	return text;
}

bool text_equal(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* The length of the valid UTF-8 sequence at @at, or 0. */
static size_t utf8_length(const unsigned char *at, size_t room)
{
	static const struct {
		unsigned char first, last; /* of the first byte */
		unsigned char length;
		unsigned char second, second_end; /* allowed second byte */
	} rows[] = {
		{ 0x01, 0x7f, 1, 0, 0 },       { 0xc2, 0xdf, 2, 0x80, 0xbf },
		{ 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
		{ 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf },
		{ 0xf0, 0xf0, 4, 0x90, 0xbf }, { 0xf1, 0xf3, 4, 0x80, 0xbf },
		{ 0xf4, 0xf4, 4, 0x80, 0x8f },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		if (at[0] < rows[i].first || at[0] > rows[i].last)
			continue;
		if (rows[i].length > room)
			return 0;
		if (rows[i].length > 1 && (at[1] < rows[i].second || at[1] > rows[i].second_end))
			return 0;
		for (size_t k = 2; k < rows[i].length; k++)
			if ((at[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].length;
	}
	return 0;
}

bool text_is_utf8(const char *text, size_t length)
{
	const unsigned char *at = (const unsigned char *)text;

	while (length) {
		size_t n = utf8_length(at, length);

		if (!n)
			return false;
		at += n;
		length -= n;
	}
	return true;
}

size_t text_to_utf8(char *ret, const char *bytes, size_t length)
{
	const unsigned char *at = (const unsigned char *)bytes;
	char *to = ret;

	while (length) {
		size_t n = utf8_length(at, length);

		if (n) {
			memcpy(to, at, n);
			to += n;
		} else {
			to = stpcpy(to, "\xef\xbf\xbd");
			n = 1;
		}
		at += n;
		length -= n;
	}
	*to = '\0';
	return (size_t)(to - ret);
}

bool text_is_id(const char *id)
{
	size_t length = strlen(id);

	if (length < 1 || length > 63 || id[0] == '-' || id[length - 1] == '-')
		return false;
	return strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

int text_to_u64(uint64_t *ret, const char *text)
{
	unsigned long long value;
	char *end;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	*ret = value;
	return 0;
}

static void random_bytes(unsigned char *bytes, size_t count)
{
	/* Up to 256 bytes getrandom() neither fails nor falls short (getrandom(2)). */
	if (count > 256 || getrandom(bytes, count, 0) != (ssize_t)count)
		abort();
}

static void to_hex(char *ret, const unsigned char *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		*ret++ = digits[bytes[i] >> 4];
		*ret++ = digits[bytes[i] & 15];
	}
	*ret = '\0';
}

void text_random_hex(char *ret, size_t count)
{
	unsigned char bytes[256];

	random_bytes(bytes, count);
	to_hex(ret, bytes, count);
}

void text_random_uuid(char ret[static 37])
{
	unsigned char bytes[16];
	char hex[33];

	random_bytes(bytes, sizeof bytes);
	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	to_hex(hex, bytes, sizeof bytes);
	(void)snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
		       hex + 20);
}

uint64_t text_hash(const void *bytes, size_t size)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325U;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ at[i]) * 0x100000001b3U;
	return hash;
}
