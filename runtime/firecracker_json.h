/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pieces of a spec in Firecracker's words, as its requests have them. Texts
 * only; safe from any thread.
 */

#include "runtime/spec.h"

#include <jansson.h>

/* Its ids have "_" where ours have "-", and ours have no "_". To free. */
char *firecracker_id(const char *id);

/* A RateLimiter; an unset bucket is left out: no limit where there was none before. */
json_t *firecracker_rate_limiter(const VmRateLimiter *limiter);

/* The same for a device that may have a limit already: an unset bucket takes it away, and @limiter
 * may be NULL. */
json_t *firecracker_rate_limiter_update(const VmRateLimiter *limiter);
