/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/console.h"
#include "runtime/keeper_link.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A run directory and what is started in it; shell scripts play the VMM. */
typedef struct Bench {
	char dir[64];
	char *keeper;
	KeeperState state;
	int keeper_fd;
} Bench;

enum {
	WAIT = 60 * USEC_PER_SEC, /* long enough to never matter */
	CONSOLE_MAX = 64 * 1024,
	VMM_LOG_MAX = 256 * 1024,
	CONTENTS_MAX = 16 * 1024 * 1024
};

static void bench_free(Bench *bench)
{
	(void)!keeper_kill(bench->dir, WAIT);
	closep(&bench->keeper_fd);
	(void)!file_remove_tree(bench->dir);
	free(bench->keeper);
}

static Bench bench_new(void)
{
	const char *bin = getenv("HEARTH_BIN");
	Bench bench = { .dir = "/tmp/hearth-keeper-XXXXXX", .keeper_fd = -1 };

	cr_assert_not_null(bin, "HEARTH_BIN must name the directory of hearth-keeper");
	bench.keeper = text_printf("%s/hearth-keeper", bin);
	cr_assert_eq(access(bench.keeper, X_OK), 0, "%s is missing", bench.keeper);
	cr_assert_not_null(mkdtemp(bench.dir));
	return bench;
}

static int start_with(Bench *bench, const char *program, const char *script, KeeperConfig config,
		      Error *err)
{
	char *const argv[] = { text_dup(program), text_dup("-c"), text_dup(script), NULL };
	int r;

	config.keeper_path = bench->keeper;
	config.run_dir = bench->dir;
	if (!config.console_max_bytes)
		config.console_max_bytes = CONSOLE_MAX;
	config.vmm_argv = argv;
	r = keeper_start(&bench->state, &config, err);
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	return r;
}

static void start(Bench *bench, const char *script)
{
	Error err = { 0 };

	cr_assert_eq(start_with(bench, "/bin/sh", script, (KeeperConfig){ 0 }, &err), 0, "%s",
		     err.what);
	closep(&bench->keeper_fd);
	bench->keeper_fd = -1;
	(void)!keeper_open(&bench->keeper_fd, &bench->state);
}

/* Waits for the keeper's end and reads what it left. */
static KeeperExit ended(Bench *bench)
{
	KeeperExit exit = { 0 };

	if (bench->keeper_fd >= 0)
		cr_assert_eq(process_wait(bench->keeper_fd, clock_mono_us() + WAIT), 0);
	cr_assert_eq(keeper_read_exit(&exit, bench->dir), 0);
	return exit;
}

static char *contents(const Bench *bench, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);
	char *text = NULL;

	return file_read(&text, NULL, path, CONTENTS_MAX) < 0 ? NULL : text;
}

static void put(const Bench *bench, const char *name, const char *text)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);

	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
}

/* Waits until @name holds @text. */
static void await_text(const Bench *bench, const char *name, const char *text)
{
	int64_t deadline = clock_mono_us() + WAIT;

	for (;;) {
		cleanup_free char *now = contents(bench, name);

		if (now && strstr(now, text))
			return;
		cr_assert_lt(clock_mono_us(), deadline, "%s never said '%s'", name, text);
		clock_sleep_us(10000);
	}
}

/* The number behind @before in @text. */
static unsigned long long number_after(const char *text, const char *before, int base)
{
	const char *at = strstr(text, before);

	cr_assert_not_null(at, "no '%s' in '%s'", before, text);
	return strtoull(at + strlen(before), NULL, base);
}

static off_t size_of(const Bench *bench, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", bench->dir, name);
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

#define BENCH(name) cleanup_(bench_free) Bench name = bench_new()

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
	tail = console_tail(bench.dir, 100);
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

	tail = console_tail(bench.dir, 4096);
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

Test(keeper, the_vmms_last_word_is_kept)
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

Test(keeper, a_reported_panic_outranks_the_reset_after_it)
{
	BENCH(bench);
	KeeperExit exit = ended_after_events(
		&bench,
		"echo '{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":\"pause\"}}' >&4;"
		"echo '{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-reset\"}}' >&4");

	cr_assert_str_eq(exit.evidence, "guest-panic");
	cr_assert_eq(keeper_exit_reason(bench.dir, &exit, NULL), EXIT_GUEST_PANIC);
}

Test(keeper, nonsense_over_qmp_is_no_evidence)
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

Test(keeper, a_line_too_long_is_skipped_and_the_next_one_read)
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

Test(keeper, without_evidence_the_console_decides)
{
	KeeperExit exit = { .code = 0 };

	cr_assert_eq(keeper_exit_reason("/nowhere", &exit, NULL), EXIT_GUEST_EXITED);
	cr_assert_eq(keeper_exit_reason("/nowhere", &exit, "Kernel panic - not syncing: VFS"),
		     EXIT_GUEST_PANIC);
	cr_assert_eq(keeper_exit_reason("/nowhere", NULL, NULL), EXIT_UNKNOWN);
}

Test(keeper, a_start_removes_the_last_runs_records_and_keeps_its_console)
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
	tail = console_tail(bench.dir, 4096);
	cr_assert_str_eq(tail, "second\n");
}

Test(keeper, a_run_directory_in_use_is_refused)
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

Test(keeper, kill_ends_a_vmm_that_will_not)
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

Test(keeper, kill_ends_a_keeper_that_does_not_answer)
{
	BENCH(bench);
	cleanup_close int vmm = -1, keeper = -1;

	start(&bench, "exec sleep 1000");
	cr_assert_eq(process_signal(bench.keeper_fd, SIGSTOP), 0);
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);

	cr_assert_eq(keeper_open_vmm(&vmm, &bench.state), -ESRCH);
	cr_assert_eq(keeper_open(&keeper, &bench.state), -ESRCH);
}

Test(keeper, kill_of_nothing_is_success)
{
	BENCH(bench);

	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);
	cr_assert_eq(keeper_kill("/no/such/directory", WAIT), 0);
}

Test(keeper, garbage_is_no_keeper_file)
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

Test(keeper, a_newer_keepers_files_are_read)
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

Test(keeper, a_pid_in_other_hands_is_nobody)
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

Test(keeper, after_a_reboot_nobody_is_there)
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

Test(keeper, a_record_of_another_boot_means_the_host_was_rebooted)
{
	BENCH(bench);

	put(&bench, "keeper.json",
	    "{\"version\": 1, \"boot_id\": \"00000000-0000-0000-0000-000000000000\", "
	    "\"vmm\": {\"pid\": 1, \"start_time\": 1}, "
	    "\"keeper\": {\"pid\": 1, \"start_time\": 1}}");

	cr_assert_eq(keeper_exit_reason(bench.dir, NULL, NULL), EXIT_HOST_REBOOT);
	cr_assert_eq(keeper_kill(bench.dir, WAIT), 0);
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
#ifndef __SANITIZE_ADDRESS__
	cr_assert_lt(kib, 512);
#endif
}
