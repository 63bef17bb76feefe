/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/qemu_bench.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/console.h"
#include "runtime/keeper_link.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

enum {
	TICK = 20 * USEC_PER_MSEC,
	TAIL_MAX = 1024 * 1024,
	CONSOLE_MAX = 256 * 1024,
};

Backend *qemu_bench_backend(const QemuBench *bench, const char *qemu, const char *accelerator)
{
	cleanup_free char *keeper = text_printf("%s/hearth-keeper", bench->bin);
	const BackendConfig config = {
		.keeper_path = keeper,
		.qemu_path = qemu,
		.accelerator = accelerator,
		.console_max_bytes = CONSOLE_MAX,
	};

	return qemu_new(&config);
}

QemuBench *qemu_bench_new(const char *boot_args)
{
	QemuBench *bench = new0(QemuBench);
	const char *bin = getenv("HEARTH_BIN");

	cr_assert_not_null(bin, "HEARTH_BIN must name the directory of hearth-keeper");
	bench->bin = text_dup(bin);
	bench->guest = text_printf("%s/../guest/guest.elf", bin);
	(void)stpcpy(bench->dir, "/tmp/hearth-qemu-XXXXXX");
	cr_assert_not_null(mkdtemp(bench->dir));
	bench->run_dir = text_printf("%s/vm,1", bench->dir);
	cr_assert_eq(mkdir(bench->run_dir, 0700), 0);
	bench->backend = qemu_bench_backend(bench, "qemu-system-x86_64", "tcg");
	bench->spec = spec_new();
	bench->spec->machine = new0(VmMachine);
	bench->spec->machine->memory_mib = 16;
	bench->spec->boot = new0(VmBoot);
	bench->spec->boot->kernel_path = text_dup(bench->guest);
	bench->spec->boot->boot_args = text_dup(boot_args);
	bench->cancel = eventfd(0, EFD_CLOEXEC);
	bench->resolved.instance_id = new0_array(char, 17);
	text_random_hex(bench->resolved.instance_id, 8);
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

void qemu_bench_free(QemuBench *bench)
{
	cr_expect_eq(keeper_kill(bench->run_dir, QEMU_BENCH_LONG), 0);
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

void qemu_bench_start(QemuBench *bench)
{
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), 0, "%s",
		     err.what);
}

bool qemu_bench_console_has(const QemuBench *bench, const char *text)
{
	cleanup_free char *tail = console_tail(bench->run_dir, CONSOLE_SOURCE_SERIAL, TAIL_MAX);

	return tail && strstr(tail, text);
}

void qemu_bench_wait_console(const QemuBench *bench, const char *text)
{
	int64_t deadline = clock_mono_us() + QEMU_BENCH_LONG;

	while (!qemu_bench_console_has(bench, text)) {
		cr_assert_lt(clock_mono_us(), deadline, "'%s' never came", text);
		clock_sleep_us(TICK);
	}
}

size_t qemu_bench_console_size(const QemuBench *bench)
{
	cleanup_free char *tail = console_tail(bench->run_dir, CONSOLE_SOURCE_SERIAL, TAIL_MAX);

	return tail ? strlen(tail) : 0;
}

void qemu_bench_wait_console_grows(const QemuBench *bench)
{
	int64_t deadline = clock_mono_us() + QEMU_BENCH_LONG;
	size_t size = qemu_bench_console_size(bench);

	while (qemu_bench_console_size(bench) <= size) {
		cr_assert_lt(clock_mono_us(), deadline, "the guest is silent");
		clock_sleep_us(TICK);
	}
}

VmState qemu_bench_look(QemuBench *bench)
{
	VmState state = VM_STATE_UNSET;
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->look(bench->backend, &bench->job, &state, &err), 0, "%s",
		     err.what);
	return state;
}

void qemu_bench_stop(QemuBench *bench, int64_t power_button, int64_t terminate)
{
	const StopLadder ladder = { -1, power_button, terminate };
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->stop(bench->backend, &bench->job, &ladder, &err), 0, "%s",
		     err.what);
}

void qemu_bench_check_rung(const QemuBench *bench, size_t i, const char *name, RungOutcome outcome)
{
	const VmRung *rung = &((const VmRung *)bench->job.rungs.items)[i];

	cr_assert_gt(bench->job.rungs.count, i);
	cr_assert_str_eq(rung->name, name);
	cr_assert_eq(rung->outcome, outcome, "%s: %d: %s", name, rung->outcome, rung->message);
	cr_assert_geq(rung->end_time, rung->start_time);
	cr_assert(rung->outcome == RUNG_ENDED || rung->outcome == RUNG_TIMED_OUT || rung->message);
}

/* Waits until the VMM has ended and answers how. */
VmmExit qemu_bench_wait_exit(QemuBench *bench)
{
	cleanup_close int fd = -1;
	struct pollfd poll_for = { .events = POLLIN };
	VmmExit exit = { 0 };
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->exit_fd(bench->backend, &bench->job, &fd, &err), 0, "%s",
		     err.what);
	poll_for.fd = fd;
	cr_assert_eq(poll(&poll_for, 1, QEMU_BENCH_LONG / USEC_PER_MSEC), 1);
	bench->backend->ops->read_exit(bench->backend, &bench->job, &exit);
	return exit;
}

bool qemu_bench_socket_exists(const QemuBench *bench)
{
	cleanup_free char *path = text_printf("%s/qmp.sock", bench->run_dir);

	return access(path, F_OK) == 0;
}

void qemu_bench_write_script(const char *path, const char *text)
{
	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
	cr_assert_eq(chmod(path, 0700), 0);
}
