/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/text.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	USEC = 1000000,
	NUMBER_MAX = 40,
};

static void put(MetricsText *text, const char *bytes, size_t count)
{
	if (text->length + count > text->room) {
		text->room = 2 * (text->length + count);
		text->bytes = must_realloc(text->bytes, text->room, 1);
	}
	memcpy(text->bytes + text->length, bytes, count);
	text->length += count;
}

static void put_text(MetricsText *text, const char *what)
{
	put(text, what, strlen(what));
}

/* As the format wants them of a label's value. */
static void put_value(MetricsText *text, const char *value)
{
	for (; *value; value++) {
		if (*value == '\n')
			put_text(text, "\\n");
		else if (*value == '"' || *value == '\\')
			put(text, (char[]){ '\\', *value }, 2);
		else
			put(text, value, 1);
	}
}

void metrics_head(MetricsText *text, const char *name, const char *type, const char *help)
{
	const char *const words[] = {
		"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"
	};

	for (size_t i = 0; i < array_size(words); i++)
		put_text(text, words[i]);
}

static void put_labels(MetricsText *text, const char *const *labels, const char *le)
{
	const char *before = "{";

	for (; *labels; labels += 2) {
		put_text(text, before);
		put_text(text, labels[0]);
		put_text(text, "=\"");
		put_value(text, labels[1]);
		put_text(text, "\"");
		before = ",";
	}
	if (le) {
		put_text(text, before);
		put_text(text, "le=\"");
		put_text(text, le);
		put_text(text, "\"");
		before = ",";
	}
	if (*before == ',')
		put_text(text, "}");
}

static void put_sample(MetricsText *text, const char *name, const char *suffix,
		       const char *const *labels, const char *le, const char *value)
{
	put_text(text, name);
	put_text(text, suffix);
	put_labels(text, labels, le);
	put_text(text, " ");
	put_text(text, value);
	put_text(text, "\n");
}

static void format_number(char ret[static NUMBER_MAX], uint64_t value)
{
	(void)snprintf(ret, NUMBER_MAX, "%" PRIu64, value);
}

/* Exact: no more digits than there are, and none that are not. */
static void format_seconds(char ret[static NUMBER_MAX], int64_t usec)
{
	char *end;

	(void)snprintf(ret, NUMBER_MAX, "%" PRId64 ".%06" PRId64, usec / USEC, usec % USEC);
	end = ret + strlen(ret) - 1;
	while (*end == '0')
		*end-- = '\0';
	if (*end == '.')
		*end = '\0';
}

void metrics_number(MetricsText *text, const char *name, const char *const *labels, uint64_t value)
{
	char number[NUMBER_MAX];

	format_number(number, value);
	put_sample(text, name, "", labels, NULL, number);
}

void metrics_seconds(MetricsText *text, const char *name, const char *const *labels, int64_t usec)
{
	char number[NUMBER_MAX];

	format_seconds(number, usec);
	put_sample(text, name, "", labels, NULL, number);
}

void metrics_histogram(MetricsText *text, const char *name, const char *const *labels,
		       const Histogram *histogram)
{
	char number[NUMBER_MAX], bound[NUMBER_MAX];
	uint64_t count = 0;

	for (size_t i = 0; i < HISTOGRAM_BOUNDS; i++) {
		count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		format_number(number, count);
		format_seconds(bound, histogram_bounds[i]);
		put_sample(text, name, "_bucket", labels, bound, number);
	}
	count += atomic_load_explicit(&histogram->counts[HISTOGRAM_BOUNDS], memory_order_relaxed);
	format_number(number, count);
	put_sample(text, name, "_bucket", labels, "+Inf", number);
	format_seconds(bound,
		       (int64_t)atomic_load_explicit(&histogram->usec, memory_order_relaxed));
	put_sample(text, name, "_sum", labels, NULL, bound);
	put_sample(text, name, "_count", labels, NULL, number);
}
