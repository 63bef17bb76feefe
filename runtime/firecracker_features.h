/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which Firecracker can do what: the one table of what hearth uses and the
 * version it came with. Firecracker refuses a request with a field it does not
 * know, so all is asked here, before anything is started. Safe from any thread.
 */

#include "base/error.h"
#include "runtime/spec.h"

typedef struct FirecrackerVersion {
	unsigned major, minor, patch;
} FirecrackerVersion;

/* "1.17.0" of "v1.17.0-dev" and of "Firecracker v1.17.0-dev\n..."; false if it is no version. A
 * version's forerunners count as it. */
bool firecracker_version_parse(FirecrackerVersion *ret, const char *text);

/* Which kernel image it is: only newer ones take a bzImage. False too if it cannot be read. */
bool firecracker_is_bzimage(const char *path);

/* Can it limit what the guest's serial port writes? Used where it is there, needed by nothing. */
bool firecracker_has_serial_limit(const FirecrackerVersion *version);

/**
 * firecracker_features_check() - has the VMM of @version all that @spec needs?
 * @spec:	NULL: only what every VM needs
 * @err:	UNSUPPORTED naming each field it lacks and the version that has it
 */
int firecracker_features_check(const FirecrackerVersion *version, const VmSpec *spec, Error *err)
	must_check;
