/* SPDX-License-Identifier: Apache-2.0 */

/* What an agent reads of a pager. */

#include "base/file.h"
#include "base/text.h"
/* NOLINTBEGIN(bugprone-suspicious-include): the pager is a program, not a library */
#include "runtime/pager/counters.c"
#include "runtime/pager/regions.c"
#include "runtime/pager/state.c"
/* NOLINTEND(bugprone-suspicious-include) */
#include "runtime/pager_metrics.h"

#include <criterion/criterion.h>

typedef struct Desk {
	char dir[64];
	State *state;
	VmMetrics metrics;
} Desk;

static Desk desk_new(void)
{
	static const Regions regions = { PAGE_SMALL, 1, { { 0x10000, 0x10000, 0 } } };
	static const ProcessId vmm = { 4711, 99 };
	Desk desk = { .dir = "/tmp/hearth-state-XXXXXX" };
	cleanup_free char *path = NULL;
	Error err = { 0 };

	cr_assert_not_null(mkdtemp(desk.dir));
	path = text_printf("%s/pager.state", desk.dir);
	cr_assert_eq(state_new(&desk.state, path, &vmm, &regions, 0x10000, &err), 0);
	return desk;
}

static void desk_free(Desk *desk)
{
	vmm_metrics_clear(&desk->metrics);
	state_free(desk->state);
	(void)!file_remove_tree(desk->dir);
}

static uint64_t value_of(const Desk *desk, const char *name)
{
	for (size_t i = 0; i < desk->metrics.count; i++)
		if (strcmp(desk->metrics.items[i].name, name) == 0)
			return desk->metrics.items[i].value;
	cr_assert_fail("no %s", name);
	return 0;
}

Test(pager_metrics, counters_are_told_by_name)
{
	cleanup_(desk_free) Desk desk = desk_new();
	Counters *counters = &state_shared(desk.state)->counters;

	counter_add(&counters->faults, 7);
	counter_add(&counters->takeovers, 1);
	cr_assert_eq(pager_metrics_add(&desk.metrics, desk.dir), 0);

	cr_assert_eq(value_of(&desk, "pager.faults"), 7);
	cr_assert_eq(value_of(&desk, "pager.takeovers"), 1);
}

Test(pager_metrics, latencies_add_up)
{
	static const uint64_t usec[] = { 0, 1, 3, 4, 7, 8, 1000, 100000000 };
	cleanup_(desk_free) Desk desk = desk_new();

	for (size_t i = 0; i < array_size(usec); i++)
		counters_add_latency(&state_shared(desk.state)->counters, usec[i] * 1000);
	cr_assert_eq(pager_metrics_add(&desk.metrics, desk.dir), 0);

	cr_assert_eq(value_of(&desk, "pager.latency_us.below.2"), 2);
	cr_assert_eq(value_of(&desk, "pager.latency_us.below.4"), 3);
	cr_assert_eq(value_of(&desk, "pager.latency_us.below.8"), 5);
	cr_assert_eq(value_of(&desk, "pager.latency_us.below.1024"), 7);
	cr_assert_eq(value_of(&desk, "pager.latency_us.below.8388608"), 7);
	cr_assert_eq(value_of(&desk, "pager.latency_us.sum"), 100001023);
	cr_assert_eq(value_of(&desk, "pager.latency_us.max"), 100000000);
}

Test(pager_metrics, that_the_working_set_is_there_is_told)
{
	cleanup_(desk_free) Desk desk = desk_new();

	cr_assert_eq(pager_metrics_installed("/nowhere"), 0);
	cr_assert_eq(pager_metrics_installed(desk.dir), 0);
	atomic_store(&state_shared(desk.state)->installed, 1);

	cr_assert_eq(pager_metrics_installed(desk.dir), 1);
}

Test(pager_metrics, a_file_of_another_version_tells_nothing)
{
	cleanup_(desk_free) Desk desk = desk_new();

	state_shared(desk.state)->version++;

	cr_assert_eq(pager_metrics_add(&desk.metrics, desk.dir), -EINVAL);
	cr_assert_eq(pager_metrics_add(&desk.metrics, "/nowhere"), -ENOENT);
	cr_assert_eq(desk.metrics.count, 0);
}
