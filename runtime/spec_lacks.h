/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What of a spec a backend does not carry out: refused, rather than left out in silence. Safe from
 * any thread. */

#include "base/error.h"
#include "runtime/spec.h"

/* Which backends have what; see the table. */
enum {
	SPEC_HAS_DEVICES = 1,    /* all but limits: Firecracker's own */
	SPEC_HAS_LIMITS = 2,     /* a jail, or a launcher that has control groups */
	SPEC_HAS_INTERFACES = 4, /* network interfaces, without limits and MMDS */
};

/**
 * spec_lacks_check() - does @spec ask only for what the backend @name has?
 * @has:	of SPEC_HAS_*
 * @err:	UNSUPPORTED naming every field it lacks
 */
int spec_lacks_check(const VmSpec *spec, unsigned has, const char *name, Error *err) must_check;
