/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What guest.c and guest_run.c share. */

#include "runtime/guest.h"

/* The link to the guest that is meant, a reference. */
int guest_find(Runtime *runtime, const GuestQuestion *question, GuestLink **ret, Error *err)
	must_check;
json_t *guest_env_object(const GuestEnv *env);
