/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"

#include "base/clock.h"
#include "base/epoll_thread.h"
#include "base/lock.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

enum {
	BATCH = 64
};

struct LoopSource {
	int fd;
	LoopFn *ready;
	LoopFn *release;
	void *user;
	bool removed;                /* under lock */
	LoopSource *next, *previous; /* under lock: of all, or of the removed */
};

struct Loop {
	EpollThread thread;

	Lock lock;
	LoopSource *all;     /* under lock, as all below */
	LoopSource *removed; /* freed by the thread, between batches */
	bool ending;
};

static void free_source(LoopSource *source)
{
	closep(&source->fd);
	if (source->release)
		source->release(source->user);
	free(source);
}

static void free_list(LoopSource *source)
{
	while (source) {
		LoopSource *next = source->next;

		free_source(source);
		source = next;
	}
}

static void serve_one(Loop *loop, LoopSource *source)
{
	bool removed;

	lock_take(&loop->lock);
	removed = source->removed;
	lock_drop(&loop->lock);
	if (!removed)
		source->ready(source->user);
}

/* Frees what was removed; false once the loop is to end. */
static bool tidy(Loop *loop)
{
	LoopSource *removed;
	bool ending;

	lock_take(&loop->lock);
	removed = take_ptr(loop->removed);
	ending = loop->ending;
	lock_drop(&loop->lock);
	free_list(removed);
	return !ending;
}

static void *serve(void *arg)
{
	Loop *loop = arg;

	(void)pthread_setname_np(pthread_self(), "loop");
	while (tidy(loop)) {
		struct epoll_event events[BATCH];
		int n = epoll_thread_wait(&loop->thread, events, BATCH, -1);

		for (int i = 0; i < n; i++)
			serve_one(loop, events[i].data.ptr);
	}
	return NULL;
}

Loop *loop_new(void)
{
	cleanup_free Loop *loop = new0(Loop);
	int r;

	lock_init(&loop->lock);
	r = epoll_thread_start(&loop->thread, serve, loop);
	if (r < 0) {
		errno = -r;
		return NULL;
	}
	return take_ptr(loop);
}

static void unlink_source(Loop *loop, LoopSource *source) lock_requires(loop->lock);

/* Takes it out of all. */
static void unlink_source(Loop *loop, LoopSource *source)
{
	if (source->next)
		source->next->previous = source->previous;
	if (source->previous)
		source->previous->next = source->next;
	else
		loop->all = source->next;
}

LoopSource *loop_add(Loop *loop, int fd, LoopFn *ready, LoopFn *release, void *user)
{
	LoopSource *source = new0(LoopSource);
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = source };

	*source = (LoopSource){ .fd = fd, .ready = ready, .release = release, .user = user };
	lock_take(&loop->lock);
	source->next = loop->all;
	if (source->next)
		source->next->previous = source;
	loop->all = source;
	lock_drop(&loop->lock);

	if (epoll_ctl(loop->thread.epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
		return source;

	lock_take(&loop->lock);
	unlink_source(loop, source);
	lock_drop(&loop->lock);
	free(source);
	return NULL;
}

static LoopSource *add_timer(Loop *loop, clockid_t clock, int64_t when, LoopFn *ready,
			     LoopFn *release, void *user)
{
	struct itimerspec spec = { 0 };
	cleanup_close int fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
	LoopSource *source;

	if (when < 1)
		when = 1; /* all zero would disarm it */
	spec.it_value.tv_sec = when / USEC_PER_SEC;
	spec.it_value.tv_nsec = when % USEC_PER_SEC * 1000;
	if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		return NULL;
	source = loop_add(loop, fd, ready, release, user);
	if (source)
		(void)take_fd(fd);
	return source;
}

LoopSource *loop_at(Loop *loop, int64_t when, LoopFn *ready, LoopFn *release, void *user)
{
	return add_timer(loop, CLOCK_REALTIME, when, ready, release, user);
}

LoopSource *loop_after(Loop *loop, int64_t delay, LoopFn *ready, LoopFn *release, void *user)
{
	return add_timer(loop, CLOCK_MONOTONIC, clock_mono_us() + delay, ready, release, user);
}

void loop_remove(Loop *loop, LoopSource *source)
{
	if (!source)
		return;
	/* Closing it would not do: epoll goes by the open file, which may have other descriptors.
	 */
	(void)epoll_ctl(loop->thread.epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	lock_take(&loop->lock);
	unlink_source(loop, source);
	source->removed = true;
	source->previous = NULL;
	source->next = loop->removed;
	loop->removed = source;
	lock_drop(&loop->lock);
	epoll_thread_wake(&loop->thread);
}

void loop_stop(Loop *loop)
{
	bool running;

	lock_take(&loop->lock);
	running = !loop->ending;
	loop->ending = true;
	lock_drop(&loop->lock);
	if (!running)
		return;
	epoll_thread_join(&loop->thread);
}

void loop_free(Loop *loop)
{
	if (!loop)
		return;
	loop_stop(loop);
	free_list(loop->removed);
	free_list(loop->all);
	epoll_thread_close(&loop->thread);
	free(loop);
}
