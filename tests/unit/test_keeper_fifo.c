/* SPDX-License-Identifier: Apache-2.0 */

/* The keeper as the reader of its VMM's metrics. */

#include "runtime/vmm_metrics.h"
#include "tests/unit/keeper_bench.h"

/* A VMM with its metrics' FIFO as fd 5. */
static void start_with_fifo(Bench *bench, const char *script)
{
	cleanup_free char *fifo = text_printf("%s/metrics.fifo", bench->dir);
	cleanup_free char *whole = text_printf("exec 5<>%s; %s", fifo, script);
	Error err = { 0 };

	cr_assert_eq(
		start_with(bench, "/bin/sh", whole, (KeeperConfig){ .metrics_fifo = fifo }, &err),
		0, "%s", err.what);
	(void)!keeper_open(&bench->keeper_fd, &bench->state);
}

static uint64_t value_of(const Bench *bench, const char *name)
{
	VmMetrics metrics = { 0 };
	uint64_t value = UINT64_MAX;

	cr_assert_eq(vmm_metrics_load(&metrics, bench->dir), 0);
	for (size_t i = 0; i < metrics.count; i++)
		if (strcmp(metrics.items[i].name, name) == 0)
			value = metrics.items[i].value;
	vmm_metrics_clear(&metrics);
	return value;
}

static void await_flushes(const Bench *bench, uint64_t flushes)
{
	int64_t deadline = clock_mono_us() + WAIT;

	while (vmm_metrics_flushes(bench->dir) < flushes) {
		cr_assert_lt(clock_mono_us(), deadline, "%zu flushes",
			     (size_t)vmm_metrics_flushes(bench->dir));
		clock_sleep_us(10000);
	}
	cr_assert_eq(vmm_metrics_flushes(bench->dir), flushes);
}

Test(keeper_fifo, lines_add_up_while_the_vmm_runs)
{
	BENCH(bench);

	start_with_fifo(&bench, "for i in 1 2 3; do echo '{\"net\": {\"tx_count\": 2}}' >&5; done; "
				"exec sleep 1000");

	await_flushes(&bench, 3);
	cr_assert_eq(value_of(&bench, "net.tx_count"), 6);
}

Test(keeper_fifo, many_lines_at_once_are_all_read)
{
	BENCH(bench);

	start_with_fifo(&bench, "i=0; while [ $i -lt 20000 ]; do "
				"echo '{\"net\": {\"tx_count\": 1}}' >&5; i=$((i + 1)); done; "
				"exec sleep 1000");

	await_flushes(&bench, 20000);
	cr_assert_eq(value_of(&bench, "net.tx_count"), 20000);
}

Test(keeper_fifo, the_last_line_of_a_vmm_that_ends_is_read)
{
	BENCH(bench);

	start_with_fifo(&bench, "printf '{\"a\": 1}\\n{\"a\": 4}\\n' >&5; exit 3");
	(void)ended(&bench);

	cr_assert_eq(value_of(&bench, "a"), 5);
}

Test(keeper_fifo, a_vmm_that_never_ends_a_line_keeps_nobody_waiting)
{
	BENCH(bench);
	KeeperExit exit;

	start_with_fifo(&bench, "head -c 1000000 /dev/zero >&5; echo done >&3; exit 4");
	exit = ended(&bench);

	cr_assert_eq(exit.code, 4);
	await_text(&bench, "console.log", "done");
}

Test(keeper_fifo, a_vmm_whose_children_hold_the_fifo_ends_all_the_same)
{
	BENCH(bench);
	KeeperExit exit;

	start_with_fifo(&bench, "yes '{\"a\": 1}' >&5 & exit 5");
	exit = ended(&bench);

	cr_assert_eq(exit.code, 5);
}

Test(keeper_fifo, a_new_run_counts_afresh)
{
	BENCH(bench);

	start_with_fifo(&bench, "echo '{\"a\": 7}' >&5; exit 0");
	(void)ended(&bench);
	closep(&bench.keeper_fd);
	bench.keeper_fd = -1;
	cr_assert_eq(value_of(&bench, "a"), 7);

	start_with_fifo(&bench, "echo '{\"a\": 2}' >&5; exec sleep 1000");

	await_flushes(&bench, 1);
	cr_assert_eq(value_of(&bench, "a"), 2);
}

Test(keeper_fifo, it_takes_the_place_of_whatever_was_there)
{
	BENCH(bench);
	cleanup_free char *path = text_printf("%s/metrics.fifo", bench.dir);
	struct stat st;

	put(&bench, "victim", "untouched");
	cr_assert_eq(symlink("victim", path), 0);
	start_with_fifo(&bench, "echo '{\"a\": 1}' >&5; exec sleep 1000");
	await_flushes(&bench, 1);

	cr_assert_eq(lstat(path, &st), 0);
	cr_assert(S_ISFIFO(st.st_mode));
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(size_of(&bench, "victim"), (off_t)strlen("untouched"));
}

Test(keeper_fifo, a_fifo_that_cannot_be_made_fails_the_start)
{
	BENCH(bench);
	const KeeperConfig config = { .metrics_fifo = "/no/such/directory/fifo" };
	Error err = { 0 };

	cr_assert_eq(start_with(&bench, "/bin/sh", "exec sleep 1000", config, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_str_eq(err.what, "make /no/such/directory/fifo: No such file or directory");
}

/* The keeper's own, in KiB. */
static unsigned long long private_memory(const Bench *bench)
{
	cleanup_free char *path =
		text_printf("/proc/%d/smaps_rollup", (int)bench->state.keeper.pid);
	cleanup_free char *text = NULL;

	cr_assert_eq(file_read(&text, NULL, path, 65536), 0);
	return number_after(text, "Private_Clean:", 10) + number_after(text, "Private_Dirty:", 10);
}

Test(keeper_fifo, a_busy_vmms_metrics_cost_little_memory)
{
	BENCH(bench);
	unsigned long long kib;

	/* 40 devices of 25 metrics each: 1000 in a line of 17 KiB. */
	start_with_fifo(&bench,
			"line=; for d in 0 1 2 3; do for e in 0 1 2 3 4 5 6 7 8 9; do "
			"line=\"$line,\\\"net_eth$d$e\\\":{\\\"a_count\\\":1\"; "
			"for m in b c d e f g h i j k l m n o p q r s t u v w x y; do "
			"line=\"$line,\\\"${m}_count\\\":1\"; done; line=\"$line}\"; done; done; "
			"for i in 1 2 3 4 5; do echo \"{${line#,}}\" >&5; done; exec sleep 1000");
	await_flushes(&bench, 5);
	kib = private_memory(&bench);

	cr_assert_eq(value_of(&bench, "net_eth39.y_count"), 5);
	cr_assert_gt(kib, 0);
	cr_assert_lt(kib, SANITIZED ? 65536 : 512); /* a sanitizer's own memory counts as well */
}
