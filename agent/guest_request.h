/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What GuestService's requests have in common, and their numbers. */

#include "agent/request.h"
#include "runtime/guest.h"

#include <hearth/v1/guest.pb-c.h>

enum {
	GUEST_NAME_MAX = 64, /* of a variable, of a secret */
};

/* Microseconds, 1 ms to @max seconds; @unset if there is none. */
int64_t guest_timeout(const Google__Protobuf__Duration *timeout, int64_t max, int64_t unset,
		      Error *err);
void guest_duration(Google__Protobuf__Duration *to, int64_t usec);

/* Violations of "env"; how many bytes it has. */
size_t guest_check_env(const GuestEnv *env, Error *err);
