/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What GuestService's requests have in common, and their numbers. */

#include "agent/request.h"
#include "runtime/guest.h"

#include <hearth/v1/guest.pb-c.h>

enum {
	GUEST_NAME_MAX = 64,                    /* of a variable, a secret, a program's run */
	GUEST_INPUT_MAX = 768 * 1024,           /* in one request */
	GUEST_BEGIN_TIMEOUT = 10 * 1000 * 1000, /* usec that a program may take to begin */
	GUEST_PROGRAM_MAX_SEC = 24 * 3600,      /* and that it may be given to run */
};

/* Fails @call, which names a VM, with @err about that. */
void guest_fail(Call *call, const Error *err);

/* Microseconds, 1 ms to @max seconds; @unset if there is none. */
int64_t guest_timeout(const char *field, const Google__Protobuf__Duration *timeout, int64_t max,
		      int64_t unset, Error *err);
void guest_duration(Google__Protobuf__Duration *to, int64_t usec);

/* Violations of @field: a name of [A-Za-z0-9._-]. */
void guest_check_name(const char *field, const char *name, Error *err);
/* Violations of "env"; how many bytes it has. */
size_t guest_check_env(const char *field, const GuestEnv *env, Error *err);
/* Violations of a program's fields, which are @prefix and their names. */
void guest_check_program(const char *prefix, const GuestProgram *program, Error *err);
