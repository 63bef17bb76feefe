/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The QEMU backend, the real QEMU and tests/guest, with one VM in a directory
 * of its own. Criterion suites only: what goes wrong here fails the test. The
 * suite defines job_step() and job_cancelled().
 */

#include "base/clock.h"
#include "runtime/backend.h"

enum {
	QEMU_BENCH_LONG = 120 * USEC_PER_SEC, /* never reached where the code is right */
	QEMU_BENCH_SHORT = 300 * USEC_PER_MSEC,
};

typedef struct QemuBench {
	char dir[64];
	char *run_dir, *bin, *guest;
	Backend *backend; /* TCG; may be exchanged */
	VmSpec *spec;     /* the guest, with the boot arguments asked for */
	VmResolved resolved;
	Job job;
	int cancel; /* an eventfd: writing cancels the job */
} QemuBench;

QemuBench *qemu_bench_new(const char *boot_args);
void qemu_bench_free(QemuBench *bench); /* with all that runs */
DEFINE_CLEANUP(QemuBench *, qemu_bench_free);

/* Another backend, on this @qemu. */
Backend *qemu_bench_backend(const QemuBench *bench, const char *qemu, const char *accelerator);
/* An executable file. */
void qemu_bench_write_script(const char *path, const char *text);

/* The backend's functions, which must succeed. */
void qemu_bench_start(QemuBench *bench);
VmState qemu_bench_look(QemuBench *bench);
void qemu_bench_stop(QemuBench *bench, int64_t power_button, int64_t terminate);
/* Waits until the VMM has ended; its console_tail is the caller's to free. */
VmmExit qemu_bench_wait_exit(QemuBench *bench);

bool qemu_bench_console_has(const QemuBench *bench, const char *text);
void qemu_bench_wait_console(const QemuBench *bench, const char *text);
size_t qemu_bench_console_size(const QemuBench *bench);
void qemu_bench_wait_console_grows(const QemuBench *bench);
bool qemu_bench_socket_exists(const QemuBench *bench);
/* The stop's rung @i was called @name and came out so. */
void qemu_bench_check_rung(const QemuBench *bench, size_t i, const char *name, RungOutcome outcome);
