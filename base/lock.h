/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A mutex whose use clang checks (-Wthread-safety).
 *
 * Take and drop it in plain sight, in one function, a screenful apart at
 * most; the compiler proves every path drops it. There is deliberately no
 * scope guard: clang cannot see through one in C.
 *
 * Order: a registry's lock before a Vm's, a Vm's before any other; never two
 * Vms. Nothing that sleeps, logs, allocates from the network or calls back
 * runs under a lock.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define tsa_(x) __attribute__((x))
#else
#define tsa_(x)
#endif

#define lockable tsa_(capability("mutex"))
#define lock_requires(lock) tsa_(requires_capability(lock))

typedef struct lockable Lock {
	pthread_mutex_t mutex;
} Lock;

#define LOCK_INIT                         \
	{                                 \
		PTHREAD_MUTEX_INITIALIZER \
	}

void lock_take(Lock *lock) tsa_(acquire_capability(lock));
void lock_drop(Lock *lock) tsa_(release_capability(lock));

/* A condition on what a Lock guards; time-outs follow CLOCK_MONOTONIC. */
typedef struct Cond {
	pthread_cond_t cond;
} Cond;

void lock_init(Lock *lock);
void cond_init(Cond *cond);
void cond_destroy(Cond *cond);

/* Waits for a signal, the lock dropped meanwhile; may wake without one. */
void cond_wait(Cond *cond, Lock *lock) lock_requires(lock);

/* The same until @deadline (clock_mono_us() time); false once it has passed. */
bool cond_wait_until(Cond *cond, Lock *lock, int64_t deadline) lock_requires(lock);

void cond_signal(Cond *cond);
void cond_broadcast(Cond *cond);
