/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A thread that waits for descriptors by epoll, and can be woken by any other.
 */

#include <pthread.h>

typedef struct EpollThread {
	int epoll_fd;
	int wake_fd; /* in it, with no data */
	pthread_t thread;
} EpollThread;

/* Starts @serve: 0 or -errno. */
int epoll_thread_start(EpollThread *ret, void *(*serve)(void *arg), void *arg);

/* The thread's: events up to @most, -1: however long it takes; those of the wake itself are taken.
 * Return: how many. */
struct epoll_event;
int epoll_thread_wait(const EpollThread *thread, struct epoll_event *events, int most,
		      int timeout_ms);

void epoll_thread_wake(const EpollThread *thread);
/* Wakes it and waits for its end, which it must come to. */
void epoll_thread_join(EpollThread *thread);
/* Once it has been joined. */
void epoll_thread_close(EpollThread *thread);
