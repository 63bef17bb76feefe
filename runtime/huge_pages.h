/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's pool of 2 MiB pages. A VMM maps without reserving them, and is killed by SIGBUS when
 * they run out: so they are counted before. Safe from any thread. */

#include "base/error.h"
#include "runtime/spec.h"

/**
 * huge_pages_check() - are there enough for @spec that are neither used nor reserved?
 * @dir:	of the pool in sysfs; NULL: the host's
 * @err:	CAPACITY of "huge_pages_2m"
 */
int huge_pages_check(const VmSpec *spec, const char *dir, Error *err) must_check;
