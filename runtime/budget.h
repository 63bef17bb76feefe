/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What VMs may have of the node together, and what they have.
 *
 * A VM takes its place when it is created and gives it back when it is destroyed; its
 * part of what only VMs that run need, it takes when it is to run and gives back when
 * it does not, nor is about to be restarted (runtime/vm_room.c). What is there already
 * is counted whether it fits or not: an agent with smaller limits ends no VM. Safe
 * from any thread.
 */

#include "base/error.h"

typedef enum Resource {
	RESOURCE_VCPUS,      /* virtual CPUs */
	RESOURCE_MEMORY,     /* MiB, but for those of huge pages */
	RESOURCE_HUGE_PAGES, /* of 2 MiB */
	RESOURCE_DISK,       /* MiB of the state directory's file system */
	RESOURCE_VMS,
	RESOURCE_COUNT_,
} Resource;

/* So much of each. */
typedef struct Need {
	uint64_t of[RESOURCE_COUNT_];
} Need;

#define BUDGET_NO_LIMIT UINT64_MAX

/* As CAPACITY has it: the resource with its unit, such as "memory_mib". */
const char *resource_name(Resource resource);

void need_add(Need *need, const Need *more);

typedef struct Budget Budget;

Budget *budget_new(const Need *allocatable);
void budget_free(Budget *budget); /* accepts NULL */
DEFINE_CLEANUP(Budget *, budget_free);

/* There is so much of it from now on. */
void budget_set(Budget *budget, Resource resource, uint64_t most);

/* CAPACITY for all there is too little of, with what is asked for and what is left, now. */
int budget_check(Budget *budget, const Need *need, Error *err) must_check;
/* The same, and @need is taken. */
int budget_take(Budget *budget, const Need *need, Error *err) must_check;
/* Is taken in any case. */
void budget_force(Budget *budget, const Need *need);
void budget_give(Budget *budget, const Need *need);

/* What there is, and what of it is taken. */
void budget_read(Budget *budget, Need *allocatable, Need *taken);
