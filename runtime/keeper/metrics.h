/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a VMM counts, added up. Firecracker writes a line of JSON at each flush,
 * in which counters are what has come since the one before: only who reads
 * every line knows the sums, and agents come and go. So the keeper does, and
 * leaves them in the run directory's metrics.json.
 *
 * The VMM is not trusted: lines, names and their number are bounded.
 */

#include "base/cleanup.h"

#include <stdint.h>

typedef struct KeeperMetrics KeeperMetrics;

/* @run_dir must outlive it. */
KeeperMetrics *metrics_new(const char *run_dir);
void metrics_free(KeeperMetrics *metrics); /* accepts NULL */
DEFINE_CLEANUP(KeeperMetrics *, metrics_free);

/* The next bytes from the VMM; lines that end in them are added, and then metrics.json written. */
void metrics_feed(KeeperMetrics *metrics, const char *bytes, size_t length);

/* The present value of @name; 0 where there is none. */
uint64_t metrics_value(const KeeperMetrics *metrics, const char *name);
