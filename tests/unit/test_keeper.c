/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/keeper_bench.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

Test(keeper, an_exit_code_is_recorded)
{
	BENCH(bench);
	int64_t before = clock_wall_us();
	KeeperExit exit;

	start(&bench, "exit 7");
	exit = ended(&bench);

	cr_assert_eq(exit.code, 7);
	cr_assert_eq(exit.signal, 0);
	cr_assert_geq(exit.time, before);
	cr_assert_str_eq(exit.evidence, "");
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_VMM_ERROR);
}

Test(keeper, a_signal_is_recorded)
{
	BENCH(bench);
	KeeperExit exit;

	start(&bench, "kill -SEGV $$");
	exit = ended(&bench);

	cr_assert_eq(exit.code, -1);
	cr_assert_eq(exit.signal, SIGSEGV);
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_VMM_SIGNAL);
}

Test(keeper, the_vmm_gets_null_logs_and_console_and_nothing_else)
{
	BENCH(bench);
	cleanup_free char *log = NULL;

	start(&bench, "readlink /proc/$$/fd/0; pwd; umask; exec ls /proc/self/fd");
	(void)ended(&bench);

	log = contents(&bench, "vmm.log");
	cr_assert_str_eq(log, "/dev/null\n/\n0077\n0\n1\n2\n3\n4\n"); /* 4: what ls reads */
}

Test(keeper, the_vmm_has_default_signals)
{
	BENCH(bench);
	cleanup_free char *log = NULL;

	start(&bench, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status");
	(void)ended(&bench);

	log = contents(&bench, "vmm.log");
	cr_assert_eq(number_after(log, "SigBlk:", 16), 0);
	cr_assert_eq(number_after(log, "SigIgn:", 16) & 0x7fffffff,
		     0); /* the C library keeps signals 32 and 33 */
}

Test(keeper, console_goes_to_its_log)
{
	BENCH(bench);
	cleanup_free char *log = NULL;

	start(&bench, "echo hello >&3; echo world >&3");
	(void)ended(&bench);

	log = contents(&bench, "console.log");
	cr_assert_str_eq(log, "hello\nworld\n");
}

Test(keeper, endless_console_stays_within_its_bound)
{
	BENCH(bench);
	cleanup_free char *tail = NULL;

	start(&bench, "yes 0123456789 | head -c 11000000 >&3; echo the end >&3");
	(void)ended(&bench);

	cr_assert_leq(size_of(&bench, "console.log"), CONSOLE_MAX / 2);
	cr_assert_leq(size_of(&bench, "console.1"), CONSOLE_MAX / 2);
	cr_assert_geq(size_of(&bench, "console.1"), CONSOLE_MAX / 2);
	tail = console_tail(bench.dir, CONSOLE_SOURCE_SERIAL, 100);
	cr_assert_not_null(strstr(tail, "0123456789\nthe end\n"));
}

Test(keeper, endless_vmm_output_stays_within_its_bound)
{
	BENCH(bench);

	start(&bench, "head -c 3000000 /dev/zero");
	(void)ended(&bench);

	cr_assert_leq(size_of(&bench, "vmm.log") + size_of(&bench, "vmm.1"), VMM_LOG_MAX);
}

/* What ends a run of 50 000 bytes and @last_words where 10 000 a second are let through. */
static KeeperExit flooded(Bench *bench, const char *last_words)
{
	cleanup_free char *script = text_printf(
		"head -c 50000 /dev/zero | tr '\\0' x >&3; printf '%s' >&3", last_words);
	Error err = { 0 };

	cr_assert_eq(
		start_with(bench, "/bin/sh", script, (KeeperConfig){ .console_rate = 10000 }, &err),
		0);
	(void)!keeper_open(&bench->keeper_fd, &bench->state);
	return ended(bench);
}

Test(keeper, console_beyond_the_rate_is_dropped_and_counted)
{
	BENCH(bench);
	cleanup_free char *log = NULL;
	unsigned long long dropped, written = 0;

	(void)flooded(&bench, "");

	log = contents(&bench, "console.log");
	dropped = number_after(log, "\n[hearth: ", 10);
	cr_assert_not_null(strstr(log, " bytes of console output dropped]\n"));
	for (const char *at = log; *at; at++)
		written += *at == 'x';
	cr_assert_gt(dropped, 0);
	cr_assert_eq(written + dropped, 50000);
}

Test(keeper, a_flooding_guests_last_words_are_kept)
{
	BENCH(bench);
	cleanup_free char *tail = NULL;
	KeeperExit exit = flooded(&bench, "\\nKernel panic - not syncing: flood");

	tail = console_tail(bench.dir, CONSOLE_SOURCE_SERIAL, 4096);
	cr_assert_not_null(tail);
	cr_assert_not_null(strstr(tail, "Kernel panic - not syncing: flood"));
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, tail), EXIT_GUEST_PANIC);
}

Test(keeper, a_disk_that_takes_no_more_costs_output_only)
{
	BENCH(bench);
	cleanup_free char *log = NULL;
	KeeperExit exit;

	/* A write beyond this fails, as it would on a full disk. */
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 4096, 4096 }), 0);
	start(&bench, "head -c 300000 /dev/zero | tr '\\0' x >&3; exit 4");
	exit = ended(&bench);

	cr_assert_eq(exit.code, 4);
	log = contents(&bench, "console.log");
	cr_assert_eq(strspn(log, "x"), 4096);
}

Test(keeper, a_vmm_that_cannot_be_executed_says_which_and_why)
{
	BENCH(bench);
	Error err = { 0 };

	cr_assert_eq(start_with(&bench, "/no/such/vmm", "", (KeeperConfig){ 0 }, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_str_eq(err.what, "exec /no/such/vmm: No such file or directory");
	cr_assert_eq(keeper_load(&bench.state, bench.dir), -ENOENT);
}

Test(keeper, a_missing_keeper_is_named)
{
	BENCH(bench);
	Error err = { 0 };

	free(bench.keeper);
	bench.keeper = text_dup("/no/such/keeper");
	cr_assert_eq(start_with(&bench, "/bin/sh", "", (KeeperConfig){ 0 }, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_str_eq(err.what, "run /no/such/keeper: No such file or directory");
}

Test(keeper, a_missing_run_directory_is_named)
{
	BENCH(bench);
	Error err = { 0 };

	cr_assert_eq(rmdir(bench.dir), 0);
	cr_assert_eq(start_with(&bench, "/bin/sh", "", (KeeperConfig){ 0 }, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not_null(strstr(err.what, bench.dir));
}

Test(keeper, its_death_ends_the_vmm)
{
	BENCH(bench);
	cleanup_close int vmm = -1;
	KeeperExit exit;

	start(&bench, "echo up >&3; exec sleep 1000");
	cr_assert_eq(keeper_open_vmm(&vmm, &bench.state), 0);
	cr_assert_eq(process_signal(bench.keeper_fd, SIGKILL), 0);

	cr_assert_eq(process_wait(vmm, clock_mono_us() + WAIT), 0);
	cr_assert_eq(process_wait(bench.keeper_fd, clock_mono_us() + WAIT), 0);
	cr_assert_eq(keeper_read_exit(&exit, bench.dir), -ENOENT);
	cr_assert_eq(keeper_exit_reason(bench.dir, NULL, NULL), EXIT_KEEPER_LOST);
}

Test(keeper, it_is_not_its_starters_child_and_ignores_polite_signals)
{
	BENCH(bench);
	KeeperExit exit;

	start(&bench, "read line </dev/zero & echo up >&3; sleep 1000");
	for (int i = 0; i < 3; i++)
		cr_assert_eq(process_signal(bench.keeper_fd, (int[]){ SIGTERM, SIGINT, SIGHUP }[i]),
			     0);
	cr_assert_eq(waitpid(bench.state.keeper.pid, NULL, WNOHANG), -1);
	await_text(&bench, "console.log", "up");

	cr_assert_eq(process_wait(bench.keeper_fd, clock_mono_us()), -ETIMEDOUT);
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);
	exit = ended(&bench);
	cr_assert_eq(exit.signal, SIGKILL);
}

Test(keeper, what_the_vmm_leaves_behind_ends_with_it)
{
	BENCH(bench);
	cleanup_free char *log = NULL;
	ProcessId id;
	KeeperExit exit;
	int pid;

	start(&bench, "sleep 1000 & echo $!; exit 3");
	exit = ended(&bench);

	cr_assert_eq(exit.code, 3);
	log = contents(&bench, "vmm.log");
	pid = (int)number_after(log, "", 10);
	cr_assert_gt(pid, 1);
	cr_assert_eq(process_identify(&id, pid), -ESRCH);
}

Test(keeper, its_private_memory_stays_small)
{
	BENCH(bench);
	cleanup_free char *path = NULL, *text = NULL;
	unsigned long long kib = 0;

	start(&bench, "head -c 300000 /dev/zero >&3; echo up; exec sleep 1000");
	await_text(&bench, "vmm.log", "up");
	path = text_printf("/proc/%d/smaps_rollup", (int)bench.state.keeper.pid);
	cr_assert_eq(file_read(&text, NULL, path, 65536), 0);
	kib = number_after(text, "Private_Clean:", 10) + number_after(text, "Private_Dirty:", 10);

	cr_assert_gt(kib, 0);
	cr_assert_lt(kib, SANITIZED ? 65536 : 512); /* a sanitizer's own memory counts as well */
}
