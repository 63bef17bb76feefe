/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/metrics.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <malloc.h>
#include <string.h>

enum {
	LINE_MAX_BYTES = 128 * 1024,
	NAME_MAX_BYTES = 128,
	LEAVES_MAX = 4096,
	LEVELS_MAX = 3,
	FORMAT_VERSION = 1, /* of metrics.json: runtime/vmm_metrics.c */
};

typedef enum Rule {
	RULE_ADD,
	RULE_LAST,
	RULE_MIN,
	RULE_MAX,
} Rule;

typedef struct Leaf {
	char *name;
	uint64_t value;
	Rule rule;
} Leaf;

struct KeeperMetrics {
	const char *run_dir;
	char *line;
	size_t used;
	bool too_long; /* what follows up to the line's end is dropped */
	bool news;     /* since metrics.json was written */
	uint64_t flushes;
	Leaf *leaves; /* by name */
	size_t count;
};

/* Which are no counters, by the end or the beginning of their names: Firecracker's "store" metrics.
 */
static const struct {
	const char *begin, *end;
	Rule rule;
} rules[] = {
	{ "", ".min_us", RULE_MIN },
	{ "", ".max_us", RULE_MAX },
	{ "", "utc_timestamp_ms", RULE_LAST },
	{ "latencies_us.", "", RULE_LAST },
	{ "api_server.process_startup_time", "", RULE_LAST },
	{ "vmm.panic_count", "", RULE_LAST },
	{ "seccomp.num_faults", "", RULE_LAST },
	{ "signals.sigbus", "", RULE_LAST },
	{ "signals.sigsegv", "", RULE_LAST },
	{ "signals.sigxfsz", "", RULE_LAST },
	{ "signals.sigxcpu", "", RULE_LAST },
	{ "signals.sighup", "", RULE_LAST },
	{ "signals.sigill", "", RULE_LAST },
	{ "", ".init_time_us", RULE_LAST },
	{ "", ".activate_time_us", RULE_LAST },
	{ "", ".config_change_time_us", RULE_LAST },
};

static bool ends_in(const char *name, const char *end)
{
	size_t length = strlen(name), n = strlen(end);

	return length >= n && strcmp(name + length - n, end) == 0;
}

static Rule rule_of(const char *name)
{
	for (size_t i = 0; i < array_size(rules); i++)
		if (strncmp(name, rules[i].begin, strlen(rules[i].begin)) == 0 &&
		    ends_in(name, rules[i].end))
			return rules[i].rule;
	return RULE_ADD;
}

KeeperMetrics *metrics_new(const char *run_dir)
{
	KeeperMetrics *metrics = new0(KeeperMetrics);

	metrics->run_dir = run_dir;
	return metrics;
}

void metrics_free(KeeperMetrics *metrics)
{
	if (!metrics)
		return;
	for (size_t i = 0; i < metrics->count; i++)
		free(metrics->leaves[i].name);
	free(metrics->leaves);
	free(metrics->line);
	free(metrics);
}

/* Where @name is among the leaves, or belongs. */
static size_t find(const KeeperMetrics *metrics, const char *name, bool *found)
{
	size_t low = 0, high = metrics->count;

	*found = false;
	while (low < high && !*found) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(metrics->leaves[middle].name, name);

		*found = order == 0;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return *found ? high : low;
}

uint64_t metrics_value(const KeeperMetrics *metrics, const char *name)
{
	bool found;
	size_t i = find(metrics, name, &found);

	return found ? metrics->leaves[i].value : 0;
}

/* The leaf called @name, a new one if need be; NULL when there are too many. */
static Leaf *leaf_of(KeeperMetrics *metrics, const char *name)
{
	bool found;
	size_t i = find(metrics, name, &found);

	if (found)
		return &metrics->leaves[i];
	if (metrics->count == LEAVES_MAX)
		return NULL;
	metrics->leaves = must_realloc(metrics->leaves, metrics->count + 1, sizeof(Leaf));
	memmove(&metrics->leaves[i + 1], &metrics->leaves[i], (metrics->count - i) * sizeof(Leaf));
	metrics->leaves[i] = (Leaf){ .name = text_dup(name), .rule = rule_of(name) };
	metrics->count++;
	return &metrics->leaves[i];
}

static void take(Leaf *leaf, uint64_t value)
{
	switch (leaf->rule) {
	case RULE_ADD: /* up to what JSON's readers can hold */
		leaf->value = leaf->value > INT64_MAX - value ? INT64_MAX : leaf->value + value;
		break;
	case RULE_LAST:
		leaf->value = value;
		break;
	case RULE_MIN: /* 0 where nothing was measured */
		if (value && (!leaf->value || value < leaf->value))
			leaf->value = value;
		break;
	case RULE_MAX:
		if (value > leaf->value)
			leaf->value = value;
		break;
	}
}

/* Only what needs no escaping in JSON. */
static bool name_is_good(const char *name)
{
	static const char bytes[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	return *name && strspn(name, bytes) == strlen(name);
}

static void add_number(KeeperMetrics *metrics, const char *name, const json_t *value)
{
	Leaf *leaf = json_integer_value(value) < 0 ? NULL : leaf_of(metrics, name);

	if (leaf)
		take(leaf, (uint64_t)json_integer_value(value));
}

/* NOLINTNEXTLINE(misc-no-recursion): LEVELS_MAX deep */
static void add_object(KeeperMetrics *metrics, const char *before, json_t *object, int levels)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		char name[NAME_MAX_BYTES];
		int length = snprintf(name, sizeof name, "%s%s%s", before, *before ? "." : "", key);

		if (!name_is_good(key) || length >= (int)sizeof name)
			continue;
		if (json_is_object(value) && levels > 1)
			add_object(metrics, name, value, levels - 1);
		if (json_is_integer(value))
			add_number(metrics, name, value);
	}
}

/* Not synced: it need not outlive the host. What cannot be written is written next time. */
static void write_file(const KeeperMetrics *metrics)
{
	cleanup_free char *path = text_printf("%s/metrics.json", metrics->run_dir);
	cleanup_free char *aside = text_printf("%s.new", path);
	FILE *file = fopen(aside, "we");
	const char *comma = "";
	bool failed;

	if (!file)
		return;
	(void)fprintf(file,
		      "{\"version\": %d, \"flushes\": %" PRIu64 ", \"time\": %" PRId64
		      ", \"metrics\": {",
		      FORMAT_VERSION, metrics->flushes, clock_wall_us());
	for (size_t i = 0; i < metrics->count; i++, comma = ",")
		(void)fprintf(file, "%s\n\"%s\": [%d, %" PRIu64 "]", comma, metrics->leaves[i].name,
			      metrics->leaves[i].rule == RULE_ADD ? 1 : 2,
			      metrics->leaves[i].value);
	(void)fputs("}}\n", file);
	failed = ferror(file);
	if (fclose(file) != 0 || failed || rename(aside, path) < 0)
		(void)unlink(aside);
}

static void end_line(KeeperMetrics *metrics)
{
	json_t *root = metrics->too_long ? NULL : json_loadb(metrics->line, metrics->used, 0, NULL);

	metrics->used = 0;
	metrics->too_long = false;
	free(take_ptr(metrics->line));
	if (json_is_object(root)) {
		add_object(metrics, "", root, LEVELS_MAX);
		metrics->flushes++;
		metrics->news = true;
	}
	json_decref(root);
}

static void add_part(KeeperMetrics *metrics, const char *bytes, size_t length)
{
	if (length > LINE_MAX_BYTES - metrics->used)
		metrics->too_long = true;
	if (metrics->too_long || !length)
		return;
	metrics->line = must_realloc(metrics->line, metrics->used + length, 1);
	memcpy(metrics->line + metrics->used, bytes, length);
	metrics->used += length;
}

void metrics_feed(KeeperMetrics *metrics, const char *bytes, size_t length)
{
	const char *end = bytes + length;

	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));

		add_part(metrics, bytes, (size_t)((newline ? newline : end) - bytes));
		if (newline)
			end_line(metrics);
		bytes = newline ? newline + 1 : end;
	}
	/* Once for all lines: a flood of them must not become one of files. */
	if (!metrics->news)
		return;
	metrics->news = false;
	(void)malloc_trim(0); /* of a page or two that keepers by the thousand would hold */
	write_file(metrics);
}
