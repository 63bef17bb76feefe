/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a VM's pager counts (runtime/pager/counters.h), as metrics of the VM. Safe from any thread.
 */

#include "base/error.h"
#include "runtime/vmm_metrics.h"

/**
 * pager_metrics_add() - the counters of pager.state in @run_dir
 * @metrics:	gets them behind what it has: "pager.faults" and so on; of the time faults took to
 *be served "pager.latency_us.sum", ".max", and for each power of two "pager.latency_us.below.N",
 *how many took less than N
 *
 * Return: 0; -ENOENT: the VM has no pager; -EINVAL: the file is of something else.
 */
int pager_metrics_add(VmMetrics *metrics, const char *run_dir) must_check;

/* Is the working set there that the pager was to install, or can it not be? 1; 0: not yet, also
 * while the VMM has not handed its memory over; -errno. Whoever resumes the VM when it is has no
 * faults of these pages. */
int pager_metrics_installed(const char *run_dir) must_check;
