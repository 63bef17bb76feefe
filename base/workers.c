/* SPDX-License-Identifier: Apache-2.0 */
#include "base/workers.h"

#include "base/clock.h"
#include "base/lock.h"

#include <assert.h>
#include <pthread.h>

struct Workers {
	const char *name;
	size_t kept, max_threads;

	Lock lock;
	Cond more;   /* work came, or the end did */
	Cond gone;   /* a thread ended */
	Work *first; /* under lock, as all below */
	Work **last;
	size_t waiting;
	size_t threads;
	size_t idle;
	bool ending;
};

/* Takes the next piece of work; NULL when this thread has nothing more to do. */
static Work *take(Workers *workers)
{
	int64_t patience = clock_mono_us() + (int64_t)WORKERS_IDLE_SEC * USEC_PER_SEC;
	bool in_time = true;
	Work *work;

	lock_take(&workers->lock);
	workers->idle++;
	while (!workers->first && !workers->ending &&
	       (in_time || workers->threads <= workers->kept))
		if (workers->threads <= workers->kept)
			cond_wait(&workers->more, &workers->lock);
		else
			in_time = cond_wait_until(&workers->more, &workers->lock, patience);
	workers->idle--;
	work = workers->first;
	if (work) {
		workers->first = work->next;
		workers->waiting--;
		if (!workers->first)
			workers->last = &workers->first;
	} else {
		workers->threads--;
		cond_broadcast(&workers->gone);
	}
	lock_drop(&workers->lock);
	return work;
}

static void *serve(void *arg)
{
	Workers *workers = arg;
	Work *work;

	(void)pthread_setname_np(pthread_self(), workers->name);
	while ((work = take(workers)))
		work->run(work);
	return NULL;
}

/* 0 or what is wrong. */
static int start_thread(Workers *workers)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int r;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, WORKERS_STACK);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attributes, serve, workers);
	(void)pthread_attr_destroy(&attributes);
	return r;
}

static void add_thread(Workers *workers)
{
	lock_take(&workers->lock);
	workers->threads++;
	lock_drop(&workers->lock);
}

/* One that could not be started. Work that came in the meantime relied on it. */
static void lose_thread(Workers *workers)
{
	lock_take(&workers->lock);
	workers->threads--;
	cond_signal(&workers->more);
	lock_drop(&workers->lock);
}

Workers *workers_new(const char *name, size_t kept, size_t max_threads)
{
	cleanup_(workers_freep) Workers *workers = new0(Workers);
	int r = 0;

	assert(kept > 0 && kept <= max_threads);
	workers->name = name;
	workers->kept = kept;
	workers->max_threads = max_threads;
	lock_init(&workers->lock);
	cond_init(&workers->more);
	cond_init(&workers->gone);
	workers->last = &workers->first;
	for (size_t i = 0; i < kept && r == 0; i++) {
		add_thread(workers);
		r = start_thread(workers);
	}
	if (r == 0)
		return take_ptr(workers);
	lose_thread(workers);
	errno = r;
	return NULL;
}

void workers_submit(Workers *workers, Work *work)
{
	bool wants_thread;

	work->next = NULL;
	lock_take(&workers->lock);
	*workers->last = work;
	workers->last = &work->next;
	workers->waiting++;
	wants_thread = workers->waiting > workers->idle && workers->threads < workers->max_threads;
	if (wants_thread)
		workers->threads++;
	else
		cond_signal(&workers->more);
	lock_drop(&workers->lock);

	/* There is no room for more threads: those that are kept see to it, later. */
	if (wants_thread && start_thread(workers) != 0)
		lose_thread(workers);
}

size_t workers_waiting(Workers *workers)
{
	size_t waiting;

	lock_take(&workers->lock);
	waiting = workers->waiting;
	lock_drop(&workers->lock);
	return waiting;
}

void workers_free(Workers *workers)
{
	if (!workers)
		return;
	lock_take(&workers->lock);
	workers->ending = true;
	cond_broadcast(&workers->more);
	while (workers->threads)
		cond_wait(&workers->gone, &workers->lock);
	lock_drop(&workers->lock);
	cond_destroy(&workers->more);
	cond_destroy(&workers->gone);
	free(workers);
}
