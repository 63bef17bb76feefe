/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What Firecracker can do on this host, found out by running it: a guest of a
 * few instructions writes a word to its serial port and resets. /dev/kvm
 * opening proves nothing where the host is itself a guest. Nothing is written to
 * disk. Safe from any thread.
 */

#include "runtime/backend.h"

/* Which Firecracker, and does it run guests: a ProbeFn that reads keeper_path and firecracker_path.
 */
int firecracker_probe(BackendInfo *ret, const BackendConfig *config, int cancel_fd) must_check;
