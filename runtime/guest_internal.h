/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What guest.c and guest_exec.c share. */

#include "runtime/guest.h"

/* The link to the guest that is meant, a reference; @run_dir: of its VM, to free; may be NULL. */
int guest_find(Runtime *runtime, const GuestQuestion *question, GuestLink **ret, char **run_dir,
	       Error *err) must_check;
json_t *guest_env_object(const GuestEnv *env);
