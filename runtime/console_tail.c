/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/console.h"

#include <string.h>

/* The keeper's line at the start of a run, where the console goes on from an earlier one. */
static const char start_marker[] = "[hearth: started ";

/* As many of the console's last bytes as @size holds. */
static size_t read_tail(char *buffer, size_t size, const char *run_dir, ConsoleSource source)
{
	cleanup_(console_closep) ConsoleReader *reader = console_open(run_dir, source, size);
	size_t used = 0;
	ssize_t n;
	bool gap;

	do {
		n = console_read(reader, buffer + used, size - used, &gap);
		if (n > 0)
			used += (size_t)n;
	} while (n > 0 && used < size);
	return used;
}

/* Behind the last line of @text that begins a run, or @text. */
static const char *run_start(const char *text, const char *end)
{
	const char *start = text, *at = text;

	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		size_t length = (size_t)((line_end ? line_end : end) - at);

		if (length >= sizeof start_marker - 1 &&
		    memcmp(at, start_marker, sizeof start_marker - 1) == 0)
			start = line_end ? line_end + 1 : end;
		if (!line_end)
			break;
		at = line_end + 1;
	}
	return start;
}

char *console_tail(const char *run_dir, ConsoleSource source, size_t max)
{
	/* One byte more tells whether the first of the others begins a line. */
	cleanup_free char *bytes = must_calloc(max + 1, 1);
	size_t length = read_tail(bytes, max + 1, run_dir, source);
	const char *start = bytes, *end = bytes + length, *line;
	char *text;

	if (length > max) {
		line = memchr(bytes, '\n', length);
		start = line && line + 1 < end ? line + 1 : bytes + 1;
	}
	start = run_start(start, end);
	if (start == end)
		return NULL;
	text = must_calloc(3 * (size_t)(end - start) + 1, 1);
	(void)text_to_utf8(text, start, (size_t)(end - start));
	return text;
}
