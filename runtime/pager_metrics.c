/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager_metrics.h"

#include "base/text.h"
#include "runtime/pager/state.h"

enum {
	PER_DOUBLING = 4,
	NSEC_PER_USEC = 1000
};

static int read_state(PagerState *ret, const char *run_dir)
{
	cleanup_free char *path = text_printf("%s/pager.state", run_dir);

	return state_read(ret, path);
}

static void add(VmMetrics *metrics, MetricKind kind, uint64_t value, const char *name)
{
	metrics->items = must_realloc(metrics->items, metrics->count + 1, sizeof *metrics->items);
	metrics->items[metrics->count++] = (VmMetric){ text_dup(name), value, kind };
}

static void add_latencies(VmMetrics *metrics, const Counters *counters)
{
	uint64_t below = 0;

	add(metrics, METRIC_COUNTER, counter_get(&counters->latency_sum_ns) / NSEC_PER_USEC,
	    "pager.latency_us.sum");
	add(metrics, METRIC_GAUGE, counter_get(&counters->latency_max_ns) / NSEC_PER_USEC,
	    "pager.latency_us.max");
	/* The last bucket has no upper bound. */
	for (size_t i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
		cleanup_free char *name = NULL;

		below += counter_get(&counters->latency[i]);
		if ((i + 1) % PER_DOUBLING != 0)
			continue;
		name = text_printf("pager.latency_us.below.%zu",
				   (size_t)1 << (i + 1) / PER_DOUBLING);
		add(metrics, METRIC_COUNTER, below, name);
	}
}

int pager_metrics_add(VmMetrics *metrics, const char *run_dir)
{
	PagerState state;
	int r = read_state(&state, run_dir);

	if (r < 0)
		return r;
#define X(name) add(metrics, METRIC_COUNTER, counter_get(&state.counters.name), "pager." #name);
	PAGER_COUNTERS(X)
#undef X
	add_latencies(metrics, &state.counters);
	return 0;
}

int pager_metrics_installed(const char *run_dir)
{
	PagerState state;
	int r = read_state(&state, run_dir);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return counter_get(&state.installed) ? 1 : 0;
}
