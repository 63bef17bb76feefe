/* SPDX-License-Identifier: Apache-2.0 */

/* Reading what keepers write, older and newer ones', and nonsense; and what a process uses. */

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/vmm_metrics.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>

typedef struct Place {
	char dir[64];
	VmMetrics metrics;
} Place;

static void place_free(Place *place)
{
	vmm_metrics_clear(&place->metrics);
	(void)!file_remove_tree(place->dir);
}

static Place place_new(void)
{
	Place place = { .dir = "/tmp/hearth-vmm-metrics-XXXXXX" };

	cr_assert_not_null(mkdtemp(place.dir));
	return place;
}

#define PLACE(name) cleanup_(place_free) Place name = place_new()

static int load(Place *place, const char *text)
{
	cleanup_free char *path = text_printf("%s/metrics.json", place->dir);

	vmm_metrics_clear(&place->metrics);
	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
	return vmm_metrics_load(&place->metrics, place->dir);
}

Test(vmm_metrics, what_is_in_the_file_is_told)
{
	PLACE(place);

	cr_assert_eq(load(&place, "{\"version\": 1, \"flushes\": 3, \"time\": 99, "
				  "\"metrics\": {\"a.b\": [1, 5], \"c\": [2, 0]}}"),
		     0);

	cr_assert_eq(place.metrics.flushes, 3);
	cr_assert_eq(place.metrics.time, 99);
	cr_assert_eq(place.metrics.count, 2);
	cr_assert_str_eq(place.metrics.items[0].name, "a.b");
	cr_assert_eq(place.metrics.items[0].value, 5);
	cr_assert_eq(place.metrics.items[0].kind, METRIC_COUNTER);
	cr_assert_str_eq(place.metrics.items[1].name, "c");
	cr_assert_eq(place.metrics.items[1].kind, METRIC_GAUGE);
	cr_assert_eq(vmm_metrics_flushes(place.dir), 3);
}

Test(vmm_metrics, a_newer_keepers_additions_are_passed_over)
{
	PLACE(place);

	cr_assert_eq(load(&place, "{\"version\": 2, \"flushes\": 1, \"time\": 1, \"more\": [], "
				  "\"metrics\": {\"a\": [1, 5, \"us\"], \"b\": [3, 1], \"c\": {}, "
				  "\"d\": [2, -1], \"e\": [2], \"f\": [2, 1.5], \"g\": [0, 1]}}"),
		     0);

	cr_assert_eq(place.metrics.count, 1);
	cr_assert_str_eq(place.metrics.items[0].name, "a");
	cr_assert_eq(place.metrics.items[0].value, 5);
}

Test(vmm_metrics, what_is_no_such_file_is_refused)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"version\": 0, \"flushes\": 1, \"time\": 1, \"metrics\": {}}",
		"{\"version\": \"1\", \"flushes\": 1, \"time\": 1, \"metrics\": {}}",
		"{\"version\": 1, \"flushes\": -1, \"time\": 1, \"metrics\": {}}",
		"{\"version\": 1, \"flushes\": 1, \"time\": -1, \"metrics\": {}}",
		"{\"version\": 1, \"flushes\": 1, \"time\": \"\", \"metrics\": {}}",
		"{\"version\": 1, \"flushes\": 1, \"time\": 1, \"metrics\": []}",
		"{\"version\": 1, \"flushes\": 1, \"time\": 1}",
		"{\"version\": 1, \"flushes\": 1, \"time\": 1, \"metrics\": {",
		"{\"version\": 1, \"flushes\": 18446744073709551616, \"time\": 1, \"metrics\": {}}",
	};
	PLACE(place);

	for (size_t i = 0; i < array_size(texts); i++) {
		cr_expect_eq(load(&place, texts[i]), -EINVAL, "%s", texts[i]);
		cr_expect_eq(place.metrics.count, 0);
		cr_expect_eq(vmm_metrics_flushes(place.dir), 0, "%s", texts[i]);
	}
}

Test(vmm_metrics, a_file_beyond_all_bounds_is_refused)
{
	static const char valid[] =
		"{\"version\": 1, \"flushes\": 1, \"time\": 1, \"metrics\": {}}";
	int size = 2 * 1024 * 1024;
	PLACE(place);
	cleanup_free char *longer = text_printf("%-*s", size + 1, valid);
	int r = load(&place, longer);

	cr_assert_lt(r, 0);
	cr_assert_neq(r, -ENOENT);
	cr_assert_eq(vmm_metrics_flushes(place.dir), 0);
}

Test(vmm_metrics, the_most_a_keeper_writes_is_read)
{
	size_t room = (size_t)1024 * 1024;
	cleanup_free char *text = new0_array(char, room);
	char *at = text_append(text, text + room,
			       "{\"version\": 1, \"flushes\": 9223372036854775807, "
			       "\"time\": 9223372036854775807, \"metrics\": {");
	PLACE(place);

	for (int i = 0; i < 4096; i++)
		at = text_append(at, text + room, "%s\n\"%0127d\": [1, 9223372036854775807]",
				 i ? "," : "", i);
	(void)text_append(at, text + room, "}}\n");

	cr_assert_eq(load(&place, text), 0);

	cr_assert_eq(place.metrics.count, 4096);
	cr_assert_eq(place.metrics.items[4095].value, INT64_MAX);
	cr_assert_eq(place.metrics.flushes, INT64_MAX);
}

Test(vmm_metrics, no_file_is_told_from_a_bad_one)
{
	PLACE(place);

	cr_assert_eq(vmm_metrics_load(&place.metrics, place.dir), -ENOENT);
	cr_assert_eq(vmm_metrics_load(&place.metrics, "/no/such/directory"), -ENOENT);
	cr_assert_eq(vmm_metrics_flushes(place.dir), 0);
}

Test(vmm_usage, a_process_that_works_uses_time_and_memory)
{
	VmUsage before, after;
	size_t size = (size_t)32 * 1024 * 1024;
	cleanup_free char *memory = NULL;

	vmm_metrics_usage(&before, getpid());
	memory = new0_array(char, size);
	do {
		explicit_bzero(memory, size); /* which no compiler leaves out */
		vmm_metrics_usage(&after, getpid());
	} while (after.cpu_usec == before.cpu_usec);

	cr_assert_gt(after.cpu_usec, before.cpu_usec);
	cr_assert_geq(after.memory_bytes, before.memory_bytes + size / 2);
	cr_assert_geq(after.memory_peak_bytes, after.memory_bytes);
	cr_assert_geq(after.pids, 1);
	cr_assert_eq(after.cpu_throttled_usec, 0);
}

Test(vmm_usage, a_process_that_is_gone_uses_nothing)
{
	static const VmUsage nothing;
	pid_t pid = fork();
	VmUsage usage;

	if (pid == 0)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);

	vmm_metrics_usage(&usage, pid);

	cr_assert_eq(memcmp(&usage, &nothing, sizeof usage), 0);
}
