/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Token buckets as people write them: "10m/1s" is 10 MiB a second, "1000/1s+200"
 * a thousand operations a second and 200 more, once.
 */

#include "base/cleanup.h"
#include "hearth/v1/vm.pb-c.h"

typedef enum RateUnit {
	RATE_BYTES, /* k, m and g are powers of 1024 */
	RATE_OPERATIONS,
} RateUnit;

enum {
	RATE_TEXT_MAX = 80
};

/* "SIZE/DURATION[+BURST]" into @bucket: 0, or -EINVAL, -ERANGE. The agent judges how much is too
 * much. */
int rate_parse(Hearth__V1__TokenBucket *bucket, RateUnit unit, const char *text) must_check;

/* @bucket as rate_parse() reads it; returns @buffer. */
const char *rate_text(const Hearth__V1__TokenBucket *bucket, RateUnit unit,
		      char buffer[static RATE_TEXT_MAX]);
