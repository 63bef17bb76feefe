/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

void lock_take(Lock *lock) tsa_(no_thread_safety_analysis)
{
	int r = pthread_mutex_lock(&lock->mutex);

	assert(r == 0);
	(void)r;
}

void lock_drop(Lock *lock) tsa_(no_thread_safety_analysis)
{
	int r = pthread_mutex_unlock(&lock->mutex);

	assert(r == 0);
	(void)r;
}

void lock_init(Lock *lock)
{
	*lock = (Lock)LOCK_INIT;
}

void cond_init(Cond *cond)
{
	pthread_condattr_t attributes;

	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&cond->cond, &attributes);
	(void)pthread_condattr_destroy(&attributes);
}

void cond_destroy(Cond *cond)
{
	(void)pthread_cond_destroy(&cond->cond);
}

void cond_wait(Cond *cond, Lock *lock)
{
	int r = pthread_cond_wait(&cond->cond, &lock->mutex);

	assert(r == 0);
	(void)r;
}

bool cond_wait_until(Cond *cond, Lock *lock, int64_t deadline)
{
	struct timespec until = {
		.tv_sec = deadline / 1000000,
		.tv_nsec = deadline % 1000000 * 1000,
	};

	return pthread_cond_timedwait(&cond->cond, &lock->mutex, &until) != ETIMEDOUT;
}

void cond_signal(Cond *cond)
{
	(void)pthread_cond_signal(&cond->cond);
}

void cond_broadcast(Cond *cond)
{
	(void)pthread_cond_broadcast(&cond->cond);
}
