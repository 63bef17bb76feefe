/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/line.h"

#include "runtime/guest/base64.h"
#include "runtime/guest/utf8.h"

#include <inttypes.h>
#include <string.h>

static void put(GuestLine *line, const char *bytes, size_t length)
{
	if (line->spoilt || length > (size_t)(line->end - line->at)) {
		line->spoilt = true;
		return;
	}
	memcpy(line->at, bytes, length);
	line->at += length;
}

/* What is no UTF-8, as where a message was cut off, becomes "?": the host would skip the line. */
static void put_text(GuestLine *line, const char *text)
{
	size_t left = strlen(text);

	put(line, "\"", 1);
	while (left) {
		size_t length = guest_utf8_length(text, left);
		unsigned char c = (unsigned char)*text;
		char escape[8];

		if (!length) {
			put(line, "?", 1);
			length = 1;
		} else if (c == '"' || c == '\\' || c < 0x20) {
			put(line, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
		} else {
			put(line, text, length);
		}
		text += length;
		left -= length;
	}
	put(line, "\"", 1);
}

static void put_name(GuestLine *line, const char *name)
{
	if (line->at != line->start + 1)
		put(line, ",", 1);
	put_text(line, name);
	put(line, ":", 1);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the line is written to */
void guest_line_begin(GuestLine *line, char *room, size_t size)
{
	*line = (GuestLine){ .start = room, .at = room, .end = room + size };
	put(line, "{", 1);
}

void guest_line_number(GuestLine *line, const char *name, int64_t number)
{
	char digits[24];

	put_name(line, name);
	put(line, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, number));
}

void guest_line_bool(GuestLine *line, const char *name, bool value)
{
	put_name(line, name);
	put(line, value ? "true" : "false", value ? 4 : 5);
}

void guest_line_text(GuestLine *line, const char *name, const char *text)
{
	put_name(line, name);
	put_text(line, text);
}

void guest_line_data(GuestLine *line, const char *name, const void *bytes, size_t length)
{
	put_name(line, name);
	put(line, "\"", 1);
	if (line->spoilt || GUEST_BASE64_LENGTH(length) > (size_t)(line->end - line->at))
		line->spoilt = true;
	else
		line->at = guest_base64_write(line->at, bytes, length);
	put(line, "\"", 1);
}

size_t guest_line_end(GuestLine *line)
{
	put(line, "}\n", 2);
	return line->spoilt ? 0 : (size_t)(line->at - line->start);
}
