/* SPDX-License-Identifier: Apache-2.0 */

/* What hearth-keeper does for a VMM that has a pager. Shell scripts play both. */

#include "runtime/pager/state.h"
#include "tests/unit/keeper_bench.h"

#include <signal.h>
#include <sys/stat.h>

#define SERVE "echo listening; exec sleep 1000"
#define VMM "exec sleep 1000"

/* Starts @vmm with @pager, which has its arguments written down, a line for each of it. */
static int start_paged(Bench *bench, const char *vmm, const char *pager, Error *err)
{
	cleanup_free char *path = text_printf("%s/pager", bench->dir);
	cleanup_free char *socket = text_printf("%s/pager.sock", bench->dir);
	cleanup_free char *script =
		text_printf("#!/bin/sh\necho \"$@\" >>%s/arguments\n%s\n", bench->dir, pager);
	const KeeperPagerConfig config = {
		.path = path,
		.memory_file = "/memory/file",
		.socket = socket,
		.record = "/record",
		.record_seconds = 7,
		.window_kib = 16,
	};

	cr_assert_eq(file_write_atomic(path, script, strlen(script)), 0);
	cr_assert_eq(chmod(path, 0700), 0);
	return start_with(bench, "/bin/sh", vmm, (KeeperConfig){ .pager = &config }, err);
}

static void start_paged_well(Bench *bench, const char *vmm, const char *pager)
{
	Error err = { 0 };

	cr_assert_eq(start_paged(bench, vmm, pager, &err), 0, "%s", err.what);
	(void)!keeper_open(&bench->keeper_fd, &bench->state);
}

static int open_pager(const Bench *bench)
{
	int fd = -1;

	cr_assert_eq(process_open(&fd, &bench->state.pager), 0);
	return fd;
}

/* Kills the pager that there is, and waits for the next if there is to be one. */
static void kill_pager(Bench *bench, bool last)
{
	ProcessId before = bench->state.pager;
	int64_t deadline = clock_mono_us() + WAIT;

	cr_assert_eq(kill(before.pid, SIGKILL), 0);
	while (!last && bench->state.pager.pid == before.pid) {
		cr_assert_lt(clock_mono_us(), deadline, "no other pager");
		clock_sleep_us(1000);
		cr_assert_eq(keeper_load(&bench->state, bench->dir), 0);
	}
}

Test(keeper_pager, it_listens_before_the_vmm_is_said_to_run)
{
	BENCH(bench);
	cleanup_free char *arguments = NULL;
	cleanup_free char *expected = NULL;
	cleanup_free char *listens = NULL;

	start_paged_well(&bench, VMM, "sleep 0.2; touch $(dirname $0)/listens; " SERVE);

	listens = contents(&bench, "listens");
	cr_assert_not_null(listens);
	cr_assert_gt(bench.state.pager.pid, 1);
	arguments = contents(&bench, "arguments");
	expected =
		text_printf("--vmm %d:%llu --memory /memory/file --state %s/pager.state "
			    "--socket %s/pager.sock --window 16 --record /record "
			    "--record-for 7\n",
			    (int)bench.state.vmm.pid,
			    (unsigned long long)bench.state.vmm.start_time, bench.dir, bench.dir);
	cr_assert_str_eq(arguments, expected);
}

Test(keeper_pager, one_that_dies_is_replaced_by_one_that_takes_over)
{
	BENCH(bench);
	cleanup_close int vmm = -1;

	start_paged_well(&bench, VMM, SERVE);
	kill_pager(&bench, false);
	kill_pager(&bench, false);

	cr_assert_eq(keeper_open_vmm(&vmm, &bench.state), 0);
	await_text(&bench, "arguments", "--take-over");
}

Test(keeper_pager, the_third_death_within_a_minute_is_the_vmms_end)
{
	BENCH(bench);
	KeeperExit exit;

	start_paged_well(&bench, VMM, SERVE);
	kill_pager(&bench, false);
	kill_pager(&bench, false);
	kill_pager(&bench, true);
	exit = ended(&bench);

	cr_assert_eq(exit.signal, SIGKILL);
	cr_assert_str_eq(exit.evidence, "pager");
	cr_assert_str_eq(exit.message, "3 pagers died within 60 seconds, the last of signal 9");
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_PAGER_FAILED);
}

Test(keeper_pager, one_that_gives_up_is_the_vmms_end_and_has_said_why)
{
	BENCH(bench);
	cleanup_free char *log = NULL;
	KeeperExit exit;

	start_paged_well(&bench, VMM,
			 "echo listening; sleep 0.1; echo 'the \"memory\" is no more' >&2; exit 1");
	exit = ended(&bench);

	cr_assert_eq(exit.signal, SIGKILL);
	cr_assert_str_eq(exit.message, "the  memory  is no more");
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_PAGER_FAILED);
	log = contents(&bench, "vmm.log");
	cr_assert_str_eq(log, "the \"memory\" is no more\n");
}

Test(keeper_pager, one_that_does_not_come_to_listen_fails_the_start)
{
	BENCH(bench);
	Error err = { 0 };

	cr_assert_eq(
		start_paged(&bench, "echo $$ >$0.pid; " VMM, "echo no such file >&2; exit 1", &err),
		-1);

	cr_assert_eq(err.kind, ERROR_UFFD);
	cr_assert_str_eq(err.what, "no such file");
	cr_assert_eq(keeper_load(&bench.state, bench.dir), -ENOENT);
}

Test(keeper_pager, a_program_that_is_not_there_fails_the_start)
{
	BENCH(bench);
	const KeeperPagerConfig none = { .path = "/nowhere/pager",
					 .memory_file = "/memory",
					 .socket = "/nowhere/socket" };
	Error err = { 0 };

	cr_assert_eq(start_with(&bench, "/bin/sh", VMM, (KeeperConfig){ .pager = &none }, &err),
		     -1);

	cr_assert_eq(err.kind, ERROR_UFFD);
	cr_assert_not_null(strstr(err.what, "/nowhere/pager: No such file"), "%s", err.what);
}

/* As the working set that it saves takes a moment. */
Test(keeper_pager, it_may_finish_when_the_vmm_has_ended)
{
	BENCH(bench);
	KeeperExit exit;

	start_paged_well(&bench, "sleep 0.1; exit 3",
			 "echo listening; sleep 0.3; echo saved >$(dirname $0)/saved");
	exit = ended(&bench);

	cr_assert_eq(exit.code, 3);
	cr_assert_str_eq(exit.evidence, "");
	cr_assert_str_eq(exit.message, "");
	cr_assert_gt(size_of(&bench, "saved"), 0);
}

Test(keeper_pager, it_does_not_outlive_the_vmm)
{
	BENCH(bench);
	cleanup_close int pager = -1;

	start_paged_well(&bench, VMM, SERVE);
	pager = open_pager(&bench);
	cr_assert_eq(kill(bench.state.vmm.pid, SIGTERM), 0);
	(void)ended(&bench);

	cr_assert_eq(process_wait(pager, clock_mono_us() + WAIT), 0);
}

Test(keeper_pager, it_does_not_outlive_the_keeper)
{
	BENCH(bench);
	cleanup_close int pager = -1;

	start_paged_well(&bench, VMM, SERVE);
	pager = open_pager(&bench);
	cr_assert_eq(kill(bench.state.keeper.pid, SIGKILL), 0);

	cr_assert_eq(process_wait(pager, clock_mono_us() + WAIT), 0);
}

Test(keeper_pager, a_vmm_that_ends_badly_after_a_page_could_not_be_read_ends_for_that)
{
	BENCH(bench);
	PagerState state = { .version = STATE_VERSION,
			     .size = sizeof state,
			     .failed = 1,
			     .failure = "read 4096 bytes at 0: Input/output error" };
	cleanup_free char *path = text_printf("%s/pager.state", bench.dir);
	KeeperExit exit;

	memcpy(state.magic, state_magic, sizeof state_magic);
	start_paged_well(&bench, VMM, SERVE);
	cr_assert_eq(file_write_atomic(path, (const char *)&state, sizeof state), 0);
	cr_assert_eq(kill(bench.state.vmm.pid, SIGBUS), 0);
	exit = ended(&bench);

	cr_assert_eq(exit.signal, SIGBUS);
	cr_assert_str_eq(exit.message, state.failure);
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_PAGER_FAILED);
}

Test(keeper_pager, what_an_earlier_run_left_is_no_concern_of_the_next)
{
	BENCH(bench);

	put(&bench, "pager.state", "of an earlier run");
	start_paged_well(&bench, VMM, SERVE);

	cr_assert_eq(size_of(&bench, "pager.state"), 0);
}
