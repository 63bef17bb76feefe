/* SPDX-License-Identifier: Apache-2.0 */
#include "base/histogram.h"

const int64_t histogram_bounds[HISTOGRAM_BOUNDS] = {
	100,   250,    500,    1000,   2500,    5000,    10000,    25000,
	50000, 100000, 250000, 500000, 1000000, 5000000, 20000000, 100000000,
};

void histogram_add(Histogram *histogram, int64_t usec)
{
	size_t i = 0;

	if (usec < 0)
		usec = 0;
	while (i < HISTOGRAM_BOUNDS && usec > histogram_bounds[i])
		i++;
	atomic_fetch_add_explicit(&histogram->counts[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&histogram->usec, (uint64_t)usec, memory_order_relaxed);
}
