/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/page_token.h"

#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* In hexadecimal: <8 of the store's id>.<revision>.<filters>.<last> */
enum {
	STORE_PREFIX = 8,
	NUMBER = 16, /* hexadecimal digits of one */
	HEAD = STORE_PREFIX + 2 * NUMBER + 3,
	PLAIN_MAX = HEAD + 64,
};

uint64_t page_hash(uint64_t hash, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	do
		hash = (hash ^ *at) * UINT64_C(0x100000001b3);
	while (*at++);
	return hash;
}

void page_token_write(char ret[static PAGE_TOKEN_MAX], const PageToken *token, const char *store_id,
		      uint64_t filters)
{
	char plain[PLAIN_MAX];
	char *at = ret;

	(void)snprintf(plain, sizeof plain, "%.8s.%016" PRIx64 ".%016" PRIx64 ".%s", store_id,
		       token->revision, filters, token->last);
	*at = '\0';
	for (const char *from = plain; *from; from++)
		at = text_append(at, ret + PAGE_TOKEN_MAX, "%02x", (unsigned char)*from);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* The bytes that @text has in hexadecimal; false if it has none, too many, or a NUL. */
static bool to_plain(char plain[static PLAIN_MAX], const char *text)
{
	size_t length = strlen(text);

	if (length % 2 || length / 2 < HEAD || length / 2 >= PLAIN_MAX)
		return false;
	for (size_t i = 0; i < length / 2; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0 || high + low == 0)
			return false;
		plain[i] = (char)(high * 16 + low);
	}
	plain[length / 2] = '\0';
	return true;
}

static bool read_number(uint64_t *ret, const char *at)
{
	uint64_t value = 0;

	for (size_t i = 0; i < NUMBER; i++) {
		if (digit(at[i]) < 0)
			return false;
		value = value << 4 | (uint64_t)digit(at[i]);
	}
	*ret = value;
	return at[NUMBER] == '.';
}

int page_token_read(PageToken *ret, const char *text, const char *store_id, uint64_t filters,
		    Error *err)
{
	char plain[PLAIN_MAX];
	uint64_t revision, hash;
	const char *at = plain + STORE_PREFIX + 1;

	if (!to_plain(plain, text) || at[-1] != '.' || !read_number(&revision, at) ||
	    !read_number(&hash, at + NUMBER + 1))
		return error_set(err, ERROR_PAGE_TOKEN, "malformed");
	if (strncmp(plain, store_id, STORE_PREFIX) != 0)
		return error_set(err, ERROR_PAGE_TOKEN, "of another store");
	if (hash != filters)
		return error_set(err, ERROR_PAGE_TOKEN, "the request's other fields have changed");
	if (plain[HEAD] && !text_is_id(plain + HEAD))
		return error_set(err, ERROR_PAGE_TOKEN, "malformed");
	ret->revision = revision;
	text_copy(ret->last, sizeof ret->last, plain + HEAD);
	return 0;
}
