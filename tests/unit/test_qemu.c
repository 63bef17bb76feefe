/* SPDX-License-Identifier: Apache-2.0 */

/* VMs starting, running and ending on the real QEMU, with tests/guest as the guest. */

#include "base/text.h"
#include "runtime/keeper_link.h"
#include "tests/support/qemu_bench.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

/* The step at which the job is cancelled, or NULL. Every test is a process of its own. */
static const char *cancel_at;

/* Stand in for the core's: steps go by, and nothing but the descriptor cancels. */
void job_step(Job *job, const char *name)
{
	if (cancel_at && strcmp(name, cancel_at) == 0)
		cr_assert_eq(eventfd_write(job->cancel_fd, 1), 0);
}

bool job_cancelled(const Job *job)
{
	struct pollfd poll_for = { .fd = job->cancel_fd, .events = POLLIN };

	return poll(&poll_for, 1, 0) > 0;
}

Test(qemu, a_started_guest_runs_and_what_was_chosen_is_told)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");

	qemu_bench_start(bench);

	qemu_bench_wait_console(bench, "tick 3");
	cr_assert_eq(qemu_bench_look(bench), VM_RUNNING);
	cr_assert_str_eq(bench->resolved.accelerator, "tcg");
	cr_assert_not_null(strchr(bench->resolved.vmm_version, '.'));
	cr_assert(qemu_bench_console_has(bench, bench->resolved.boot_args), "%s",
		  bench->resolved.boot_args);
	cr_assert_eq(bench->resolved.memory_mib, 16);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, 0), 0);
	cr_assert_eq(kill((pid_t)bench->resolved.keeper_pid, 0), 0);
	cr_assert_gt(bench->resolved.start_time, 0);
}

Test(qemu, a_paused_guest_is_silent_until_resumed)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");
	Error err = { 0 };
	size_t size;

	qemu_bench_start(bench);
	qemu_bench_wait_console(bench, "tick 1");

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	clock_sleep_us(QEMU_BENCH_SHORT); /* what was on its way arrives */
	size = qemu_bench_console_size(bench);
	clock_sleep_us(QEMU_BENCH_SHORT);

	cr_assert_eq(qemu_bench_console_size(bench), size);
	cr_assert_eq(qemu_bench_look(bench), VM_PAUSED);
	cr_assert_eq(bench->backend->ops->resume(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	cr_assert_eq(qemu_bench_look(bench), VM_RUNNING);
	qemu_bench_wait_console_grows(bench);
}

static void check_end(const char *boot_args, ExitReason reason)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new(boot_args);
	VmmExit exit;

	qemu_bench_start(bench);

	exit = qemu_bench_wait_exit(bench);

	cr_assert_eq(exit.reason, reason, "%s: %s", boot_args, exit_reason_name(exit.reason));
	cr_assert_eq(exit.code, 0);
	cr_assert_eq(exit.signal, 0);
	cr_assert_not_null(strstr(exit.console_tail, boot_args));
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
	cr_assert_not(qemu_bench_socket_exists(bench));
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
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");
	VmmExit exit;

	qemu_bench_start(bench);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, SIGKILL), 0);

	exit = qemu_bench_wait_exit(bench);

	cr_assert_eq(exit.reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(exit.signal, SIGKILL);
	free(exit.console_tail);
}

Test(qemu, a_lost_keeper_takes_its_qemu_along)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");
	cleanup_close int vmm = -1;
	KeeperState state;
	VmmExit exit;

	qemu_bench_start(bench);
	cr_assert_eq(keeper_load(&state, bench->run_dir), 0);
	cr_assert_eq(keeper_open_vmm(&vmm, &state), 0);
	cr_assert_eq(kill((pid_t)bench->resolved.keeper_pid, SIGKILL), 0);

	exit = qemu_bench_wait_exit(bench);

	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
	cr_assert_eq(process_wait(vmm, clock_mono_us() + QEMU_BENCH_LONG), 0);
	cr_assert_eq(exit.reason, EXIT_KEEPER_LOST);
	free(exit.console_tail);
}

Test(qemu, pausing_what_has_ended_fails_and_poisons_nothing)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=shutdown");
	Error err = { 0 };

	qemu_bench_start(bench);
	free(qemu_bench_wait_exit(bench).console_tail);

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not(bench->job.poisoned);
}

static void check_failed_start(QemuBench *bench, const char *words)
{
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED, "%s", err.what);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
	cr_assert_not(bench->job.poisoned);
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
	cr_assert_not(qemu_bench_socket_exists(bench));
}

Test(qemu, a_kernel_that_is_none_fails_in_qemus_own_words)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");

	free(bench->spec->boot->kernel_path);
	bench->spec->boot->kernel_path = text_printf("%s/hearth-keeper", bench->bin);

	check_failed_start(bench, "qemu-system-x86_64: Error loading uncompressed kernel");
}

Test(qemu, a_drive_another_qemu_writes_is_refused_by_its_lock)
{
	cleanup_(qemu_bench_freep) QemuBench *owner = qemu_bench_new("exit=loop");
	cleanup_(qemu_bench_freep) QemuBench *thief = qemu_bench_new("exit=loop");
	cleanup_free char *path = text_printf("%s/a,b.img", owner->dir);
	VmSpec *specs[] = { owner->spec, thief->spec };

	qemu_bench_write_script(path, "not much of a disk");
	for (size_t i = 0; i < 2; i++) {
		VmDrive *drive = field_list_add(&specs[i]->drives, &vm_drive_table);

		drive->drive_id = text_dup("data");
		drive->path = text_dup(path);
	}
	qemu_bench_start(owner);

	check_failed_start(thief, "lock");
}

/* From now on QEMU is a script that does @action in place of running a guest. */
static void use_script(QemuBench *bench, const char *action)
{
	cleanup_free char *path = text_printf("%s/qemu", bench->dir);
	cleanup_free char *script = text_printf("#!/bin/sh\n"
						"case \"$*\" in\n"
						"--version) echo QEMU emulator version 9.8.7;;\n"
						"*isa-debug-exit*) exit 85;;\n"
						"*) %s;;\n"
						"esac\n",
						action);

	qemu_bench_write_script(path, script);
	bench->backend->ops->free(bench->backend);
	bench->backend = qemu_bench_backend(bench, path, "auto");
}

Test(qemu, a_qemu_that_dies_at_once_is_quoted)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");

	use_script(bench, "echo out of luck >&2; exit 3");

	check_failed_start(bench, "out of luck");
	cr_assert_str_eq(bench->resolved.vmm_version, "9.8.7");
	cr_assert_str_eq(bench->resolved.accelerator, "kvm");
}

Test(qemu, a_qemu_that_never_listens_is_given_up_with_its_start)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");

	use_script(bench, "exec sleep 600");
	cancel_at = "connect";

	check_failed_start(bench, "given up");
}

Test(qemu, a_start_cancelled_before_the_guest_ran_leaves_nothing)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");

	cancel_at = "boot";

	check_failed_start(bench, "given up");
	cr_assert_not(qemu_bench_console_has(bench, "guest:"));
}

Test(qemu, a_cancelled_pause_leaves_the_guest_running)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");
	Error err = { 0 };

	qemu_bench_start(bench);
	cancel_at = "stop";

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), -1);

	cr_assert_not(bench->job.poisoned);
	bench->job.cancel_fd = -1;
	cr_assert_eq(qemu_bench_look(bench), VM_RUNNING);
	qemu_bench_wait_console_grows(bench);
}

Test(qemu, a_cancelled_start_leaves_nothing)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");

	cr_assert_eq(eventfd_write(bench->cancel, 1), 0);

	check_failed_start(bench, "given up");
}

Test(qemu, a_socket_path_too_long_is_said_before_anything_starts)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = qemu_bench_new("exit=loop");
	char long_name[100];

	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	free(bench->run_dir);
	bench->run_dir = text_printf("%s/%s", bench->dir, long_name);
	bench->job.run_dir = bench->run_dir;
	cr_assert_eq(mkdir(bench->run_dir, 0700), 0);

	check_failed_start(bench, "at most 107 bytes");
}
