/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * QEMU's command line for a VM, and the guest kernel's. Texts only: nothing
 * here looks at the host; safe from any thread.
 */

#include "runtime/record.h"

enum {
	QEMU_VCPUS_MAX = 288, /* of microvm */
	/* 40 address bits, less the hole below 4 GiB for devices. */
	QEMU_MEMORY_MIB_MAX = 1024 * 1024 - 4096,
};

typedef struct QemuLaunch {
	const char *qemu_path;
	const char *vm_id;
	const VmSpec *spec;
	const char *accelerator;         /* "kvm" or "tcg" */
	const char *boot_args;           /* of qemu_boot_args() */
	const char *socket_path;         /* for QMP */
	const char *guest_path;          /* for the socket that leads to the guest's daemon */
	const VmResolvedInterface *taps; /* one for each of the spec's interfaces */
	bool restores;                   /* it waits for the state of another */
} QemuLaunch;

/**
 * qemu_boot_args() - the guest kernel's whole command line, to free
 * @tsc_khz:	the host's, for a guest under TCG, which cannot measure it; 0: not to be told
 *
 * Before the spec's arguments (default: a serial console, reboot on panic) comes what they do
 * not say themselves: where the root drive is, and the TSC's rate.
 */
char *qemu_boot_args(const VmSpec *spec, uint64_t tsc_khz);

/* The VMM's arguments, NULL-terminated, for a keeper (descriptors 3 and 4 as it passes them); for
 * words_free(). */
char **qemu_args(const QemuLaunch *launch);
