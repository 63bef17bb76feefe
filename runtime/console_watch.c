/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lock.h"
#include "base/text.h"
#include "runtime/console.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <uthash.h>
#include <utlist.h>

/*
 * Only the watch's thread adds and removes inotify watches. The kernel merges
 * watches of one directory into one descriptor, so that with several threads
 * doing it the removal for the last follower could take away what a new one
 * just added. console_follow() queues its follower and waits for the thread;
 * console_unfollow() leaves an empty directory for the thread to remove.
 */

enum {
	STACK_SIZE = 256 * 1024, /* @changed runs on it */
	EVENTS_SIZE = 16 * 1024
};

static const uint32_t watched_events =
	IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

typedef struct WatchDir {
	int wd;
	ConsoleFollow *followers;
	bool gone; /* the kernel has dropped the watch */
	UT_hash_handle hh;
} WatchDir;

struct ConsoleFollow {
	char *run_dir;
	ConsoleSource source;
	void (*changed)(void *);
	void *user;
	/* Under lock: */
	WatchDir *dir;                        /* NULL until added */
	int error;                            /* why it could not be added */
	bool added;                           /* or failed: console_follow() may return */
	bool called;                          /* in the queue of those to call */
	ConsoleFollow *prev, *next;           /* in dir->followers or watch->adding */
	ConsoleFollow *call_prev, *call_next; /* in watch->calls */
};

struct ConsoleWatch {
	pthread_t thread;
	int inotify;
	int wake; /* eventfd: look at adding, dirs without followers, and stopping */
	Lock lock;
	Cond changed;
	/* Under lock: */
	WatchDir *dirs; /* by wd */
	ConsoleFollow *adding;
	ConsoleFollow *calls;
	ConsoleFollow *calling; /* the one @changed is running for */
	bool stopping;
};

/* NOLINTBEGIN(readability-function-*): the macros' insides */
static WatchDir *dirs_find(ConsoleWatch *watch, int wd) lock_requires(watch->lock)
{
	WatchDir *dir;

	HASH_FIND_INT(watch->dirs, &wd, dir);
	return dir;
}

static void dirs_add(ConsoleWatch *watch, WatchDir *dir) lock_requires(watch->lock)
{
	HASH_ADD_INT(watch->dirs, wd, dir);
}

static void dirs_remove(ConsoleWatch *watch, WatchDir *dir) lock_requires(watch->lock)
{
	HASH_DEL(watch->dirs, dir);
}

static void list_add(ConsoleFollow **list, ConsoleFollow *follow)
{
	DL_APPEND(*list, follow);
}

static void list_remove(ConsoleFollow **list, ConsoleFollow *follow)
{
	DL_DELETE(*list, follow);
}

static void calls_add(ConsoleWatch *watch, ConsoleFollow *follow) lock_requires(watch->lock)
{
	if (!follow->called)
		DL_APPEND2(watch->calls, follow, call_prev, call_next);
	follow->called = true;
}

static void calls_remove(ConsoleWatch *watch, ConsoleFollow *follow) lock_requires(watch->lock)
{
	if (follow->called)
		DL_DELETE2(watch->calls, follow, call_prev, call_next);
	follow->called = false;
}
/* NOLINTEND(readability-function-*) */

static WatchDir *next_dir(const WatchDir *dir)
{
	return dir->hh.next;
}

static void wake_thread(ConsoleWatch *watch)
{
	(void)eventfd_write(watch->wake, 1);
}

/* Is what happened to the file called @name (of the directory itself: NULL) news of @source's? */
static bool is_about(const char *name, ConsoleSource source)
{
	const char *own = console_name(source);
	size_t length = strlen(own);

	return !name || (strncmp(name, own, length) == 0 && name[length] == '.');
}

static void queue_dir(ConsoleWatch *watch, const WatchDir *dir, const char *name)
	lock_requires(watch->lock)
{
	for (ConsoleFollow *follow = dir->followers; follow; follow = follow->next)
		if (is_about(name, follow->source))
			calls_add(watch, follow);
}

/* Calls those queued, each without the lock. */
static void run_calls(ConsoleWatch *watch)
{
	for (;;) {
		ConsoleFollow *follow;

		lock_take(&watch->lock);
		watch->calling = NULL;
		follow = watch->calls;
		if (follow) {
			calls_remove(watch, follow);
			watch->calling = follow;
		}
		cond_broadcast(&watch->changed);
		lock_drop(&watch->lock);
		if (!follow)
			return;
		follow->changed(follow->user);
	}
}

/* Adds one follower that waits; false when there is none. */
static bool add_one(ConsoleWatch *watch)
{
	ConsoleFollow *follow;
	WatchDir *dir = NULL;
	int wd, error;

	lock_take(&watch->lock);
	follow = watch->adding;
	if (follow)
		list_remove(&watch->adding, follow);
	lock_drop(&watch->lock);
	if (!follow)
		return false;

	wd = inotify_add_watch(watch->inotify, follow->run_dir, watched_events);
	error = wd < 0 ? errno : 0;

	lock_take(&watch->lock);
	if (wd >= 0)
		dir = dirs_find(watch, wd);
	if (wd >= 0 && !dir) {
		dir = new0(WatchDir);
		dir->wd = wd;
		dirs_add(watch, dir);
	}
	if (dir)
		list_add(&dir->followers, follow);
	follow->dir = dir;
	follow->error = error;
	follow->added = true;
	cond_broadcast(&watch->changed);
	lock_drop(&watch->lock);
	return true;
}

/* Removes one directory nobody follows any more; false when there is none. */
static bool remove_one(ConsoleWatch *watch)
{
	WatchDir *unused;

	lock_take(&watch->lock);
	unused = watch->dirs;
	while (unused && unused->followers)
		unused = next_dir(unused);
	if (unused)
		dirs_remove(watch, unused);
	lock_drop(&watch->lock);
	if (!unused)
		return false;
	if (!unused->gone)
		(void)inotify_rm_watch(watch->inotify, unused->wd);
	free(unused);
	return true;
}

static void take_event(ConsoleWatch *watch, const struct inotify_event *event)
{
	const char *name = event->len ? event->name : NULL;
	WatchDir *dir;

	lock_take(&watch->lock);
	if (event->mask & IN_Q_OVERFLOW) {
		for (dir = watch->dirs; dir; dir = next_dir(dir))
			queue_dir(watch, dir, NULL);
	} else {
		dir = dirs_find(watch, event->wd);
		if (dir) {
			dir->gone = dir->gone || event->mask & IN_IGNORED;
			queue_dir(watch, dir, name);
		}
	}
	lock_drop(&watch->lock);
}

static void take_events(ConsoleWatch *watch)
{
	_Alignas(struct inotify_event) char buffer[EVENTS_SIZE];
	ssize_t n = read(watch->inotify, buffer, sizeof buffer);

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		take_event(watch, event);
		at += (ssize_t)(sizeof *event + event->len);
	}
}

static bool is_stopping(ConsoleWatch *watch)
{
	bool stopping;

	lock_take(&watch->lock);
	stopping = watch->stopping;
	lock_drop(&watch->lock);
	return stopping;
}

static void *watch_run(void *arg)
{
	ConsoleWatch *watch = arg;
	eventfd_t count;

	while (!is_stopping(watch)) {
		struct pollfd polled[] = {
			{ .fd = watch->wake, .events = POLLIN },
			{ .fd = watch->inotify, .events = POLLIN },
		};

		(void)poll(polled, array_size(polled), -1);
		if (polled[0].revents)
			(void)eventfd_read(watch->wake, &count);
		while (add_one(watch) || remove_one(watch))
			;
		if (polled[1].revents)
			take_events(watch);
		run_calls(watch);
	}
	return NULL;
}

static int start_thread(ConsoleWatch *watch)
{
	pthread_attr_t attributes;
	int r;

	(void)pthread_attr_init(&attributes);
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	r = pthread_create(&watch->thread, &attributes, watch_run, watch);
	(void)pthread_attr_destroy(&attributes);
	return -r;
}

static void watch_release(ConsoleWatch *watch)
{
	closep(&watch->inotify);
	closep(&watch->wake);
	cond_destroy(&watch->changed);
	free(watch);
}
DEFINE_CLEANUP(ConsoleWatch *, watch_release);

ConsoleWatch *console_watch_new(void)
{
	cleanup_(watch_releasep) ConsoleWatch *watch = new0(ConsoleWatch);
	int r;

	lock_init(&watch->lock);
	cond_init(&watch->changed);
	watch->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	watch->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (watch->inotify < 0 || watch->wake < 0)
		return NULL;
	r = start_thread(watch);
	if (r < 0) {
		errno = -r;
		return NULL;
	}
	return take_ptr(watch);
}

void console_watch_free(ConsoleWatch *watch)
{
	if (!watch)
		return;
	lock_take(&watch->lock);
	watch->stopping = true;
	lock_drop(&watch->lock);
	wake_thread(watch);
	(void)pthread_join(watch->thread, NULL);
	while (remove_one(watch))
		;
	assert(!watch->dirs); /* all have left */
	watch_release(watch);
}

static void follow_free(ConsoleFollow *follow)
{
	free(follow->run_dir);
	free(follow);
}

ConsoleFollow *console_follow(ConsoleWatch *watch, const char *run_dir, ConsoleSource source,
			      void (*changed)(void *), void *user)
{
	ConsoleFollow *follow = new0(ConsoleFollow);
	int error;

	follow->run_dir = text_dup(run_dir);
	follow->source = source;
	follow->changed = changed;
	follow->user = user;
	lock_take(&watch->lock);
	list_add(&watch->adding, follow);
	lock_drop(&watch->lock);
	wake_thread(watch);

	lock_take(&watch->lock);
	while (!follow->added)
		cond_wait(&watch->changed, &watch->lock);
	error = follow->error;
	lock_drop(&watch->lock);
	if (!error)
		return follow;
	follow_free(follow);
	errno = error;
	return NULL;
}

void console_unfollow(ConsoleWatch *watch, ConsoleFollow *follow)
{
	bool last;

	if (!follow)
		return;
	assert(!pthread_equal(pthread_self(), watch->thread)); /* it would wait for itself */
	lock_take(&watch->lock);
	list_remove(&follow->dir->followers, follow);
	last = !follow->dir->followers;
	calls_remove(watch, follow);
	while (watch->calling == follow)
		cond_wait(&watch->changed, &watch->lock);
	lock_drop(&watch->lock);
	if (last)
		wake_thread(watch);
	follow_free(follow);
}
