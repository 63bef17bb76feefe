/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Numbers leased to VMs, such as users: each is one VM's at a time.
 *
 * The lease itself is in the VM's record, and so as durable as the VM; a pool
 * only knows which are out. A number that comes back rests as long as it can
 * before it is given again. Safe from any thread.
 */

#include "base/cleanup.h"

#include <stdint.h>

typedef struct LeasePool LeasePool;

/* The numbers @first to @first + @count - 1. */
LeasePool *lease_pool_new(uint32_t first, uint32_t count);
void lease_pool_free(LeasePool *pool); /* accepts NULL */
DEFINE_CLEANUP(LeasePool *, lease_pool_free);

/* The next free number: 0, or -ENOSPC. */
int lease_take(LeasePool *pool, uint32_t *ret) must_check;

/* One that a record says is leased: 0; -EEXIST: it is out already; -ERANGE: none of this pool's. */
int lease_claim(LeasePool *pool, uint32_t number) must_check;

/* Gives it back; one that is none of this pool's is passed over. */
void lease_return(LeasePool *pool, uint32_t number);
