/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The host's pool of 2 MiB pages, and the memory beside it. A VMM maps without reserving them, and
 * is killed by SIGBUS when they run out: so they are counted before. Safe from any thread. */

#include "base/error.h"
#include "runtime/spec.h"

/* How many there are, used or not; @dir as below. */
uint64_t huge_pages_count(const char *dir);

/* MiB of the host's memory that are no huge pages of any size; 0 if it does not say. @path: as
 * /proc/meminfo; NULL: that. */
uint64_t huge_pages_other_memory(const char *path);

/**
 * huge_pages_check() - are there enough for @spec that are neither used nor reserved?
 * @dir:	of the pool in sysfs; NULL: the host's
 * @err:	CAPACITY of "huge_pages_2m"
 */
int huge_pages_check(const VmSpec *spec, const char *dir, Error *err) must_check;
