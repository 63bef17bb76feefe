/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* How long things took, counted by whoever did them, from any thread and without a lock. */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HISTOGRAM_BOUNDS = 16,
};

/* usec, ascending: 100 us to 100 s. */
extern const int64_t histogram_bounds[HISTOGRAM_BOUNDS];

typedef struct Histogram {
	atomic_uint_fast64_t counts[HISTOGRAM_BOUNDS + 1]; /* by the first bound it is within; the
							      last: within none */
	atomic_uint_fast64_t usec;                         /* of all */
} Histogram;                                               /* zeroed is empty */

void histogram_add(Histogram *histogram, int64_t usec);
