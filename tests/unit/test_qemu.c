/* SPDX-License-Identifier: Apache-2.0 */

/* The QEMU backend with the real QEMU, and tests/guest as the guest. */

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/backend.h"
#include "runtime/console.h"
#include "runtime/keeper_link.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum {
	LONG = 120 * USEC_PER_SEC, /* never reached where the code is right */
	SHORT = 300 * USEC_PER_MSEC,
};

/* A backend and one VM of it, in a directory of their own. */
typedef struct Bench {
	char dir[64];
	char *run_dir, *bin, *guest;
	Backend *backend;
	VmSpec *spec;
	VmResolved resolved;
	Job job;
	int cancel;
} Bench;

/* Stand in for the core's: the steps go by, and the test looks at the descriptor. */
void job_step(Job *job, const char *name)
{
	(void)job;
	(void)name;
}

bool job_cancelled(const Job *job)
{
	struct pollfd poll_for = { .fd = job->cancel_fd, .events = POLLIN };

	return poll(&poll_for, 1, 0) > 0;
}

static Backend *backend_on(const Bench *bench, const char *qemu, const char *accelerator)
{
	cleanup_free char *keeper = text_printf("%s/hearth-keeper", bench->bin);
	const BackendConfig config = {
		.keeper_path = keeper,
		.qemu_path = qemu,
		.accelerator = accelerator,
		.state_dir = bench->dir,
		.console_max_bytes = 256 * 1024,
	};

	return qemu_new(&config);
}

static Bench *bench_new(const char *boot_args)
{
	Bench *bench = new0(Bench);
	const char *bin = getenv("HEARTH_BIN");

	cr_assert_not_null(bin, "HEARTH_BIN must name the directory of hearth-keeper");
	bench->bin = text_dup(bin);
	bench->guest = text_printf("%s/../guest/guest.elf", bin);
	(void)stpcpy(bench->dir, "/tmp/hearth-qemu-XXXXXX");
	cr_assert_not_null(mkdtemp(bench->dir));
	bench->run_dir = text_printf("%s/vm,1", bench->dir);
	cr_assert_eq(mkdir(bench->run_dir, 0700), 0);
	bench->backend = backend_on(bench, "qemu-system-x86_64", "tcg");
	bench->spec = spec_new();
	bench->spec->machine = new0(VmMachine);
	bench->spec->machine->memory_mib = 16;
	bench->spec->boot = new0(VmBoot);
	bench->spec->boot->kernel_path = text_dup(bench->guest);
	bench->spec->boot->boot_args = text_dup(boot_args);
	bench->cancel = eventfd(0, EFD_CLOEXEC);
	bench->job = (Job){
		.vm_id = "test",
		.run_dir = bench->run_dir,
		.spec = bench->spec,
		.resolved = &bench->resolved,
		.cancel_fd = bench->cancel,
		.backend = bench->backend,
	};
	return bench;
}

static void bench_free(Bench *bench)
{
	cr_expect_eq(keeper_kill(bench->run_dir, LONG), 0);
	(void)!file_remove_tree(bench->dir);
	bench->backend->ops->free(bench->backend);
	for (size_t i = 0; i < bench->job.rungs.count; i++) {
		free(((VmRung *)bench->job.rungs.items)[i].name);
		free(((VmRung *)bench->job.rungs.items)[i].message);
	}
	free(bench->job.rungs.items);
	spec_unref(bench->spec);
	fields_clear(&vm_resolved_table, &bench->resolved);
	(void)close(bench->cancel);
	free(bench->run_dir);
	free(bench->guest);
	free(bench->bin);
	free(bench);
}
DEFINE_CLEANUP(Bench *, bench_free);

static void start(Bench *bench)
{
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
}

static bool console_has(const Bench *bench, const char *text)
{
	cleanup_free char *tail = console_tail(bench->run_dir, 64 * 1024);

	return tail && strstr(tail, text);
}

static void wait_console(const Bench *bench, const char *text)
{
	int64_t deadline = clock_mono_us() + LONG;

	while (!console_has(bench, text)) {
		cr_assert_lt(clock_mono_us(), deadline, "'%s' never came", text);
		clock_sleep_us(20 * USEC_PER_MSEC);
	}
}

static size_t console_size(const Bench *bench)
{
	cleanup_free char *tail = console_tail(bench->run_dir, 1024 * 1024);

	return tail ? strlen(tail) : 0;
}

static void wait_console_grows(const Bench *bench)
{
	int64_t deadline = clock_mono_us() + LONG;
	size_t size = console_size(bench);

	while (console_size(bench) <= size) {
		cr_assert_lt(clock_mono_us(), deadline, "the guest is silent");
		clock_sleep_us(20 * USEC_PER_MSEC);
	}
}

static VmState look(Bench *bench)
{
	VmState state = VM_STATE_UNSET;
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->look(bench->backend, &bench->job, &state, &err), 0, "%s",
		     err.what);
	return state;
}

static void stop(Bench *bench, int64_t power_button, int64_t terminate)
{
	const StopLadder ladder = { power_button, terminate };
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->stop(bench->backend, &bench->job, &ladder, &err), 0, "%s",
		     err.what);
}

static void check_rung(const Bench *bench, size_t i, const char *name, RungOutcome outcome)
{
	const VmRung *rung = &((const VmRung *)bench->job.rungs.items)[i];

	cr_assert_gt(bench->job.rungs.count, i);
	cr_assert_str_eq(rung->name, name);
	cr_assert_eq(rung->outcome, outcome, "%s: %d: %s", name, rung->outcome, rung->message);
	cr_assert_geq(rung->end_time, rung->start_time);
	cr_assert(rung->outcome == RUNG_ENDED || rung->outcome == RUNG_TIMED_OUT || rung->message);
}

/* Waits until the VMM has ended and answers how. */
static VmmExit wait_exit(Bench *bench)
{
	cleanup_close int fd = -1;
	struct pollfd poll_for = { .events = POLLIN };
	VmmExit exit = { 0 };
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->exit_fd(bench->backend, &bench->job, &fd, &err), 0, "%s",
		     err.what);
	poll_for.fd = fd;
	cr_assert_eq(poll(&poll_for, 1, LONG / USEC_PER_MSEC), 1);
	bench->backend->ops->read_exit(bench->backend, &bench->job, &exit);
	return exit;
}

static bool socket_exists(const Bench *bench)
{
	cleanup_free char *path = text_printf("%s/qmp.sock", bench->run_dir);

	return access(path, F_OK) == 0;
}

static void write_script(const char *path, const char *text)
{
	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
	cr_assert_eq(chmod(path, 0700), 0);
}

Test(qemu, a_started_guest_runs_and_what_was_chosen_is_told)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");

	start(bench);

	wait_console(bench, "tick 3");
	cr_assert_eq(look(bench), VM_RUNNING);
	cr_assert_str_eq(bench->resolved.accelerator, "tcg");
	cr_assert_not_null(strchr(bench->resolved.vmm_version, '.'));
	cr_assert(console_has(bench, bench->resolved.boot_args), "%s", bench->resolved.boot_args);
	cr_assert_eq(bench->resolved.memory_mib, 16);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, 0), 0);
	cr_assert_eq(kill((pid_t)bench->resolved.keeper_pid, 0), 0);
	cr_assert_gt(bench->resolved.start_time, 0);
}

Test(qemu, a_paused_guest_is_silent_until_resumed)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	Error err = { 0 };
	size_t size;

	start(bench);
	wait_console(bench, "tick 1");

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	clock_sleep_us(SHORT); /* what was on its way arrives */
	size = console_size(bench);
	clock_sleep_us(SHORT);

	cr_assert_eq(console_size(bench), size);
	cr_assert_eq(look(bench), VM_PAUSED);
	cr_assert_eq(bench->backend->ops->resume(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	cr_assert_eq(look(bench), VM_RUNNING);
	wait_console_grows(bench);
}

Test(qemu, the_power_button_lets_a_guest_end_itself)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=button");
	VmmExit exit;

	start(bench);
	wait_console(bench, "tick 1");

	stop(bench, LONG, LONG);

	check_rung(bench, 0, "power_button", RUNG_ENDED);
	cr_assert_eq(bench->job.rungs.count, 1);
	exit = wait_exit(bench);
	cr_assert_eq(exit.reason, EXIT_GUEST_SHUTDOWN);
	cr_assert_not_null(strstr(exit.console_tail, "guest: off"));
	free(exit.console_tail);
}

Test(qemu, a_guest_without_a_power_button_is_terminated)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");

	start(bench);

	stop(bench, SHORT, LONG);

	check_rung(bench, 0, "power_button", RUNG_TIMED_OUT);
	check_rung(bench, 1, "terminate", RUNG_ENDED);
	cr_assert_eq(bench->job.rungs.count, 2);
	cr_assert_eq(look(bench), VM_STOPPED);
	cr_assert_not(socket_exists(bench));
}

Test(qemu, a_qemu_that_hangs_is_killed)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	VmmExit exit;

	start(bench);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, SIGSTOP), 0);

	stop(bench, SHORT, SHORT);

	check_rung(bench, 0, "power_button", RUNG_FAILED);
	check_rung(bench, 1, "terminate", RUNG_TIMED_OUT);
	check_rung(bench, 2, "kill", RUNG_ENDED);
	exit = wait_exit(bench);
	cr_assert_eq(exit.reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(exit.signal, SIGKILL);
	cr_assert_eq(exit.code, -1);
	cr_assert_not(socket_exists(bench));
	free(exit.console_tail);
}

Test(qemu, rungs_not_asked_for_are_skipped)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");

	start(bench);

	stop(bench, -1, -1);

	check_rung(bench, 0, "power_button", RUNG_SKIPPED);
	check_rung(bench, 1, "terminate", RUNG_SKIPPED);
	check_rung(bench, 2, "kill", RUNG_ENDED);
}

Test(qemu, a_paused_guest_cannot_notice_its_power_button)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=button");
	Error err = { 0 };

	start(bench);
	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);

	stop(bench, LONG, LONG);

	check_rung(bench, 0, "power_button", RUNG_SKIPPED);
	check_rung(bench, 1, "terminate", RUNG_ENDED);
}

Test(qemu, a_cancelled_stop_goes_to_its_last_rung)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");

	start(bench);
	cr_assert_eq(eventfd_write(bench->cancel, 1), 0);

	stop(bench, LONG, LONG);

	check_rung(bench, 0, "power_button", RUNG_SKIPPED);
	check_rung(bench, 1, "terminate", RUNG_SKIPPED);
	check_rung(bench, 2, "kill", RUNG_ENDED);
}

static void check_end(const char *boot_args, ExitReason reason)
{
	cleanup_(bench_freep) Bench *bench = bench_new(boot_args);
	VmmExit exit;

	start(bench);

	exit = wait_exit(bench);

	cr_assert_eq(exit.reason, reason, "%s: %s", boot_args, exit_reason_name(exit.reason));
	cr_assert_eq(exit.code, 0);
	cr_assert_eq(exit.signal, 0);
	cr_assert_not_null(strstr(exit.console_tail, boot_args));
	cr_assert_eq(look(bench), VM_STOPPED);
	cr_assert_not(socket_exists(bench));
	free(exit.console_tail);
}

Test(qemu, how_a_guest_ended_is_told_apart)
{
	check_end("exit=shutdown", EXIT_GUEST_SHUTDOWN);
	check_end("exit=reboot", EXIT_GUEST_REBOOT);
	check_end("exit=panic", EXIT_GUEST_PANIC);
}

Test(qemu, a_killed_qemu_is_noticed_with_its_signal)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	VmmExit exit;

	start(bench);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, SIGKILL), 0);

	exit = wait_exit(bench);

	cr_assert_eq(exit.reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(exit.signal, SIGKILL);
	free(exit.console_tail);
}

Test(qemu, a_lost_keeper_takes_its_qemu_along)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	cleanup_close int vmm = -1;
	KeeperState state;
	VmmExit exit;

	start(bench);
	cr_assert_eq(keeper_load(&state, bench->run_dir), 0);
	cr_assert_eq(keeper_open_vmm(&vmm, &state), 0);
	cr_assert_eq(kill((pid_t)bench->resolved.keeper_pid, SIGKILL), 0);

	exit = wait_exit(bench);

	cr_assert_eq(look(bench), VM_STOPPED);
	cr_assert_eq(process_wait(vmm, clock_mono_us() + LONG), 0);
	cr_assert_eq(exit.reason, EXIT_KEEPER_LOST);
	free(exit.console_tail);
}

Test(qemu, a_guest_that_floods_its_console_can_be_paused_and_stopped)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=flood");
	Error err = { 0 };

	start(bench);
	wait_console(bench, "dull boy");

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	cr_assert_eq(bench->backend->ops->resume(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	stop(bench, -1, LONG);

	check_rung(bench, 1, "terminate", RUNG_ENDED);
}

Test(qemu, stopping_what_is_not_there_is_success)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	VmmExit exit = { 0 };

	stop(bench, LONG, LONG);

	cr_assert_eq(bench->job.rungs.count, 0);
	cr_assert_eq(look(bench), VM_STOPPED);
	bench->backend->ops->read_exit(bench->backend, &bench->job, &exit);
	cr_assert_eq(exit.reason, EXIT_UNKNOWN);
	cr_assert_null(exit.console_tail);
}

Test(qemu, pausing_what_has_ended_fails_and_poisons_nothing)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=shutdown");
	Error err = { 0 };

	start(bench);
	free(wait_exit(bench).console_tail);

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not(bench->job.poisoned);
}

static void check_failed_start(Bench *bench, const char *words)
{
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED, "%s", err.what);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
	cr_assert_not(bench->job.poisoned);
	cr_assert_eq(look(bench), VM_STOPPED);
	cr_assert_not(socket_exists(bench));
}

Test(qemu, a_kernel_that_is_none_fails_in_qemus_own_words)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");

	free(bench->spec->boot->kernel_path);
	bench->spec->boot->kernel_path = text_printf("%s/hearth-keeper", bench->bin);

	check_failed_start(bench, "qemu-system-x86_64: Error loading uncompressed kernel");
}

Test(qemu, a_drive_another_qemu_writes_is_refused_by_its_lock)
{
	cleanup_(bench_freep) Bench *owner = bench_new("exit=loop");
	cleanup_(bench_freep) Bench *thief = bench_new("exit=loop");
	cleanup_free char *path = text_printf("%s/a,b.img", owner->dir);
	Bench *both[] = { owner, thief };

	write_script(path, "not much of a disk");
	for (size_t i = 0; i < array_size(both); i++) {
		VmDrive *drive = field_list_add(&both[i]->spec->drives, &vm_drive_table);

		drive->drive_id = text_dup("data");
		drive->path = text_dup(path);
	}
	start(owner);

	check_failed_start(thief, "lock");
}

Test(qemu, a_qemu_that_dies_at_once_is_quoted)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	cleanup_free char *script = text_printf("%s/qemu", bench->dir);

	write_script(script, "#!/bin/sh\n"
			     "case \"$*\" in\n"
			     "--version) echo QEMU emulator version 9.8.7;;\n"
			     "*isa-debug-exit*) exit 85;;\n"
			     "*) echo out of luck >&2; exit 3;;\n"
			     "esac\n");
	bench->backend->ops->free(bench->backend);
	bench->backend = backend_on(bench, script, "auto");

	check_failed_start(bench, "out of luck");
	cr_assert_str_eq(bench->resolved.vmm_version, "9.8.7");
	cr_assert_str_eq(bench->resolved.accelerator, "kvm");
}

Test(qemu, a_cancelled_start_leaves_nothing)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");

	cr_assert_eq(eventfd_write(bench->cancel, 1), 0);

	check_failed_start(bench, "given up");
}

Test(qemu, a_socket_path_too_long_is_said_before_anything_starts)
{
	cleanup_(bench_freep) Bench *bench = bench_new("exit=loop");
	char long_name[100];

	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	free(bench->run_dir);
	bench->run_dir = text_printf("%s/%s", bench->dir, long_name);
	bench->job.run_dir = bench->run_dir;
	cr_assert_eq(mkdir(bench->run_dir, 0700), 0);

	check_failed_start(bench, "at most 107 bytes");
}
