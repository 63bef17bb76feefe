/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The stream threads: they run tasks from one ready list.
 *
 * A task is on the list at most once and runs on one thread at a time; waking
 * one that runs makes it run again. So a burst of wake-ups costs one run, and
 * thousands of idle streams cost no thread.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

typedef struct StreamPool StreamPool;
typedef struct StreamTask StreamTask;

typedef enum StreamTaskState {
	TASK_IDLE,
	TASK_READY,
	TASK_RUNNING,
	TASK_RUNNING_AGAIN, /* woken while running */
	TASK_OVER,
} StreamTaskState;

/* Embedded in its owner; its members are the pool's, except run and over. */
struct StreamTask {
	STAILQ_ENTRY(StreamTask) link;
	bool (*run)(StreamTask *task);  /* true: that was the last run */
	void (*over)(StreamTask *task); /* after the last run: the task may be freed */
	StreamTaskState state;
};

StreamPool *stream_pool_new(unsigned threads);
/* Every task must be over. */
void stream_pool_free(StreamPool *pool);

/* Any thread; nothing happens to a task that is over. */
void stream_pool_wake(StreamPool *pool, StreamTask *task);

/* Waits until no task is ready or running, at most @usec. */
void stream_pool_settle(StreamPool *pool, int64_t usec);
