/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Many tasks, woken by many threads: no task runs on two threads at once, none
 * misses its last wake-up, and each is over exactly once.
 */

#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

enum {
	TASKS = 200,
	WAKERS = 4,
	WAKES = 20000, /* by each waker */
};

typedef struct Job {
	StreamTask task;
	atomic_uint asked; /* wake-ups so far */
	atomic_bool finish;
	atomic_uint overs;
	unsigned seen; /* of asked, by the last run; not atomic: runs must not overlap */
	unsigned runs;
} Job;

static Job jobs[TASKS];
static StreamPool *pool;

static bool run(StreamTask *task)
{
	Job *job = container_of(task, Job, task);

	job->runs++;
	job->seen = atomic_load(&job->asked);
	return atomic_load(&job->finish);
}

static void over(StreamTask *task)
{
	atomic_fetch_add(&container_of(task, Job, task)->overs, 1);
}

static void *wake(void *arg)
{
	unsigned number = *(const unsigned *)arg;

	for (unsigned i = 0; i < WAKES; i++) {
		Job *job = &jobs[(i * 7 + number) % TASKS];

		atomic_fetch_add(&job->asked, 1);
		stream_pool_wake(pool, &job->task);
	}
	return NULL;
}

static void finish_all(void)
{
	for (unsigned i = 0; i < TASKS; i++) {
		assert(jobs[i].seen == atomic_load(&jobs[i].asked));
		atomic_store(&jobs[i].finish, true);
		stream_pool_wake(pool, &jobs[i].task);
		stream_pool_wake(pool, &jobs[i].task);
	}
	stream_pool_settle(pool, 60 * (int64_t)USEC_PER_SEC);
	for (unsigned i = 0; i < TASKS; i++)
		stream_pool_wake(pool, &jobs[i].task); /* over: nothing happens */
}

int main(void)
{
	pthread_t threads[WAKERS];
	unsigned numbers[WAKERS];
	unsigned runs = 0;

	pool = stream_pool_new(2);
	for (unsigned i = 0; i < TASKS; i++)
		jobs[i].task = (StreamTask){ .run = run, .over = over };
	for (unsigned i = 0; i < WAKERS; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, wake, &numbers[i]))
			return 1;
	}
	for (unsigned i = 0; i < WAKERS; i++)
		(void)pthread_join(threads[i], NULL);
	stream_pool_settle(pool, 60 * (int64_t)USEC_PER_SEC);
	finish_all();
	stream_pool_free(pool);

	for (unsigned i = 0; i < TASKS; i++) {
		assert(atomic_load(&jobs[i].overs) == 1);
		runs += jobs[i].runs;
	}
	(void)printf("%u wake-ups, %u runs\n", WAKERS * WAKES, runs);
	return 0;
}
