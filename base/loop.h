/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One thread that waits for descriptors and moments on behalf of many.
 *
 * Callbacks run on the loop's thread and must not block. A source may be
 * removed from any thread, also from its own callback; the callback may still
 * be running, or about to, when loop_remove() returns, so it must cope with
 * coming too late. What it points to is released through @release, when no
 * callback can come any more.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Loop Loop;
typedef struct LoopSource LoopSource;
typedef void LoopFn(void *user);

/* Starts the thread; NULL with errno set. */
Loop *loop_new(void);

/**
 * loop_add() - call @ready once @fd is readable, then never again
 * @fd:		the loop's from now on
 * @release:	called once with @user when the source is gone; may be NULL
 *
 * Return: the source, valid until it is removed; NULL with errno set, @fd and @user then still the
 * caller's.
 */
LoopSource *loop_add(Loop *loop, int fd, LoopFn *ready, LoopFn *release, void *user);

/* The same at wall time @when (usec since the epoch), following steps of the clock. */
LoopSource *loop_at(Loop *loop, int64_t when, LoopFn *ready, LoopFn *release, void *user);

/* The same @delay usec from now, whatever happens to the clock. */
LoopSource *loop_after(Loop *loop, int64_t delay, LoopFn *ready, LoopFn *release, void *user);

void loop_remove(Loop *loop, LoopSource *source); /* NULL is fine */

/* Ends the thread: no callback runs any more, though sources may still come and go. */
void loop_stop(Loop *loop);

/* The same, and releases all sources. */
void loop_free(Loop *loop);
DEFINE_CLEANUP(Loop *, loop_free);
