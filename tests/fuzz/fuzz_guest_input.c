/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a guest says to hearthd: the first byte says how large the pieces are in which the rest
 * arrives, and in whichever it does, the same is read.
 */

#include "base/cleanup.h"
#include "base/text.h"
#include "runtime/guest_input.h"

#include <assert.h>
#include <string.h>

typedef struct Heard {
	GuestInput input;
	size_t objects;
} Heard;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Data that was taken is bytes that can be said, and taken, again. */
static void decode(const char *text)
{
	static unsigned char bytes[GUEST_DATA_MAX], again[GUEST_DATA_MAX];
	int count = guest_decode(bytes, sizeof bytes, text);
	cleanup_free char *said = NULL;

	assert(count <= GUEST_DATA_MAX);
	if (count < 0)
		return;
	said = guest_encode(bytes, (size_t)count);
	assert(guest_decode(again, (size_t)count, said) == count);
	assert(memcmp(bytes, again, (size_t)count) == 0);
	assert(count == 0 || guest_decode(again, (size_t)count - 1, said) < 0);
}

static void take(Heard *heard, json_t *object)
{
	const char *name;
	json_t *value;

	assert(json_is_object(object));
	heard->objects++;
	json_object_foreach(object, name, value)
	{
		if (json_is_string(value))
			decode(json_string_value(value));
	}
	json_decref(object);
}

/* Output that was read by hand is what JSON has of it. */
static void compare(const GuestSaid *said)
{
	cleanup_free char *line = text_printf("{\"stream\":%lld,\"fd\":%d,\"data\":\"%s\"}",
					      (long long)said->stream, said->fd, said->data);
	json_t *object = json_loads(line, 0, NULL);

	assert(json_integer_value(json_object_get(object, "stream")) == said->stream);
	assert(json_integer_value(json_object_get(object, "fd")) == said->fd);
	assert(strcmp(json_string_value(json_object_get(object, "data")), said->data) == 0);
	json_decref(object);
}

static void hear(Heard *heard, const char *bytes, size_t count)
{
	size_t before = count;
	GuestSaid said;

	while (guest_input_take(&heard->input, &bytes, &count, &said) == 1) {
		assert(count < before);
		before = count;
		if (said.object) {
			take(heard, said.object);
		} else {
			heard->objects++;
			compare(&said);
			decode(said.data);
		}
	}
	assert(count == 0 && heard->input.count < GUEST_LINE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data + 1;
	size_t length = size ? size - 1 : 0, piece = size ? (size_t)data[0] + 1 : 1;
	Heard whole = { 0 }, pieces = { 0 };

	if (!length)
		return 0;
	hear(&whole, bytes, length);
	for (size_t at = 0; at < length; at += piece)
		hear(&pieces, bytes + at, piece < length - at ? piece : length - at);
	assert(whole.objects == pieces.objects && whole.input.skipped == pieces.input.skipped);
	guest_input_clear(&whole.input);
	guest_input_clear(&pieces.input);
	return 0;
}
