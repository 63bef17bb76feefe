/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/log.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};
static_assert(array_size(level_names) == LOG_LEVEL_COUNT_, "name every level");

static bool log_json;
static LogLevel log_level = LOG_LEVEL_INFO;

enum {
	TAIL = 3 /* what closes a value and the line: quote, brace, newline */
};

void log_init(bool json, const char *level)
{
	log_json = json;
	for (LogLevel i = LOG_LEVEL_ERROR; i < LOG_LEVEL_COUNT_; i++)
		if (strcmp(level_names[i], level) == 0)
			log_level = i;
}

/* All of @bytes or nothing, leaving room for the tail. */
static bool put(LogLine *line, const char *bytes, size_t count)
{
	if (line->length + count + TAIL + 1 > sizeof line->text)
		return false;
	memcpy(line->text + line->length, bytes, count);
	line->length += count;
	return true;
}

static bool put_text(LogLine *line, const char *text)
{
	return put(line, text, strlen(text));
}

/* For what closes: there is always room. */
static void put_tail(LogLine *line, char c)
{
	assert(line->length + 1 < sizeof line->text);
	line->text[line->length++] = c;
}

/* A byte that is not printable ASCII, or that quoting needs escaped; JSON reads the same. */
static bool put_escaped(LogLine *line, unsigned char c)
{
	char escape[8];
	int n;

	if (c == '"' || c == '\\')
		n = snprintf(escape, sizeof escape, "\\%c", c);
	else
		n = snprintf(escape, sizeof escape, "\\u%04x", c < 0x80 ? c : 0xfffdU);
	return put(line, escape, (size_t)n);
}

static size_t sequence_length(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xe0)
		return 2;
	return first < 0xf0 ? 3 : 4;
}

static void put_quoted(LogLine *line, const char *value)
{
	bool is_utf8 = text_is_utf8(value, strlen(value));
	bool fits = true;

	put_tail(line, '"');
	while (*value && fits) {
		unsigned char c = (unsigned char)*value;
		size_t n = is_utf8 ? sequence_length(c) : 1;

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || (c >= 0x80 && !is_utf8))
			fits = put_escaped(line, c);
		else
			fits = put(line, value, n);
		value += n;
	}
	put_tail(line, '"');
}

static bool is_plain(const char *value)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_./:+@,[]";

	return strspn(value, plain) == strlen(value);
}

/* False when the line has no room for another key. */
static bool put_key(LogLine *line, const char *key)
{
	size_t before = line->length;
	bool fits;

	if (log_json)
		fits = put_text(line, line->length > 1 ? ",\"" : "\"") && put_text(line, key) &&
		       put_text(line, "\":");
	else
		fits = put_text(line, line->length ? " " : "") && put_text(line, key) &&
		       put_text(line, "=");
	/* Room for the quotes, too. */
	if (fits && line->length + 2 + TAIL + 1 <= sizeof line->text)
		return true;
	line->length = before;
	return false;
}

static void begin(LogLine *line, LogLevel level, const char *event)
{
	int64_t now = clock_wall_us();
	time_t seconds = (time_t)(now / USEC_PER_SEC);
	char text[64];
	size_t n;
	struct tm tm;

	line->length = 0;
	line->muted = false;
	(void)gmtime_r(&seconds, &tm);
	n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text + n, sizeof text - n, ".%06" PRId64 "Z", now % USEC_PER_SEC);
	if (log_json)
		(void)put_text(line, "{");
	log_text(line, "time", text);
	log_text(line, "level", level_names[level]);
	log_text(line, "event", event);
}

void log_begin(LogLine *line, LogLevel level, const char *event)
{
	if (level > log_level)
		line->muted = true;
	else
		begin(line, level, event);
}

void log_begin_always(LogLine *line, const char *event)
{
	begin(line, LOG_LEVEL_INFO, event);
}

void log_text(LogLine *line, const char *key, const char *value)
{
	if (line->muted || !value || !*value || !put_key(line, key))
		return;
	if (log_json || !is_plain(value) || !put_text(line, value))
		put_quoted(line, value);
}

void log_number(LogLine *line, const char *key, int64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%" PRId64, value);
	if (!line->muted && line->length + sizeof text + TAIL + 1 < sizeof line->text &&
	    put_key(line, key))
		(void)put_text(line, text);
}

void log_close(LogLine *line)
{
	if (line->muted) {
		line->text[0] = '\0';
		return;
	}
	if (log_json)
		put_tail(line, '}');
	put_tail(line, '\n');
	line->text[line->length] = '\0';
}

void log_end(LogLine *line)
{
	ssize_t ignored;

	log_close(line);
	if (line->muted)
		return;
	/* A log nobody takes is no reason to stop serving. */
	ignored = write(STDERR_FILENO, line->text, line->length);
	(void)ignored;
}
