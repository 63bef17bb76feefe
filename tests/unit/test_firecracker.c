/* SPDX-License-Identifier: Apache-2.0 */

/* VMs starting, running and ending on the real Firecracker, with tests/guest as the guest. */

#include "base/file.h"
#include "base/text.h"
#include "runtime/keeper_link.h"
#include "tests/support/firecracker_bench.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum {
	MANY = 20,
};

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

static void add_drive(QemuBench *bench, const char *id, const char *path, bool read_only, bool root)
{
	VmDrive *drive = field_list_add(&bench->spec->drives, &vm_drive_table);

	drive->drive_id = text_dup(id);
	drive->path = text_dup(path);
	drive->read_only = read_only;
	drive->is_root = root;
}

Test(firecracker, a_started_guest_runs_and_what_was_chosen_is_told)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	qemu_bench_start(bench);

	qemu_bench_wait_console(bench, "tick 3");
	cr_assert_eq(qemu_bench_look(bench), VM_RUNNING);
	cr_assert_str_eq(bench->resolved.accelerator, "kvm");
	cr_assert_not_null(strchr(bench->resolved.vmm_version, '.'));
	cr_assert(qemu_bench_console_has(bench, bench->resolved.boot_args), "%s",
		  bench->resolved.boot_args);
	cr_assert_eq(bench->resolved.vcpus, 1);
	cr_assert_eq(bench->resolved.memory_mib, 16);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, 0), 0);
	cr_assert_eq(kill((pid_t)bench->resolved.keeper_pid, 0), 0);
	cr_assert_gt(bench->resolved.start_time, 0);
}

Test(firecracker, a_paused_guest_is_silent_until_resumed)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
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
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new(boot_args);
	VmmExit exit;

	qemu_bench_start(bench);

	exit = qemu_bench_wait_exit(bench);

	cr_assert_eq(exit.reason, reason, "%s: %s", boot_args, exit_reason_name(exit.reason));
	cr_assert_eq(exit.code, 0);
	cr_assert_eq(exit.signal, 0);
	cr_assert_not_null(strstr(exit.console_tail, boot_args));
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
	cr_assert_not(firecracker_bench_socket_exists(bench));
	free(exit.console_tail);
}

Test(firecracker, how_a_guest_ended_is_read_from_its_console)
{
	check_end("exit=shutdown", EXIT_GUEST_EXITED); /* a reset, with no words of Linux's */
	check_end("exit=reboot", EXIT_GUEST_REBOOT);
	check_end("exit=panic", EXIT_GUEST_PANIC);
}

Test(firecracker, a_killed_firecracker_is_noticed_with_its_signal)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	VmmExit exit;

	qemu_bench_start(bench);
	cr_assert_eq(kill((pid_t)bench->resolved.vmm_pid, SIGKILL), 0);

	exit = qemu_bench_wait_exit(bench);

	cr_assert_eq(exit.reason, EXIT_VMM_SIGNAL);
	cr_assert_eq(exit.signal, SIGKILL);
	cr_assert_not(firecracker_bench_socket_exists(bench));
	free(exit.console_tail);
}

Test(firecracker, a_lost_keeper_takes_its_firecracker_along)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
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

Test(firecracker, pausing_what_has_ended_fails_and_poisons_nothing)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=shutdown");
	Error err = { 0 };

	qemu_bench_start(bench);
	free(qemu_bench_wait_exit(bench).console_tail);

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not(bench->job.poisoned);
}

Test(firecracker, as_many_drives_as_a_spec_may_have_boot)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	for (int i = 0; i < SPEC_DRIVES_MAX; i++) {
		cleanup_free char *id = text_printf("d-%d", i);
		cleanup_free char *path = text_printf("%s/%d.img", bench->dir, i);

		qemu_bench_write_script(path, "not much of a disk");
		add_drive(bench, id, path, i % 2, i == 0);
	}

	qemu_bench_start(bench);

	qemu_bench_wait_console(bench, "guest: root=/dev/vda rw exit=loop");
	cr_assert_str_eq(bench->resolved.boot_args, "root=/dev/vda rw exit=loop");
	qemu_bench_wait_console(bench, "tick 1");
}

static void check_failed_start(QemuBench *bench, const char *words)
{
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED, "%s", err.what);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
	/* What the API said is not said again from the log. */
	cr_assert_null(strstr(err.what, "Received Error"), "%s", err.what);
	cr_assert_not(bench->job.poisoned);
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
	cr_assert_not(firecracker_bench_socket_exists(bench));
}

Test(firecracker, a_kernel_that_is_none_fails_in_firecrackers_own_words)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	free(bench->spec->boot->kernel_path);
	bench->spec->boot->kernel_path = text_dup("/etc/passwd");

	check_failed_start(bench, "PUT /actions: 400: ");
}

Test(firecracker, a_drive_that_is_none_fails_in_firecrackers_own_words)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

	add_drive(bench, "data", "/nowhere", false, false);

	check_failed_start(bench, "PUT /drives/data: 400: ");
}

Test(firecracker, starts_cancelled_at_any_step_leave_nothing)
{
	static const char *const steps[] = { "prepare", "launch", "connect", "configure", "boot" };

	for (size_t i = 0; i < array_size(steps); i++) {
		cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");

		cancel_at = steps[i];

		check_failed_start(bench, "given up");
		cr_assert_not(qemu_bench_console_has(bench, "guest:"));
	}
}

Test(firecracker, a_cancelled_pause_leaves_the_guest_running)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	Error err = { 0 };

	qemu_bench_start(bench);
	cancel_at = "pause";

	cr_assert_eq(bench->backend->ops->pause(bench->backend, &bench->job, &err), -1);

	cr_assert_not(bench->job.poisoned, "%s", err.what);
	bench->job.cancel_fd = -1;
	cr_assert_eq(qemu_bench_look(bench), VM_RUNNING);
	qemu_bench_wait_console_grows(bench);
}

Test(firecracker, a_firecracker_that_was_never_told_to_boot_is_ended)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("exit=loop");
	cleanup_free char *firecracker = firecracker_bench_find();
	cleanup_free char *keeper = text_printf("%s/hearth-keeper", bench->bin);
	cleanup_free char *socket = text_printf("%s/firecracker.sock", bench->run_dir);
	char api[] = "--api-sock";
	char *argv[] = { firecracker, api, socket, NULL };
	const KeeperConfig config = {
		.keeper_path = keeper,
		.run_dir = bench->run_dir,
		.console_max_bytes = 8192,
		.vmm_argv = argv,
	};
	cleanup_close int vmm = -1;
	KeeperState state;
	Error err = { 0 };

	cr_assert_eq(keeper_start(&state, &config, &err), 0, "%s", err.what);
	cr_assert_eq(keeper_open_vmm(&vmm, &state), 0);
	while (access(socket, F_OK) < 0)
		clock_sleep_us(USEC_PER_MSEC);
	clock_sleep_us(QEMU_BENCH_SHORT); /* bound is not yet listening */

	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);

	cr_assert_eq(process_wait(vmm, 0), 0);
}

static void *start_and_stop(void *user)
{
	QemuBench *bench = user;
	const StopLadder ladder = { -1, -1, QEMU_BENCH_LONG };
	VmmExit exit = { 0 };
	Error err = { 0 };

	if (bench->backend->ops->start(bench->backend, &bench->job, &err) < 0)
		return text_dup(err.what);
	while (!qemu_bench_console_has(bench, "tick 1"))
		clock_sleep_us(20 * (int64_t)USEC_PER_MSEC);
	if (bench->backend->ops->stop(bench->backend, &bench->job, &ladder, &err) < 0)
		return text_dup(err.what);
	bench->backend->ops->read_exit(bench->backend, &bench->job, &exit);
	free(exit.console_tail);
	return exit.signal == SIGTERM ? NULL : text_printf("signal %d", exit.signal);
}

/* Of this process, with . and .., so that only a difference tells. */
static size_t count_descriptors(void)
{
	cleanup_closedir DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(dir))
		count++;
	return count;
}

/* Who has ended may still wait for its parent to notice. */
static bool has_ended(const QemuBench *bench, int (*open_one)(int *, const KeeperState *))
{
	cleanup_close int fd = -1;
	KeeperState state;

	cr_assert_eq(keeper_load(&state, bench->run_dir), 0);
	return open_one(&fd, &state) == -ESRCH || process_wait(fd, 0) == 0;
}

Test(firecracker, many_at_once_run_and_leave_nothing)
{
	QemuBench *benches[MANY];
	pthread_t threads[MANY];
	size_t descriptors;

	for (size_t i = 0; i < MANY; i++)
		benches[i] = firecracker_bench_new("exit=loop");
	descriptors = count_descriptors();
	for (size_t i = 0; i < MANY; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, start_and_stop, benches[i]), 0);

	for (size_t i = 0; i < MANY; i++) {
		void *problem;

		cr_assert_eq(pthread_join(threads[i], &problem), 0);
		cr_expect_null(problem, "%zu: %s", i, (const char *)problem);
		free(problem);
	}

	for (size_t i = 0; i < MANY; i++) {
		cr_expect(has_ended(benches[i], keeper_open));
		cr_expect(has_ended(benches[i], keeper_open_vmm));
		cr_expect_not(firecracker_bench_socket_exists(benches[i]));
	}
	cr_expect_eq(count_descriptors(), descriptors);
	for (size_t i = 0; i < MANY; i++)
		qemu_bench_free(benches[i]);
}
