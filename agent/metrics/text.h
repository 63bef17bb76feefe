/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Prometheus' text format, version 0.0.4. A family's samples follow its head; labels are pairs of
 * name and value, ended by NULL.
 */

#include "base/histogram.h"

#include <stddef.h>
#include <stdint.h>

typedef struct MetricsText {
	char *bytes; /* not NUL-terminated; to free */
	size_t length, room;
} MetricsText;

/* @type: "counter", "gauge" or "histogram". */
void metrics_head(MetricsText *text, const char *name, const char *type, const char *help);

void metrics_number(MetricsText *text, const char *name, const char *const *labels, uint64_t value);
/* A time, in seconds. */
void metrics_seconds(MetricsText *text, const char *name, const char *const *labels, int64_t usec);
/* All samples of @histogram, in seconds; it may be added to meanwhile. */
void metrics_histogram(MetricsText *text, const char *name, const char *const *labels,
		       const Histogram *histogram);

#define METRICS_LABELS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define METRICS_NO_LABELS ((const char *const[]){ NULL })
