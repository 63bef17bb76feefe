/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What QEMU can do on this host, found out by running it.
 *
 * /dev/kvm opening proves nothing where the host is itself a guest: an
 * accelerator counts when a program ran under it. The proof is a firmware
 * image of a few instructions that ends QEMU with a number of our choice.
 * Nothing is written to disk. Safe from any thread.
 */

#include "runtime/backend.h"

/*
 * Which QEMU, and the accelerator to use: a ProbeFn that reads keeper_path, qemu_path and
 * accelerator. Takes up to half a minute on a host where accelerators hang. With "auto" and no KVM,
 * @ret is available, and its message tells why not KVM.
 */
int qemu_probe(BackendInfo *ret, const BackendConfig *config, int cancel_fd) must_check;

/* "7.2.22" from what --version says; false if it is not QEMU's. */
bool qemu_version(char *ret, size_t size, const char *output);

/* The rate of this host's TSC in kHz, measured once; 0 if it has none. */
uint64_t qemu_tsc_khz(void);
