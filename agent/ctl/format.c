/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/format.h"

#include "base/clock.h"
#include "base/text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

void print_clean(FILE *to, const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = text_vprintf(format, ap);
	va_end(ap);
	for (char *at = text; *at; at++)
		if (iscntrl((unsigned char)*at) && !strchr("\n\t", *at))
			*at = (char)(*at == '\r' && at[1] == '\n' ? ' ' : '?');
	(void)fputs(text, to);
}

void print_field(const char *name, const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list ap;

	va_start(ap, format);
	text = text_vprintf(format, ap);
	va_end(ap);
	if (*text)
		print_clean(stdout, "%-14s %s\n", name, text);
}

void list_add(char **list, const char *separator, const char *format, ...)
{
	cleanup_free char *before = *list;
	cleanup_free char *item = NULL;
	va_list ap;

	va_start(ap, format);
	item = text_vprintf(format, ap);
	va_end(ap);
	*list = text_printf("%s%s%s", before ? before : "", before ? separator : "", item);
}

const char *format_span(int64_t usec, char buffer[static FORMAT_MAX])
{
	static const struct {
		const char *name;
		int64_t seconds;
	} units[] = { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };
	static const int64_t tenth = USEC_PER_SEC / 10;
	int64_t seconds = usec / USEC_PER_SEC;
	const char *end = buffer + FORMAT_MAX;
	size_t i = 0;
	char *at;

	if (usec < USEC_PER_SEC) {
		(void)text_append(buffer, end, "%" PRId64 "ms",
				  usec < 0 ? 0 : usec / USEC_PER_MSEC);
		return buffer;
	}
	if (seconds < 10 && usec % USEC_PER_SEC >= tenth) {
		(void)text_append(buffer, end, "%" PRId64 ".%" PRId64 "s", seconds,
				  usec % USEC_PER_SEC / tenth);
		return buffer;
	}
	while (seconds < units[i].seconds)
		i++;
	at = text_append(buffer, end, "%" PRId64 "%s", seconds / units[i].seconds, units[i].name);
	seconds %= units[i].seconds;
	if (i + 1 < array_size(units) && seconds >= units[i + 1].seconds)
		(void)text_append(at, end, "%" PRId64 "%s", seconds / units[i + 1].seconds,
				  units[i + 1].name);
	return buffer;
}

static int64_t usec_of(const Google__Protobuf__Timestamp *time)
{
	return time->seconds * USEC_PER_SEC + time->nanos / 1000;
}

const char *format_between(const Google__Protobuf__Timestamp *start,
			   const Google__Protobuf__Timestamp *end, char buffer[static FORMAT_MAX])
{
	if (!start) {
		text_copy(buffer, FORMAT_MAX, "-");
		return buffer;
	}
	return format_span((end ? usec_of(end) : clock_wall_us()) - usec_of(start), buffer);
}

const char *format_age(const Google__Protobuf__Timestamp *time, char buffer[static FORMAT_MAX])
{
	return format_between(time, NULL, buffer);
}

const char *format_time(const Google__Protobuf__Timestamp *time, char buffer[static FORMAT_MAX])
{
	struct tm tm = { 0 };
	time_t seconds;

	if (!time) {
		text_copy(buffer, FORMAT_MAX, "-");
		return buffer;
	}
	seconds = (time_t)time->seconds;
	(void)localtime_r(&seconds, &tm);
	(void)text_append(buffer, buffer + FORMAT_MAX, "%04d-%02d-%02d %02d:%02d:%02d.%03d",
			  tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			  tm.tm_sec, time->nanos / 1000000);
	return buffer;
}

const char *format_mib(uint64_t mib, char buffer[static FORMAT_MAX])
{
	if (mib >= 1024 && mib % 1024 == 0)
		(void)text_append(buffer, buffer + FORMAT_MAX, "%" PRIu64 "GiB", mib / 1024);
	else
		(void)text_append(buffer, buffer + FORMAT_MAX, "%" PRIu64 "MiB", mib);
	return buffer;
}

const char *format_bytes(uint64_t bytes, char buffer[static FORMAT_MAX])
{
	enum {
		MIB = 1 << 20
	};

	return format_mib((bytes + MIB - 1) / MIB, buffer);
}
