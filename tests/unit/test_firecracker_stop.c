/* SPDX-License-Identifier: Apache-2.0 */

/* The stop ladder on the real Firecracker, with tests/guest as the guest. */

#include "tests/support/firecracker_bench.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

/* Stand in for the core's: steps go by, and nothing but the descriptor cancels. */
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

Test(firecracker_stop, ctrl_alt_del_lets_a_guest_end_itself)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=button");
	VmmExit exit;

	qemu_bench_start(bench);
	qemu_bench_wait_console(bench, "tick 1");

	qemu_bench_stop(bench, QEMU_BENCH_LONG, QEMU_BENCH_LONG);

	qemu_bench_check_rung(bench, 0, "ctrl_alt_del", RUNG_ENDED);
	cr_assert_eq(bench->job.rungs.count, 1);
	exit = qemu_bench_wait_exit(bench);
	cr_assert_eq(exit.reason, EXIT_GUEST_EXITED);
	cr_assert_eq(exit.code, 0);
	cr_assert_not_null(strstr(exit.console_tail, "guest: off"));
	free(exit.console_tail);
}

Test(firecracker_stop, a_guest_that_ignores_ctrl_alt_del_is_terminated)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	VmmExit exit;

	qemu_bench_start(bench);

	qemu_bench_stop(bench, QEMU_BENCH_SHORT, QEMU_BENCH_LONG);

	qemu_bench_check_rung(bench, 0, "ctrl_alt_del", RUNG_TIMED_OUT);
	qemu_bench_check_rung(bench, 1, "terminate", RUNG_ENDED);
	cr_assert_eq(bench->job.rungs.count, 2);
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
	exit = qemu_bench_wait_exit(bench);
	cr_assert_eq(exit.reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(exit.signal, SIGTERM);
	cr_assert_not(firecracker_bench_socket_exists(bench));
	free(exit.console_tail);
}

Test(firecracker_stop, a_firecracker_that_hangs_is_killed)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	VmmExit exit;

	qemu_bench_start(bench);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, SIGSTOP), 0);

	qemu_bench_stop(bench, QEMU_BENCH_SHORT, QEMU_BENCH_SHORT);

	qemu_bench_check_rung(bench, 0, "ctrl_alt_del", RUNG_FAILED);
	qemu_bench_check_rung(bench, 1, "terminate", RUNG_TIMED_OUT);
	qemu_bench_check_rung(bench, 2, "kill", RUNG_ENDED);
	exit = qemu_bench_wait_exit(bench);
	cr_assert_eq(exit.reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(exit.signal, SIGKILL);
	cr_assert_not(firecracker_bench_socket_exists(bench));
	free(exit.console_tail);
}

Test(firecracker_stop, rungs_not_asked_for_are_skipped)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	qemu_bench_start(bench);

	qemu_bench_stop(bench, -1, -1);

	qemu_bench_check_rung(bench, 0, "ctrl_alt_del", RUNG_SKIPPED);
	qemu_bench_check_rung(bench, 1, "terminate", RUNG_SKIPPED);
	qemu_bench_check_rung(bench, 2, "kill", RUNG_ENDED);
}

Test(firecracker_stop, a_paused_guest_cannot_notice_ctrl_alt_del)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=button");
	Error err = { 0 };

	qemu_bench_start(bench);
	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);

	qemu_bench_stop(bench, QEMU_BENCH_LONG, QEMU_BENCH_LONG);

	qemu_bench_check_rung(bench, 0, "ctrl_alt_del", RUNG_SKIPPED);
	qemu_bench_check_rung(bench, 1, "terminate", RUNG_ENDED);
}

Test(firecracker_stop, a_cancelled_stop_goes_to_its_last_rung)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	qemu_bench_start(bench);
	cr_assert_eq(eventfd_write(bench->cancel, 1), 0);

	qemu_bench_stop(bench, QEMU_BENCH_LONG, QEMU_BENCH_LONG);

	qemu_bench_check_rung(bench, 0, "ctrl_alt_del", RUNG_SKIPPED);
	qemu_bench_check_rung(bench, 1, "terminate", RUNG_SKIPPED);
	qemu_bench_check_rung(bench, 2, "kill", RUNG_ENDED);
}

Test(firecracker_stop, a_guest_that_floods_its_console_can_be_paused_and_stopped)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=flood");
	Error err = { 0 };

	qemu_bench_start(bench);
	qemu_bench_wait_console(bench, "dull boy");

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	cr_assert_eq(bench->backend->ops->resume(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
	qemu_bench_stop(bench, -1, QEMU_BENCH_LONG);

	qemu_bench_check_rung(bench, 1, "terminate", RUNG_ENDED);
}

Test(firecracker_stop, stopping_what_is_not_there_is_success)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	qemu_bench_stop(bench, QEMU_BENCH_LONG, QEMU_BENCH_LONG);

	cr_assert_eq(bench->job.rungs.count, 0);
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
}
