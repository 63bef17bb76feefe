/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/counters.h"

enum {
	NSEC_PER_USEC = 1000,
	PER_DOUBLING = 4
};

static size_t bucket_of(uint64_t ns)
{
	uint64_t usec = ns / NSEC_PER_USEC;
	unsigned power;
	size_t bucket;

	if (usec < 1)
		return 0;
	power = 63U - (unsigned)__builtin_clzll(usec);
	/* Quarters from nanoseconds, as the first few microseconds have no quarters in whole ones.
	 */
	bucket = (size_t)PER_DOUBLING * power +
		 (size_t)((ns - ((uint64_t)NSEC_PER_USEC << power)) * PER_DOUBLING /
			  ((uint64_t)NSEC_PER_USEC << power));
	return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

void counters_add_latency(Counters *counters, uint64_t ns)
{
	counter_add(&counters->latency[bucket_of(ns)], 1);
	counter_add(&counters->latency_sum_ns, ns);
	if (ns > counter_get(&counters->latency_max_ns))
		atomic_store_explicit(&counters->latency_max_ns, ns, memory_order_relaxed);
}

uint64_t counters_bucket_ns(size_t bucket)
{
	uint64_t base = (uint64_t)NSEC_PER_USEC << bucket / PER_DOUBLING;

	return bucket ? base + base * (bucket % PER_DOUBLING) / PER_DOUBLING : 0;
}

uint64_t counters_quantile_ns(const Counters *counters, unsigned permille)
{
	uint64_t total = 0, seen = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		total += counter_get(&counters->latency[i]);
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += counter_get(&counters->latency[i]);
		if (seen && seen * 1000 >= total * permille)
			return counters_bucket_ns(i);
	}
	return 0;
}
