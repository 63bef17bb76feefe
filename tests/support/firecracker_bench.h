/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The Firecracker backend, the real Firecracker and tests/guest, on the bench
 * of the QEMU tests. Firecracker is in no package: a test that needs it is
 * skipped, and says so, where there is none or no KVM that runs guests.
 */

#include "tests/support/qemu_bench.h"

/* $FIRECRACKER_BIN, or "firecracker" if that is on PATH; NULL if there is none. To free. */
char *firecracker_bench_find(void);

/* A bench with one VM; skips the test if it cannot be. qemu_bench_free() frees it. */
QemuBench *firecracker_bench_new(const char *boot_args);

/* Another backend, on this @firecracker. */
Backend *firecracker_bench_backend(const QemuBench *bench, const char *firecracker);

/* Firecracker's API description, which is no part of this tree; skips the test if there is none. */
json_t *firecracker_bench_description(void);

bool firecracker_bench_socket_exists(const QemuBench *bench);
