/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stream.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"

struct StreamPool {
	Lock lock;
	Cond work;  /* ready grew, or stopping */
	Cond quiet; /* ready is empty and nothing runs */
	STAILQ_HEAD(, StreamTask) ready;
	unsigned running;
	bool stopping;
	unsigned thread_count;
	pthread_t threads[];
};

/* Waits for a task and marks it running; NULL once the pool stops. */
static StreamTask *next(StreamPool *pool)
{
	StreamTask *task;

	lock_take(&pool->lock);
	while (STAILQ_EMPTY(&pool->ready) && !pool->stopping)
		cond_wait(&pool->work, &pool->lock);
	task = STAILQ_FIRST(&pool->ready);
	if (task) {
		STAILQ_REMOVE_HEAD(&pool->ready, link);
		task->state = TASK_RUNNING;
		pool->running++;
	}
	lock_drop(&pool->lock);
	return task;
}

static void settle(StreamPool *pool, StreamTask *task, bool last)
{
	lock_take(&pool->lock);
	if (last) {
		task->state = TASK_OVER;
	} else if (task->state == TASK_RUNNING_AGAIN) {
		task->state = TASK_READY;
		STAILQ_INSERT_TAIL(&pool->ready, task, link);
	} else {
		task->state = TASK_IDLE;
	}
	pool->running--;
	if (!pool->running && STAILQ_EMPTY(&pool->ready))
		cond_broadcast(&pool->quiet);
	lock_drop(&pool->lock);
}

static void *work(void *arg)
{
	StreamPool *pool = arg;
	StreamTask *task;

	(void)pthread_setname_np(pthread_self(), "stream");
	while ((task = next(pool))) {
		/* A task that is not over may be freed as soon as it is settled. */
		void (*over)(StreamTask *) = task->over;
		bool last = task->run(task);

		settle(pool, task, last);
		if (last)
			over(task);
	}
	return NULL;
}

StreamPool *stream_pool_new(unsigned threads)
{
	StreamPool *pool = must_calloc(1, sizeof *pool + threads * sizeof *pool->threads);

	lock_init(&pool->lock);
	cond_init(&pool->work);
	cond_init(&pool->quiet);
	STAILQ_INIT(&pool->ready);
	for (; pool->thread_count < threads; pool->thread_count++)
		if (pthread_create(&pool->threads[pool->thread_count], NULL, work, pool))
			abort();
	return pool;
}

void stream_pool_free(StreamPool *pool)
{
	if (!pool)
		return;
	lock_take(&pool->lock);
	pool->stopping = true;
	cond_broadcast(&pool->work);
	lock_drop(&pool->lock);

	for (unsigned i = 0; i < pool->thread_count; i++)
		(void)pthread_join(pool->threads[i], NULL);
	cond_destroy(&pool->work);
	cond_destroy(&pool->quiet);
	free(pool);
}

void stream_pool_wake(StreamPool *pool, StreamTask *task)
{
	lock_take(&pool->lock);
	if (task->state == TASK_IDLE) {
		task->state = TASK_READY;
		STAILQ_INSERT_TAIL(&pool->ready, task, link);
		(void)pthread_cond_signal(&pool->work.cond);
	} else if (task->state == TASK_RUNNING) {
		task->state = TASK_RUNNING_AGAIN;
	}
	lock_drop(&pool->lock);
}

void stream_pool_settle(StreamPool *pool, int64_t usec)
{
	int64_t deadline = clock_mono_us() + usec;

	lock_take(&pool->lock);
	while (pool->running || !STAILQ_EMPTY(&pool->ready))
		if (!cond_wait_until(&pool->quiet, &pool->lock, deadline))
			break;
	lock_drop(&pool->lock);
}
