/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/process.h"

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/file.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
	STATM_MAX = 4096,
};

static void write_one(MetricsText *text, const char *name, const char *help, uint64_t value)
{
	metrics_head(text, name, "gauge", help);
	metrics_number(text, name, METRICS_NO_LABELS, value);
}

/* Of /proc/self/statm: all pages, then those that are resident. */
static void write_memory(MetricsText *text)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), all, resident;
	cleanup_free char *statm = NULL;
	char *rest;

	if (file_read(&statm, NULL, "/proc/self/statm", STATM_MAX) < 0)
		return;
	all = strtoull(statm, &rest, 10);
	resident = strtoull(rest, NULL, 10);
	write_one(text, "process_virtual_memory_bytes", "Virtual memory.", all * page);
	write_one(text, "process_resident_memory_bytes", "Resident memory.", resident * page);
}

void metrics_process(MetricsText *text)
{
	struct timespec used;
	size_t open, limit;

	metrics_head(text, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0)
		metrics_seconds(text, "process_cpu_seconds_total", METRICS_NO_LABELS,
				used.tv_sec * USEC_PER_SEC + used.tv_nsec / 1000);
	write_memory(text);
	descriptors_count(&open, &limit);
	write_one(text, "process_open_fds", "Open descriptors.", open);
	write_one(text, "process_max_fds", "How many there may be.", limit);
}
