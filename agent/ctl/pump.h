/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A completion queue that can be waited for together with descriptors.
 *
 * gRPC's queues have nothing that poll() takes. A thread of the pump's takes
 * from its queue what is done, marks the batch and wakes pump_poll(). It does
 * nothing else: the marks are all it shares with the pump's user, who is one
 * thread and learns of them without delay.
 */

#include "base/cleanup.h"

#include <grpc/grpc.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Operations of one call under way together; its address is their tag. */
typedef struct Batch {
	atomic_bool done;
} Batch;

typedef struct Pump Pump;

/* NULL with errno set. Signals are blocked in its thread as they are in the caller's. */
Pump *pump_new(void);
/* Every batch has to be done. */
void pump_free(Pump *pump);
DEFINE_CLEANUP(Pump *, pump_free);

/* For Batches only. */
grpc_completion_queue *pump_queue(Pump *pump);

/**
 * pump_poll() - wait until a batch is done or a descriptor is ready
 * @fds:	as for poll(), but the first is the pump's to fill
 * @count:	with that one
 *
 * A batch that was done since the last call ends the wait as well: look at batches after it.
 */
void pump_poll(Pump *pump, struct pollfd *fds, size_t count);

/* Waits until @batch is done. */
void pump_wait(Pump *pump, const Batch *batch);
