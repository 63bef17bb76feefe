/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/keeper_bench.h"

#include <signal.h>

static const char fake_qmp[] =
	"echo '{\"QMP\": {\"version\": {}}}' >&4; read line <&4; echo \"$line\";"
	"echo '{\"return\": {}}' >&4;";

static KeeperExit ended_after_events(Bench *bench, const char *events)
{
	cleanup_free char *script = text_printf("%s %s", fake_qmp, events);
	Error err = { 0 };

	cr_assert_eq(start_with(bench, "/bin/sh", script, (KeeperConfig){ .qmp = true }, &err), 0);
	(void)!keeper_open(&bench->keeper_fd, &bench->state);
	return ended(bench);
}

Test(keeper_link, the_vmms_last_word_is_kept)
{
	BENCH(bench);
	cleanup_free char *log = NULL;
	KeeperExit exit = ended_after_events(
		&bench,
		"echo '{\"timestamp\": {\"seconds\": 1}, \"event\": \"SHUTDOWN\", \"data\": "
		"{\"guest\": true, \"reason\": \"guest-shutdown\"}}' >&4");

	cr_assert_str_eq(exit.evidence, "guest-shutdown");
	cr_assert_eq(exit.code, 0);
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_GUEST_SHUTDOWN);
	log = contents(&bench, "vmm.log");
	cr_assert_str_eq(log, "{\"execute\": \"qmp_capabilities\"}\n");
}

Test(keeper_link, a_reported_panic_outranks_the_reset_after_it)
{
	BENCH(bench);
	KeeperExit exit = ended_after_events(
		&bench,
		"echo '{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"pause\"}}' >&4;"
		"echo '{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}' >&4");

	cr_assert_str_eq(exit.evidence, "guest-panic");
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_GUEST_PANIC);
}

Test(keeper_link, nonsense_over_qmp_is_no_evidence)
{
	BENCH(bench);
	KeeperExit exit = ended_after_events(
		&bench,
		"head -c 100000 /dev/urandom >&4; echo >&4;"
		"echo '{\"return\": \"\\\"event\\\": \\\"SHUTDOWN\\\", \\\"reason\\\": "
		"\\\"x\\\"\"}' >&4;"
		"echo '{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": 5}}' >&4;"
		"echo '{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"' >&4;"
		"printf '\\0\\377{\"event\": \"SHUTDOWN\" \"reason\": \"A\"}\\n' >&4; exit 1");

	cr_assert_str_eq(exit.evidence, "");
	cr_assert_eq(exit.code, 1);
}

Test(keeper_link, a_line_too_long_is_skipped_and_the_next_one_read)
{
	BENCH(bench);
	KeeperExit exit = ended_after_events(
		&bench,
		"head -c 100000 /dev/zero | tr '\\0' x >&4; echo >&4;"
		"echo '{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-reset\"}}' >&4");

	cr_assert_str_eq(exit.evidence, "guest-reset");
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, "Rebooting."), EXIT_GUEST_REBOOT);
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit,
					"[ 1.0] Kernel panic - not syncing: Attempted"),
		     EXIT_GUEST_PANIC);
}

Test(keeper_link, without_evidence_the_console_decides)
{
	KeeperExit exit = { .code = 0 };

	cr_assert_eq(keeper_exit_reason("/nowhere", &exit, NULL), EXIT_GUEST_EXITED);
	cr_assert_eq(keeper_exit_reason("/nowhere", &exit, "Kernel panic - not syncing: VFS"),
		     EXIT_GUEST_PANIC);
	cr_assert_eq(keeper_exit_reason("/nowhere", NULL, NULL), EXIT_UNKNOWN);
}

Test(keeper_link, a_panic_is_found_before_a_long_trace)
{
	BENCH(bench);
	KeeperExit exit;

	start(&bench, "echo Kernel panic - not syncing: VFS >&3; yes trace | head -c 9000 >&3");
	exit = ended(&bench);

	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, "trace\n"), EXIT_GUEST_PANIC);
}

Test(keeper_link, a_start_removes_the_last_runs_records_and_keeps_its_console)
{
	BENCH(bench);
	cleanup_free char *tail = NULL, *log = NULL;
	KeeperExit exit;

	start(&bench, "echo Kernel panic - not syncing >&3; exit 5");
	(void)ended(&bench);
	start(&bench, "echo second >&3; exec sleep 1000");
	await_text(&bench, "console.log", "second");

	cr_assert_eq(keeper_read_exit(&exit, bench.dir), -ENOENT);
	log = contents(&bench, "console.log");
	cr_assert_not_null(strstr(log, "Kernel panic - not syncing\n[hearth: started "));
	tail = console_tail(bench.dir, CONSOLE_SOURCE_SERIAL, 4096);
	cr_assert_str_eq(tail, "second\n");
}

Test(keeper_link, a_run_directory_in_use_is_refused)
{
	BENCH(bench);
	Error err = { 0 };
	KeeperState now;

	start(&bench, "exec sleep 1000");
	cr_assert_eq(start_with(&bench, "/bin/sh", "exit 0", (KeeperConfig){ 0 }, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not_null(strstr(err.what, "still has a keeper"));
	cr_assert_eq(keeper_load(&now, bench.dir), 0);
	cr_assert_eq(process_wait(bench.keeper_fd, clock_mono_us()), -ETIMEDOUT);
}

Test(keeper_link, kill_ends_a_vmm_that_will_not)
{
	BENCH(bench);
	cleanup_close int vmm = -1;
	KeeperExit exit;

	start(&bench, "trap '' TERM INT HUP; echo up >&3; while :; do sleep 1000; done");
	await_text(&bench, "console.log", "up");
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);

	exit = ended(&bench);
	cr_assert_eq(exit.signal, SIGKILL);
	cr_assert_eq(keeper_open_vmm(&vmm, &bench.state), -ESRCH);
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);
}

Test(keeper_link, kill_ends_a_keeper_that_does_not_answer)
{
	BENCH(bench);
	cleanup_close int vmm = -1, keeper = -1;

	start(&bench, "exec sleep 1000");
	cr_assert_eq(process_signal(bench.keeper_fd, SIGSTOP), 0);
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);

	cr_assert_eq(keeper_open_vmm(&vmm, &bench.state), -ESRCH);
	cr_assert_eq(keeper_open(&keeper, &bench.state), -ESRCH);
}

Test(keeper_link, kill_of_nothing_is_success)
{
	BENCH(bench);

	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);
	cr_assert_eq(keeper_kill("/no/such/directory", WAIT), 0);
}

Test(keeper_link, garbage_is_no_keeper_file)
{
	static const char *const garbage[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"version\": 0}",
		"{\"version\": 1}",
		"{\"version\": 1, \"keeper\": 5, \"vmm\": [], \"boot_id\": {}}",
		"{\"version\": 1, \"boot_id\": \"x\", \"keeper\": {\"pid\": -1}, \"vmm\": {}}",
		"{\"version\": 1, \"boot_id\": \"x\", \"keeper\": {\"pid\": 4294967297}}",
	};
	BENCH(bench);
	KeeperState state;
	KeeperExit exit;

	for (size_t i = 0; i < array_size(garbage); i++) {
		put(&bench, "keeper.json", garbage[i]);
		put(&bench, "exit.json", garbage[i]);

		cr_assert_eq(keeper_load(&state, bench.dir), -EINVAL, "%s", garbage[i]);
		cr_assert_eq(keeper_read_exit(&exit, bench.dir), -EINVAL, "%s", garbage[i]);
	}
	cr_assert_eq(keeper_exit_reason(bench.dir, NULL, NULL), EXIT_UNKNOWN);
}

Test(keeper_link, a_newer_keepers_files_are_read)
{
	BENCH(bench);
	KeeperState state;
	KeeperExit exit;

	put(&bench, "keeper.json",
	    "{\"version\": 2, \"new\": [1], \"boot_id\": \"b\", \"vmm\": {\"pid\": 12, "
	    "\"start_time\": 34, \"x\": 1}, \"keeper\": {\"pid\": 56, \"start_time\": 78}}");
	put(&bench, "exit.json",
	    "{\"version\": 2, \"code\": 3, \"signal\": 0, \"time\": 9, "
	    "\"evidence\": \"a word that is longer than any there is today\"}");

	cr_assert_eq(keeper_load(&state, bench.dir), 0);
	cr_assert_eq(state.version, 2);
	cr_assert_eq(state.vmm.pid, 12);
	cr_assert_eq(state.keeper.start_time, 78);
	cr_assert_eq(keeper_read_exit(&exit, bench.dir), 0);
	cr_assert_eq(exit.code, 3);
	cr_assert_str_eq(exit.evidence, "");
}

Test(keeper_link, a_pid_in_other_hands_is_nobody)
{
	BENCH(bench);
	KeeperState state;
	int fd = -1;

	start(&bench, "exec sleep 1000");
	state = bench.state;
	state.keeper.start_time++;
	state.vmm.start_time--;

	cr_assert_eq(keeper_open(&fd, &state), -ESRCH);
	cr_assert_eq(keeper_open_vmm(&fd, &state), -ESRCH);
}

Test(keeper_link, after_a_reboot_nobody_is_there)
{
	BENCH(bench);
	KeeperState state;
	int fd = -1;

	start(&bench, "exec sleep 1000");
	cr_assert_eq(keeper_load(&state, bench.dir), 0);
	state.boot_id[0] = state.boot_id[0] == '0' ? '1' : '0';

	cr_assert_eq(keeper_open(&fd, &state), -ESRCH);
	cr_assert_eq(keeper_exit_reason(bench.dir, NULL, NULL), EXIT_UNKNOWN);
}

Test(keeper_link, a_record_of_another_boot_means_the_host_was_rebooted)
{
	BENCH(bench);

	put(&bench, "keeper.json",
	    "{\"version\": 1, \"boot_id\": \"00000000-0000-0000-0000-000000000000\", "
	    "\"vmm\": {\"pid\": 1, \"start_time\": 1}, "
	    "\"keeper\": {\"pid\": 1, \"start_time\": 1}}");

	cr_assert_eq(keeper_exit_reason(bench.dir, NULL, NULL), EXIT_HOST_REBOOT);
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);
}
