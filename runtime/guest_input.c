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

/* Is there @word at *@at? Goes behind it. */
static bool skip(char **at, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(*at, word, length) != 0)
		return false;
	*at += length;
	return true;
}

/* {"stream":N,"fd":F,"data":"..."}, and nothing else at all; @line ends at @end, with a NUL. */
static bool read_output(char *line, const char *end, GuestSaid *ret)
{
	static const char base64[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
	char *at = line, *data;

	if (!skip(&at, "{\"stream\":") || *at < '1' || *at > '9')
		return false;
	errno = 0;
	ret->stream = strtoll(at, &at, 10);
	if (errno || !skip(&at, ",\"fd\":") || (*at != '1' && *at != '2'))
		return false;
	ret->fd = *at++ - '0';
	if (!skip(&at, ",\"data\":\""))
		return false;
	data = at;
	at += strspn(at, base64);
	ret->data = data;
	ret->object = NULL;
	if (end - at != 2 || strcmp(at, "\"}") != 0)
		return false;
	*at = '\0';
	return true;
}

/* The line that is kept; false: it says nothing. */
static bool read_line(GuestInput *input, GuestSaid *ret)
{
	bool says;

	input->bytes[input->count] = '\0'; /* lines are shorter than there is room */
	says = read_output(input->bytes, input->bytes + input->count, ret);
	if (!says) {
		*ret = (GuestSaid){ .object = json_loadb(input->bytes, input->count, 0, NULL) };
		says = json_is_object(ret->object);
	}
	if (!says) {
		json_decref(take_ptr(ret->object));
		input->skipped += input->count + 1;
	}
	input->count = 0;
	return says;
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

int guest_input_take(GuestInput *input, const char **bytes, size_t *count, GuestSaid *ret)
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
		if (!skipped && input->count && read_line(input, ret))
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
