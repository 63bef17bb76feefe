/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What guest.c and guest_exec.c share. */

#include "runtime/guest.h"

/* The guest that is meant: references to its VM and the link to it. */
typedef struct GuestWay {
	struct Vm *vm;
	GuestLink *link;
	uint32_t vmm_pid; /* of its run */
} GuestWay;

int guest_find(Runtime *runtime, const GuestQuestion *question, GuestWay *ret, Error *err)
	must_check;
void guest_way_clear(GuestWay *way);
json_t *guest_env_object(const GuestEnv *env);
