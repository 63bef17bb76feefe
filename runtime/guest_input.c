/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest_input.h"

#include "base/cleanup.h"

#include <openssl/evp.h>
#include <string.h>

enum {
	GROUP_BYTES = 3, /* of base64: as many bytes are */
	GROUP_TEXT = 4,  /* so many characters */
};

void guest_input_clear(GuestInput *input)
{
	free(input->bytes);
	*input = (GuestInput){ 0 };
}

/* The line that is kept, as an object; NULL: it is none. */
static json_t *read_line(GuestInput *input)
{
	json_t *object = json_loadb(input->bytes, input->count, 0, NULL);

	if (!json_is_object(object)) {
		json_decref(object);
		object = NULL;
		input->skipped += input->count + 1;
	}
	input->count = 0;
	return object;
}

/* Keeps @count more bytes of a line, unless it gets too long. */
static void keep(GuestInput *input, const char *bytes, size_t count)
{
	if (!input->bytes)
		input->bytes = must_calloc(GUEST_LINE_MAX, 1);
	if (input->skipping || input->count + count >= GUEST_LINE_MAX) {
		input->skipped += input->count + count;
		input->count = 0;
		input->skipping = true;
		return;
	}
	memcpy(input->bytes + input->count, bytes, count);
	input->count += count;
}

int guest_input_take(GuestInput *input, const char **bytes, size_t *count, json_t **ret)
{
	while (*count > 0) {
		const char *end = memchr(*bytes, '\n', *count);
		size_t length = end ? (size_t)(end - *bytes) : *count;
		bool skipped;

		keep(input, *bytes, length);
		*bytes += length + (end != NULL);
		*count -= length + (end != NULL);
		if (!end)
			return 0;
		skipped = input->skipping;
		input->skipping = false;
		*ret = skipped || !input->count ? NULL : read_line(input);
		if (*ret)
			return 1;
	}
	return 0;
}

/* One or two of "=" at the end; OpenSSL takes them anywhere. */
static bool is_padded(const char *text, size_t length)
{
	size_t pads = length - strcspn(text, "=");

	return pads < GROUP_BYTES && strspn(text + length - pads, "=") == pads;
}

int guest_decode(unsigned char *ret, size_t room, const char *text)
{
	size_t length = strlen(text), bytes = length / GROUP_TEXT * GROUP_BYTES;
	cleanup_free unsigned char *decoded = NULL;

	if (length % GROUP_TEXT || !is_padded(text, length) || bytes > room + GROUP_BYTES - 1)
		return -EINVAL;
	decoded = must_calloc(bytes + 1, 1);
	if (EVP_DecodeBlock(decoded, (const unsigned char *)text, (int)length) != (int)bytes)
		return -EINVAL;
	for (size_t i = 1; i < GROUP_BYTES && bytes && text[length - i] == '='; i++)
		bytes--;
	if (bytes > room)
		return -EINVAL;
	memcpy(ret, decoded, bytes);
	return (int)bytes;
}

char *guest_encode(const void *bytes, size_t count)
{
	char *text = must_calloc((count + GROUP_BYTES - 1) / GROUP_BYTES * GROUP_TEXT + 1, 1);

	(void)EVP_EncodeBlock((unsigned char *)text, bytes, (int)count);
	return text;
}
