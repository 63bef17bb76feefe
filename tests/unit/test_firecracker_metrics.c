/* SPDX-License-Identifier: Apache-2.0 */

/* Metrics of VMs on the real Firecracker, and of one that does not keep its word. */

#include "base/file.h"
#include "base/text.h"
#include "runtime/keeper_link.h"
#include "runtime/pager/state.h"
#include "tests/support/fault_server.h"
#include "tests/support/firecracker_bench.h"
#include "tests/support/lone_job.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

/* Stand in for the core's. */
static int ask(QemuBench *bench, bool cached, VmMetrics *ret, Error *err)
{
	return bench->backend->ops->metrics(bench->backend, &bench->job, cached, ret, err);
}

static void get(QemuBench *bench, bool cached, VmMetrics *ret)
{
	Error err = { 0 };

	cr_assert_eq(ask(bench, cached, ret, &err), 0, "%s", err.what);
}

static uint64_t value_of(const VmMetrics *metrics, const char *name)
{
	for (size_t i = 0; i < metrics->count; i++)
		if (strcmp(metrics->items[i].name, name) == 0)
			return metrics->items[i].value;
	cr_assert_fail("no %s among %zu", name, metrics->count);
	return 0;
}

static void check_fails(QemuBench *bench, bool cached, ErrorCause cause, const char *words)
{
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };
	Error err = { 0 };

	cr_assert_eq(ask(bench, cached, &metrics, &err), -1);

	cr_assert_eq(err.kind, ERROR_METRICS, "%s", err.what);
	cr_assert_eq(err.cause, cause, "%s", err.what);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
}

Test(firecracker_metrics, it_is_asked_for_them_and_what_it_uses_is_told)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };
	int64_t before;

	qemu_bench_start(bench);
	qemu_bench_wait_console(bench, "tick 3");
	before = clock_wall_us();

	get(bench, false, &metrics);

	cr_assert_geq(metrics.time, before);
	cr_assert_geq(metrics.flushes, 1);
	cr_assert_gt(metrics.count, 100);
	cr_assert_gt(value_of(&metrics, "uart.write_count"), 0);
	cr_assert_eq(value_of(&metrics, "put_api_requests.metrics_count"), 1);
	cr_assert_geq(value_of(&metrics, "utc_timestamp_ms") / 1000,
		      (uint64_t)(before / USEC_PER_SEC));
	cr_assert_gt(metrics.usage.cpu_usec, 0);
	cr_assert_gt(metrics.usage.memory_bytes, 1048576);
	cr_assert_geq(metrics.usage.memory_peak_bytes, metrics.usage.memory_bytes);
	cr_assert_geq(metrics.usage.pids, 3);
	cr_assert_not(metrics.has_balloon);
}

Test(firecracker_metrics, counters_never_shrink_and_those_of_a_busy_guest_grow)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_(vmm_metrics_clear) VmMetrics first = { 0 };

	qemu_bench_start(bench);
	get(bench, false, &first);

	for (int i = 0; i < 3; i++) {
		cleanup_(vmm_metrics_clear) VmMetrics next = { 0 };

		qemu_bench_wait_console_grows(bench);
		get(bench, false, &next);

		cr_assert_gt(next.flushes, first.flushes);
		cr_assert_geq(next.count, first.count);
		for (size_t k = 0; k < first.count; k++)
			if (first.items[k].kind == METRIC_COUNTER)
				cr_expect_geq(value_of(&next, first.items[k].name),
					      first.items[k].value, "%s", first.items[k].name);
		cr_assert_gt(value_of(&next, "uart.write_count"),
			     value_of(&first, "uart.write_count"));
	}
}

static bool has(const VmMetrics *metrics, const char *name)
{
	for (size_t i = 0; i < metrics->count; i++)
		if (strcmp(metrics->items[i].name, name) == 0)
			return true;
	return false;
}

Test(firecracker_metrics, what_a_pager_counts_is_among_them_if_there_is_one)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_(vmm_metrics_clear) VmMetrics without = { 0 }, with = { 0 }, older = { 0 };
	cleanup_free char *path = text_printf("%s/pager.state", bench->run_dir);
	PagerState state = { .version = STATE_VERSION, .size = sizeof state };

	memcpy(state.magic, state_magic, sizeof state_magic);
	counter_add(&state.counters.faults, 7);
	qemu_bench_start(bench);
	get(bench, false, &without);
	cr_assert_eq(file_write_atomic(path, (const char *)&state, sizeof state), 0);
	get(bench, false, &with);
	cr_assert_eq(truncate(path, sizeof state / 2), 0);
	get(bench, false, &older);

	cr_assert_not(has(&without, "pager.faults"));
	cr_assert_eq(value_of(&with, "pager.faults"), 7);
	cr_assert_not(has(&older, "pager.faults"));
}

Test(firecracker_metrics, cached_ones_are_those_told_last)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_(vmm_metrics_clear) VmMetrics told = { 0 }, cached = { 0 };

	qemu_bench_start(bench);
	get(bench, false, &told);
	get(bench, true, &cached);

	/* It tells something on its own as well, when it starts and each minute. */
	cr_assert_geq(cached.flushes, told.flushes);
	cr_assert_leq(cached.flushes, told.flushes + 1);
	cr_assert_geq(cached.time, told.time);
	cr_assert_gt(cached.usage.memory_bytes, 0);
}

Test(firecracker_metrics, a_paused_guests_are_told_too)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };
	Error err = { 0 };

	qemu_bench_start(bench);
	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0);

	get(bench, false, &metrics);

	cr_assert_gt(value_of(&metrics, "latencies_us.pause_vm") +
			     value_of(&metrics, "latencies_us.vmm_pause_vm"),
		     0);
}

Test(firecracker_metrics, a_new_agent_goes_on_counting_where_the_old_one_was)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_(vmm_metrics_clear) VmMetrics before = { 0 }, after = { 0 };
	cleanup_free char *firecracker = firecracker_bench_find();

	qemu_bench_start(bench);
	get(bench, false, &before);
	bench->backend->ops->free(bench->backend);
	bench->backend = firecracker_bench_backend(bench, firecracker);
	bench->job.backend = bench->backend;
	qemu_bench_wait_console_grows(bench);

	get(bench, false, &after);

	cr_assert_gt(after.flushes, before.flushes);
	cr_assert_gt(value_of(&after, "uart.write_count"), value_of(&before, "uart.write_count"));
}

Test(firecracker_metrics, those_of_a_killed_firecracker_cannot_be_had)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	qemu_bench_start(bench);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, SIGKILL), 0);
	free(qemu_bench_wait_exit(bench).console_tail);

	check_fails(bench, false, CAUSE_HOST, "firecracker has ended");
	check_fails(bench, true, CAUSE_HOST, "firecracker has ended");
}

Test(firecracker_metrics, what_it_said_last_is_kept_when_it_ends)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=button");
	cleanup_(vmm_metrics_clear) VmMetrics before = { 0 }, last = { 0 };

	qemu_bench_start(bench);
	qemu_bench_wait_console(bench, "tick 1");
	get(bench, false, &before);
	qemu_bench_stop(bench, QEMU_BENCH_LONG, QEMU_BENCH_LONG);
	free(qemu_bench_wait_exit(bench).console_tail);

	cr_assert_eq(vmm_metrics_load(&last, bench->run_dir), 0);
	cr_assert_gt(last.flushes, before.flushes);
	cr_assert_gt(value_of(&last, "put_api_requests.actions_count"),
		     value_of(&before, "put_api_requests.actions_count"));
}

/* A VMM that answers as @steps say, with a keeper and @script for a process. */
typedef struct Stage {
	QemuBench *bench;
	FaultServer *server;
} Stage;

static void stage_clear(Stage *stage)
{
	qemu_bench_free(stage->bench);
	fault_server_free(stage->server);
}

static Stage stage_new(const FaultStep *steps, size_t count, const char *script)
{
	Stage stage = { qemu_bench_new(""), fault_server_new(steps, count) };
	cleanup_free char *keeper = text_printf("%s/hearth-keeper", stage.bench->bin);
	cleanup_free char *fifo = text_printf("%s/metrics.fifo", stage.bench->run_dir);
	cleanup_free char *whole = text_printf("exec 5<>%s; %s", fifo, script);
	cleanup_free char *socket = text_printf("%s/firecracker.sock", stage.bench->run_dir);
	char shell[] = "/bin/sh", option[] = "-c";
	char *argv[] = { shell, option, whole, NULL };
	const KeeperConfig config = {
		.keeper_path = keeper,
		.run_dir = stage.bench->run_dir,
		.console_max_bytes = 8192,
		.vmm_argv = argv,
		.metrics_fifo = fifo,
	};
	KeeperState state;
	Error err = { 0 };

	stage.bench->backend->ops->free(stage.bench->backend);
	stage.bench->backend = firecracker_bench_backend(stage.bench, "firecracker");
	cr_assert_eq(keeper_start(&state, &config, &err), 0, "%s", err.what);
	stage.bench->resolved.vmm_pid = (uint32_t)state.vmm.pid;
	cr_assert_eq(link(fault_server_path(stage.server), socket), 0);
	return stage;
}

/* Waits for the script's first lines to be in. */
static void wait_told(const Stage *stage)
{
	int64_t deadline = clock_mono_us() + QEMU_BENCH_LONG;
	VmMetrics metrics = { 0 };

	while (vmm_metrics_load(&metrics, stage->bench->run_dir) < 0) {
		cr_assert_lt(clock_mono_us(), deadline);
		clock_sleep_us(10 * (int64_t)USEC_PER_MSEC);
	}
	vmm_metrics_clear(&metrics);
}

static void add_balloon(const Stage *stage, int64_t stats_interval)
{
	stage->bench->spec->devices = new0(VmDevices);
	stage->bench->spec->devices->balloon = new0(VmBalloon);
	stage->bench->spec->devices->balloon->stats_interval = stats_interval;
}

Test(firecracker_metrics, one_that_says_it_will_and_does_not_is_a_timeout)
{
	static const FaultStep steps[] = { { FAULT_204, 0, FAULT_STAYS } };
	cleanup_(stage_clear) Stage stage =
		stage_new(steps, 1, "echo '{\"a\": 1}' >&5; exec sleep 1000");

	wait_told(&stage);

	check_fails(stage.bench, false, CAUSE_TIMEOUT,
		    "firecracker was told to flush, and nothing came");
	cr_assert_str_eq(fault_server_stop(stage.server),
			 "PUT /actions {\"action_type\":\"FlushMetrics\"}\n");
}

Test(firecracker_metrics, one_that_does_not_answer_is_a_timeout)
{
	static const FaultStep steps[] = { { "", 0, FAULT_STALLS } };
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");

	check_fails(stage.bench, false, CAUSE_TIMEOUT,
		    "PUT /actions: firecracker did not answer in time");
}

Test(firecracker_metrics, one_that_refuses_is_told_in_its_words)
{
	static const FaultStep steps[] = {
		{ "HTTP/1.1 400 \r\nContent-Length: 25\r\n\r\n{\"fault_message\":\"never\"}", 0,
		  FAULT_STAYS },
	};
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");

	check_fails(stage.bench, false, CAUSE_HOST, "PUT /actions: 400: never");
}

Test(firecracker_metrics, of_one_that_has_not_told_any_yet_cached_ones_are_none)
{
	static const FaultStep steps[] = { { FAULT_204, 0, FAULT_STAYS } };
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };

	get(stage.bench, true, &metrics);

	cr_assert_eq(metrics.count, 0);
	cr_assert_eq(metrics.flushes, 0);
	cr_assert_eq(metrics.time, 0);
	cr_assert_gt(metrics.usage.memory_bytes, 0);
	cr_assert_eq(fault_server_count(stage.server), 0);
}

Test(firecracker_metrics, a_file_that_is_no_metrics_is_named)
{
	static const FaultStep steps[] = { { FAULT_204, 0, FAULT_STAYS } };
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");
	cleanup_free char *path = text_printf("%s/metrics.json", stage.bench->run_dir);
	cleanup_free char *words = text_printf("read %s", path);

	cr_assert_eq(file_write_atomic(path, "{\"version\": 1", 13), 0);

	check_fails(stage.bench, true, CAUSE_HOST, words);
}

Test(firecracker_metrics, one_that_hangs_up_is_told_of)
{
	static const FaultStep steps[] = { { "", 0, FAULT_HANGS_UP } };
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");

	check_fails(stage.bench, false, CAUSE_HOST, "PUT /actions: ");
}

Test(firecracker_metrics, one_that_ends_before_it_tells_is_told_of)
{
	static const FaultStep steps[] = { { FAULT_204, 0, FAULT_STAYS } };
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1");

	check_fails(stage.bench, false, CAUSE_HOST, "firecracker has ended");
}

#define REPLY(length, body) "HTTP/1.1 200 \r\nContent-Length: " #length "\r\n\r\n" body

Test(firecracker_metrics, a_balloon_that_tells_is_asked_for_its_statistics)
{
	static const FaultStep steps[] = {
		{ REPLY(291,
			"{\"target_pages\":1,\"actual_pages\":2,\"target_mib\":3,\"actual_mib\":4,"
			"\"swap_in\":5,\"swap_out\":6,\"major_faults\":7,\"minor_faults\":8,"
			"\"free_memory\":9,\"total_memory\":10,\"available_memory\":11,"
			"\"disk_caches\":12,\"hugetlb_allocations\":13,\"hugetlb_failures\":14,"
			"\"oom_kill\":15,\"alloc_stall\":16,\"other\":null}   "),
		  0, FAULT_STAYS },
	};
	cleanup_(stage_clear) Stage stage =
		stage_new(steps, 1, "echo '{\"a\": 1}' >&5; exec sleep 1000");
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };
	const uint64_t *numbers = &metrics.balloon.target_mib;

	wait_told(&stage);
	add_balloon(&stage, 1000000);

	get(stage.bench, true, &metrics);

	cr_assert_str_eq(fault_server_stop(stage.server), "GET /balloon/statistics \n");
	cr_assert(metrics.has_balloon);
	for (size_t i = 0; i < sizeof metrics.balloon / sizeof *numbers; i++)
		cr_expect_eq(numbers[i], i + 3, "%zu: %zu", i, (size_t)numbers[i]);
}

Test(firecracker_metrics, a_balloon_that_does_not_tell_is_asked_for_its_target)
{
	static const FaultStep steps[] = {
		{ REPLY(39, "{\"amount_mib\":12,\"deflate_on_oom\":true}"), 0, FAULT_STAYS },
	};
	cleanup_(stage_clear) Stage stage =
		stage_new(steps, 1, "echo '{\"a\": 1}' >&5; exec sleep 1000");
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };

	wait_told(&stage);
	add_balloon(&stage, 0);

	get(stage.bench, true, &metrics);

	cr_assert_str_eq(fault_server_stop(stage.server), "GET /balloon \n");
	cr_assert(metrics.has_balloon);
	cr_assert_eq(metrics.balloon.target_mib, 12);
	cr_assert_eq(metrics.balloon.actual_mib, 0);
}

Test(firecracker_metrics, a_balloon_that_tells_nonsense_is_taken_for_silent)
{
	static const FaultStep steps[] = {
		{ REPLY(56, "{\"target_mib\":\"x\",\"actual_mib\":-1,\"swap_in\":1.5,\"x\":{} }"),
		  0, FAULT_STAYS },
	};
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };

	add_balloon(&stage, 1000000);

	get(stage.bench, true, &metrics);

	cr_assert(metrics.has_balloon);
	cr_assert_eq(metrics.balloon.target_mib, 0);
	cr_assert_eq(metrics.balloon.actual_mib, 0);
	cr_assert_eq(metrics.balloon.swap_in_bytes, 0);
}

Test(firecracker_metrics, a_balloon_that_refuses_fails_the_call)
{
	static const FaultStep steps[] = {
		{ "HTTP/1.1 400 \r\nContent-Length: 25\r\n\r\n{\"fault_message\":\"never\"}", 0,
		  FAULT_STAYS },
	};
	cleanup_(stage_clear) Stage stage = stage_new(steps, 1, "exec sleep 1000");

	add_balloon(&stage, 1000000);

	check_fails(stage.bench, true, CAUSE_HOST, "GET /balloon/statistics: 400: never");
}
