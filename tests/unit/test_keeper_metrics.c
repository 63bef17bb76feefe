/* SPDX-License-Identifier: Apache-2.0 */

/* What a VMM's lines add up to, as an agent reads it. */

#include "base/file.h"
/* NOLINTNEXTLINE(bugprone-suspicious-include): the keeper is a program, not a library */
#include "runtime/keeper/metrics.c"
#include "runtime/vmm_metrics.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>

typedef struct Desk {
	char dir[64];
	KeeperMetrics *metrics;
	VmMetrics seen;
} Desk;

static void desk_free(Desk *desk)
{
	vmm_metrics_clear(&desk->seen);
	metrics_free(desk->metrics);
	(void)!file_remove_tree(desk->dir);
	free(desk);
}
DEFINE_CLEANUP(Desk *, desk_free);

static Desk *desk_new(void)
{
	Desk *desk = new0(Desk);

	(void)stpcpy(desk->dir, "/tmp/hearth-metrics-XXXXXX");
	cr_assert_not_null(mkdtemp(desk->dir));
	desk->metrics = metrics_new(desk->dir);
	return desk;
}

static void hear(Desk *desk, const char *text)
{
	metrics_feed(desk->metrics, text, strlen(text));
}

static const VmMetric *find_seen(Desk *desk, const char *name)
{
	vmm_metrics_clear(&desk->seen);
	cr_assert_eq(vmm_metrics_load(&desk->seen, desk->dir), 0);
	for (size_t i = 0; i < desk->seen.count; i++)
		if (strcmp(desk->seen.items[i].name, name) == 0)
			return &desk->seen.items[i];
	return NULL;
}

static void check(Desk *desk, const char *name, MetricKind kind, uint64_t value)
{
	const VmMetric *metric = find_seen(desk, name);

	cr_assert_not_null(metric, "no %s", name);
	cr_assert_eq(metric->kind, kind, "%s", name);
	cr_assert_eq(metric->value, value, "%s: %zu", name, (size_t)metric->value);
}

/* A line that says @value of "group.name" or "name". */
static void hear_value(Desk *desk, const char *name, int value)
{
	const char *dot = strchr(name, '.');
	cleanup_free char *line = dot ? text_printf("{\"%.*s\": {\"%s\": %d}}\n", (int)(dot - name),
						    name, dot + 1, value)
				      : text_printf("{\"%s\": %d}\n", name, value);

	hear(desk, line);
}

Test(keeper_metrics, counters_are_the_sum_of_what_was_told)
{
	cleanup_(desk_freep) Desk *desk = desk_new();

	hear(desk, "{\"block\": {\"read_bytes\": 5}, \"vcpu\": {\"exit_io_in\": 1}}\n");
	hear(desk, "{\"block\": {\"read_bytes\": 0}}\n{\"block\": {\"read_bytes\": 7}}\n");

	check(desk, "block.read_bytes", METRIC_COUNTER, 12);
	check(desk, "vcpu.exit_io_in", METRIC_COUNTER, 1);
	cr_assert_eq(metrics_value(desk->metrics, "block.read_bytes"), 12);
	cr_assert_eq(metrics_value(desk->metrics, "block.write_bytes"), 0);
	cr_assert_eq(desk->seen.flushes, 3);
	cr_assert_eq(vmm_metrics_flushes(desk->dir), 3);
	cr_assert_leq(desk->seen.time, clock_wall_us());
	cr_assert_gt(desk->seen.time, clock_wall_us() - 60 * (int64_t)USEC_PER_SEC);
}

Test(keeper_metrics, gauges_are_the_latest_value)
{
	static const char *const gauges[] = {
		"utc_timestamp_ms",
		"api_server.process_startup_time_us",
		"api_server.process_startup_time_cpu_us",
		"latencies_us.pause_vm",
		"latencies_us.vmm_load_snapshot",
		"seccomp.num_faults",
		"vmm.panic_count",
		"signals.sigbus",
		"signals.sigsegv",
		"signals.sigxfsz",
		"signals.sigxcpu",
		"signals.sighup",
		"signals.sigill",
		"vhost_user_data.init_time_us",
		"vhost_user_data.activate_time_us",
		"vhost_user_data.config_change_time_us",
	};
	cleanup_(desk_freep) Desk *desk = desk_new();

	for (size_t i = 0; i < array_size(gauges); i++) {
		hear_value(desk, gauges[i], 9);
		hear_value(desk, gauges[i], 4);

		check(desk, gauges[i], METRIC_GAUGE, 4);
	}
}

Test(keeper_metrics, what_is_named_much_like_a_gauge_is_a_counter)
{
	static const char *const counters[] = {
		"signals.sigpipe",   "vhost_user_data.cfg_fails", "api_server.sync_response_fails",
		"vmm.device_events", "seccomp_num.faults",        "block.queue_event_count",
	};
	cleanup_(desk_freep) Desk *desk = desk_new();

	for (size_t i = 0; i < array_size(counters); i++) {
		hear_value(desk, counters[i], 2);
		hear_value(desk, counters[i], 1);

		check(desk, counters[i], METRIC_COUNTER, 3);
	}
}

Test(keeper_metrics, latencies_keep_the_runs_extremes_and_their_sum)
{
	static const char line[] =
		"{\"block_d\": {\"read_agg\": {\"min_us\": %d, \"max_us\": %d, \"sum_us\": %d}}}\n";
	static const int said[][3] = { { 0, 0, 0 }, { 5, 50, 60 }, { 3, 40, 43 }, { 0, 9, 9 } };
	cleanup_(desk_freep) Desk *desk = desk_new();

	for (size_t i = 0; i < array_size(said); i++) {
		char text[sizeof line + 32];

		(void)snprintf(text, sizeof text, line, said[i][0], said[i][1], said[i][2]);
		hear(desk, text);
	}

	check(desk, "block_d.read_agg.min_us", METRIC_GAUGE, 3);
	check(desk, "block_d.read_agg.max_us", METRIC_GAUGE, 50);
	check(desk, "block_d.read_agg.sum_us", METRIC_COUNTER, 112);
}

Test(keeper_metrics, a_line_may_come_in_any_pieces)
{
	static const char lines[] = "{\"a\": {\"b\": 1, \"c\": 20}}\n{\"a\": {\"b\": 2}}\n";

	for (size_t piece = 1; piece < sizeof lines; piece++) {
		cleanup_(desk_freep) Desk *desk = desk_new();

		for (size_t at = 0; at < sizeof lines - 1; at += piece) {
			size_t left = sizeof lines - 1 - at;

			metrics_feed(desk->metrics, lines + at, piece < left ? piece : left);
		}

		check(desk, "a.b", METRIC_COUNTER, 3);
		check(desk, "a.c", METRIC_COUNTER, 20);
		cr_assert_eq(desk->seen.flushes, 2);
	}
}

Test(keeper_metrics, a_torn_line_is_told_by_nobody)
{
	cleanup_(desk_freep) Desk *desk = desk_new();

	hear(desk, "{\"a\": 1}\n{\"a\": 2");

	check(desk, "a", METRIC_COUNTER, 1);
	cr_assert_eq(desk->seen.flushes, 1);
	hear(desk, "0}\n");
	check(desk, "a", METRIC_COUNTER, 21);
}

Test(keeper_metrics, an_overlong_line_is_dropped_and_the_next_is_read)
{
	cleanup_(desk_freep) Desk *desk = desk_new();
	cleanup_free char *blanks = text_printf("%*s", LINE_MAX_BYTES, "");

	hear(desk, "{\"a\": 1, \"b\": ");
	hear(desk, blanks);
	hear(desk, "3}\n{\"a\": 2}\n");

	check(desk, "a", METRIC_COUNTER, 2);
	cr_assert_null(find_seen(desk, "b"));
	cr_assert_eq(desk->seen.flushes, 1);
}

Test(keeper_metrics, a_line_as_long_as_may_be_is_read_and_one_byte_more_is_not)
{
	static const char text[] = "{\"a\": 1}\n";
	int room = LINE_MAX_BYTES - (int)(sizeof text - 2);
	cleanup_free char *fits = text_printf("%*s%s", room, "", text);
	cleanup_free char *longer = text_printf("%*s%s", room + 1, "", text);
	cleanup_(desk_freep) Desk *desk = desk_new();

	hear(desk, longer);
	hear(desk, fits);

	check(desk, "a", METRIC_COUNTER, 1);
	cr_assert_eq(desk->seen.flushes, 1);
}

Test(keeper_metrics, what_is_no_object_is_dropped)
{
	static const char *const garbage[] = {
		"",
		"[]",
		"1",
		"{",
		"{\"a\": 1",
		"{\"a\": 1}}",
		"x",
		"{\"a\": 18446744073709551616}",
		"{\"a\": \"\xff\"}",
	};
	cleanup_(desk_freep) Desk *desk = desk_new();

	for (size_t i = 0; i < array_size(garbage); i++) {
		hear(desk, garbage[i]);
		hear(desk, "\n");
	}
	cr_assert_eq(vmm_metrics_load(&desk->seen, desk->dir), -ENOENT);
	hear(desk, "{\"a\": 3}\n");

	check(desk, "a", METRIC_COUNTER, 3);
	cr_assert_eq(desk->seen.count, 1);
	cr_assert_eq(desk->seen.flushes, 1);
}

Test(keeper_metrics, brackets_without_end_do_no_harm)
{
	static const char object[] = "{\"a\":";
	cleanup_(desk_freep) Desk *desk = desk_new();
	cleanup_free char *deep = new0_array(char, LINE_MAX_BYTES);

	memset(deep, '[', LINE_MAX_BYTES - 1);
	hear(desk, deep);
	for (size_t i = 0; i < LINE_MAX_BYTES - 1; i++)
		deep[i] = object[i % 5];
	hear(desk, "\n");
	hear(desk, deep);
	hear(desk, "\n{\"a\": 1}\n");

	check(desk, "a", METRIC_COUNTER, 1);
	cr_assert_eq(desk->seen.flushes, 1);
}

Test(keeper_metrics, what_is_no_metric_is_passed_over)
{
	cleanup_(desk_freep) Desk *desk = desk_new();

	hear(desk, "{\"id\": \"x\", \"minus\": -1, \"half\": 0.5, \"yes\": true, \"none\": null, "
		   "\"list\": [1], \"a.b\": 1, \"\": 1, \"a b\": 1, \"q\\\"\": 1, "
		   "\"a\": {\"b\": {\"c\": 1, \"d\": {\"e\": 1}}}}\n");

	check(desk, "a.b.c", METRIC_COUNTER, 1);
	cr_assert_eq(desk->seen.count, 1);
	cr_assert_eq(desk->seen.flushes, 1);
}

Test(keeper_metrics, a_name_too_long_is_passed_over)
{
	cleanup_(desk_freep) Desk *desk = desk_new();
	char fits[NAME_MAX_BYTES] = "";
	cleanup_free char *line = NULL;

	memset(fits, 'n', sizeof fits - 1);
	line = text_printf("{\"%s\": 1, \"%sn\": 1, \"a\": {\"%s\": 1}}\n", fits, fits, fits);
	hear(desk, line);

	check(desk, fits, METRIC_COUNTER, 1);
	cr_assert_eq(desk->seen.count, 1);
}

Test(keeper_metrics, only_so_many_are_kept_and_those_go_on)
{
	cleanup_(desk_freep) Desk *desk = desk_new();
	char text[64 * (LEAVES_MAX + 10)];
	char *at = text;

	for (int i = 0; i < LEAVES_MAX + 10; i++)
		at = text_append(at, text + sizeof text, "{\"m%d\": 1}\n", i);
	hear(desk, text);
	hear(desk, text);

	check(desk, "m0", METRIC_COUNTER, 2);
	cr_assert_eq(desk->seen.count, LEAVES_MAX);
	cr_assert_null(find_seen(desk, "m4100"));
}

Test(keeper_metrics, a_sum_stays_at_the_largest_number_and_is_read_like_any)
{
	cleanup_(desk_freep) Desk *desk = desk_new();

	for (int i = 0; i < 3; i++)
		hear(desk, "{\"a\": 9223372036854775800, \"b\": 1}\n");

	check(desk, "a", METRIC_COUNTER, INT64_MAX);
	check(desk, "b", METRIC_COUNTER, 3);
}

Test(keeper_metrics, names_are_told_in_order)
{
	cleanup_(desk_freep) Desk *desk = desk_new();

	hear(desk, "{\"b\": 1, \"c\": 1, \"a\": 1}\n");

	cr_assert_not_null(find_seen(desk, "a"));
	cr_assert_str_eq(desk->seen.items[0].name, "a");
	cr_assert_str_eq(desk->seen.items[1].name, "b");
	cr_assert_str_eq(desk->seen.items[2].name, "c");
}

/* How many files were made where @watch looks. */
static int count_files(int watch)
{
	char events[4096];
	ssize_t n = read(watch, events, sizeof events);
	int files = 0;

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(events + at);

		files += event->mask & IN_CREATE ? 1 : 0;
		at += (ssize_t)(sizeof *event + event->len);
	}
	return files;
}

Test(keeper_metrics, a_flood_of_lines_is_no_flood_of_files)
{
	cleanup_(desk_freep) Desk *desk = desk_new();
	cleanup_close int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	char flood[3 * 1000];

	for (size_t i = 0; i < sizeof flood; i++)
		flood[i] = "{}\n"[i % 3];
	/* Equal events in a row would be one: so of moves as well. */
	cr_assert_geq(inotify_add_watch(watch, desk->dir, IN_CREATE | IN_MOVED_TO), 0);
	metrics_feed(desk->metrics, flood, sizeof flood);

	cr_assert_eq(vmm_metrics_flushes(desk->dir), 1000);
	cr_assert_eq(count_files(watch), 1);
}

Test(keeper_metrics, a_full_disk_leaves_the_older_file_and_the_next_line_mends_it)
{
	const struct rlimit full = { 16, RLIM_INFINITY }, empty = { RLIM_INFINITY, RLIM_INFINITY };
	cleanup_(desk_freep) Desk *desk = desk_new();
	cleanup_free char *aside = text_printf("%s/metrics.json.new", desk->dir);

	(void)signal(SIGXFSZ, SIG_IGN);
	hear(desk, "{\"a\": 1}\n");
	check(desk, "a", METRIC_COUNTER, 1);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
	hear(desk, "{\"a\": 1}\n");
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &empty), 0);

	check(desk, "a", METRIC_COUNTER, 1);
	cr_assert_eq(access(aside, F_OK), -1);
	hear(desk, "{\"a\": 1}\n");
	check(desk, "a", METRIC_COUNTER, 3);
}
