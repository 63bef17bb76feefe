/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What Firecracker can do on this host, found out by running it: a guest of a
 * few instructions writes a word to its serial port and resets. /dev/kvm
 * opening proves nothing where the host is itself a guest. Safe from any thread.
 */

#include "runtime/backend.h"

/**
 * firecracker_probe() - which Firecracker, and does it run guests
 * @ret:	available, message, version and accelerator are filled in
 * @config:	firecracker_path, and state_dir for the guest
 */
void firecracker_probe(BackendInfo *ret, const BackendConfig *config);
