/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a VMM counts and uses: VmMetrics of the API, as a C structure. Safe from any thread. */

#include "runtime/spec.h"

#include <sys/types.h>

typedef enum MetricKind { /* the proto's numbers, and metrics.json's */
	METRIC_UNSET,
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_KIND_COUNT_,
} MetricKind;

typedef struct VmMetric {
	char *name;
	uint64_t value;
	MetricKind kind;
} VmMetric;

typedef struct VmUsage {
	uint64_t cpu_usec, cpu_throttled_usec;
	uint64_t memory_bytes, memory_peak_bytes;
	uint64_t pids;
} VmUsage;

/* As proto's BalloonStatistics. */
typedef struct VmBalloonStatistics {
	uint64_t target_mib, actual_mib;
	uint64_t swap_in_bytes, swap_out_bytes;
	uint64_t major_faults, minor_faults;
	uint64_t free_bytes, total_bytes, available_bytes, disk_caches_bytes;
	uint64_t hugetlb_allocations, hugetlb_failures;
	uint64_t oom_kills;
} VmBalloonStatistics;

typedef struct VmMetrics {
	char uid[64]; /* of the VM they are of */
	int64_t time; /* wall usec */
	uint64_t flushes;
	VmMetric *items;
	size_t count;
	VmUsage usage;
	bool has_balloon;
	VmBalloonStatistics balloon;
} VmMetrics;

void vmm_metrics_clear(VmMetrics *metrics);

/* Reads what the keeper has summed up in @run_dir, into a zeroed @ret: 0; -ENOENT: nothing yet;
 * -EINVAL. */
int vmm_metrics_load(VmMetrics *ret, const char *run_dir) must_check;

/* How often the VMM has told; 0: never. */
uint64_t vmm_metrics_flushes(const char *run_dir);

/* What process @pid uses; what cannot be read stays 0. */
void vmm_metrics_usage(VmUsage *ret, pid_t pid);
