/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Threads that may block, made as work comes and gone when it does not; but for
 * a few that are kept, so that work goes on where no more can be made.
 *
 * A Work belongs to whoever submits it and must live until its function runs.
 * Any thread may submit, also one of the workers. Stacks are small
 * (WORKERS_STACK): no large arrays on them, no recursion.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct Workers Workers;
typedef struct Work Work;

struct Work {
	void (*run)(Work *work);
	Work *next; /* the queue's */
};

enum {
	WORKERS_STACK = 256 * 1024,
	WORKERS_IDLE_SEC = 10
};

/**
 * workers_new() - the threads that are kept
 * @name:		of the threads, at most 15 characters; not copied, so a literal
 * @kept:		of them, at least 1
 * @max_threads:	at once
 *
 * Return: NULL with errno set where they cannot be started.
 */
Workers *workers_new(const char *name, size_t kept, size_t max_threads);

/* Queues @work; threads take it in order. Never blocks, never refuses. */
void workers_submit(Workers *workers, Work *work);

/* How much is queued and not yet taken by a thread. */
size_t workers_waiting(Workers *workers);

/* Runs what is queued, waits for what runs, ends the threads. */
void workers_free(Workers *workers);
DEFINE_CLEANUP(Workers *, workers_free);
