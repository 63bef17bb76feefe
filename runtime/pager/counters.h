/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a pager counts, in memory that others read while it counts
 * (state.h). Its fault thread alone writes; every value is whole at any time,
 * but not all of the same moment.
 *
 * The histogram is of the time from a fault's being read to its being served,
 * parked times included: four buckets for each power of two from 1 usec.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* X(name): what it is. In pages, where not said otherwise. */
/* clang-format off */
#define PAGER_COUNTERS(X)                                                          \
	X(faults)          /* messages read that tell of one */                     \
	X(pages_copied)    /* from the memory file, for faults, windows included */ \
	X(pages_zeroed)    /* holes and removed ones */                             \
	X(pages_installed) /* of the working set */                                 \
	X(pages_removed)   /* by the VMM, as a balloon does */                      \
	X(removes)         /* messages */                                           \
	X(found_present)   /* EEXIST */                                             \
	X(found_gone)      /* ENOENT */                                             \
	X(parked)          /* faults that had to wait (EAGAIN, ENOMEM) */           \
	X(rereads)         /* pages that could be read at the second try only */    \
	X(takeovers)       /* by fresh pagers */
/* clang-format on */

enum {
	HISTOGRAM_BUCKETS = 4 * 24 /* the last one: 14 seconds and more */
};

typedef struct Counters {
#define X(name) atomic_uint_fast64_t name;
	PAGER_COUNTERS(X)
#undef X
	atomic_uint_fast64_t latency_sum_ns;
	atomic_uint_fast64_t latency_max_ns;
	atomic_uint_fast64_t latency[HISTOGRAM_BUCKETS];
} Counters;

/* The only writer's: no need for more than a whole store. */
static inline void counter_add(atomic_uint_fast64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t counter_get(const atomic_uint_fast64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void counters_add_latency(Counters *counters, uint64_t ns);

/* The lower bound of what bucket @bucket counts. */
uint64_t counters_bucket_ns(size_t bucket);
/* The lower bound of the bucket that the @permille-th of a thousand latencies is in; 0: none. */
uint64_t counters_quantile_ns(const Counters *counters, unsigned permille);
