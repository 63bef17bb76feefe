/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/epoll_thread.h"
#include "base/lock.h"
#include "runtime/guest_private.h"

#include <sys/epoll.h>

enum {
	BATCH = 64,
	TICK_MS = 50, /* while any link is listed */
};

static const char gone[] = "the agent ends";

struct GuestHub {
	EpollThread thread;
	GuestLink *links; /* the thread's */
	Lock lock;
	GuestTask *first, *last; /* under lock */
	bool ending;             /* under lock */
};

static void do_nothing(GuestTask *task)
{
	(void)task;
}

static void run_task(GuestTask *task)
{
	task->run(task);
	json_decref(task->members);
	guest_link_unref(task->link);
	free(task);
}

void guest_hub_run(GuestHub *hub, const GuestTask *task)
{
	GuestTask *copy = new0(GuestTask);
	bool ending;

	*copy = *task;
	(void)guest_link_ref(copy->link);
	lock_take(&hub->lock);
	ending = hub->ending;
	if (!ending && hub->last)
		hub->last->next = copy;
	else if (!ending)
		hub->first = copy;
	if (!ending)
		hub->last = copy;
	lock_drop(&hub->lock);
	if (!ending) {
		epoll_thread_wake(&hub->thread);
		return;
	}
	/* Links are the thread's, which may not have ended yet. */
	if (copy->call)
		guest_call_fail(copy->call, CAUSE_HOST, gone);
	if (copy->watch)
		copy->watch->released(copy->watch);
	copy->run = do_nothing;
	run_task(copy);
}

/* What is to be done; false once the hub is to end, and then nothing more comes. */
static bool run_tasks(GuestHub *hub)
{
	GuestTask *task;
	bool ending;

	lock_take(&hub->lock);
	task = take_ptr(hub->first);
	hub->last = NULL;
	ending = hub->ending;
	lock_drop(&hub->lock);
	while (task) {
		GuestTask *next = task->next;

		run_task(task);
		task = next;
	}
	return !ending;
}

static void tick(GuestHub *hub)
{
	int64_t now = clock_mono_us();

	for (GuestLink *link = hub->links, *next; link; link = next) {
		next = link->next;
		guest_link_tick(link, now);
	}
}

static void *serve(void *arg)
{
	GuestHub *hub = arg;
	struct epoll_event events[BATCH];
	int64_t ticked = 0;

	(void)pthread_setname_np(pthread_self(), "guests");
	while (run_tasks(hub)) {
		int n = epoll_thread_wait(&hub->thread, events, BATCH, hub->links ? TICK_MS : -1);

		for (int i = 0; i < n; i++)
			guest_link_ready(events[i].data.ptr, events[i].events);
		if (clock_mono_us() - ticked >= TICK_MS * (int64_t)USEC_PER_MSEC) {
			tick(hub);
			ticked = clock_mono_us();
		}
	}
	while (hub->links) {
		guest_watch_drop(hub->links);
		guest_link_break(hub->links, CAUSE_HOST, gone);
	}
	return NULL;
}

GuestHub *guest_hub_new(void)
{
	cleanup_free GuestHub *hub = new0(GuestHub);
	int r;

	lock_init(&hub->lock);
	r = epoll_thread_start(&hub->thread, serve, hub);
	if (r < 0) {
		errno = -r;
		return NULL;
	}
	return take_ptr(hub);
}

void guest_hub_stop(GuestHub *hub)
{
	bool stopped;

	lock_take(&hub->lock);
	stopped = hub->ending;
	hub->ending = true;
	lock_drop(&hub->lock);
	if (stopped)
		return;
	epoll_thread_join(&hub->thread);
}

void guest_hub_free(GuestHub *hub)
{
	if (!hub)
		return;
	guest_hub_stop(hub);
	epoll_thread_close(&hub->thread);
	free(hub);
}

void guest_hub_list(GuestHub *hub, GuestLink *link)
{
	if (link->listed)
		return;
	link->listed = true;
	(void)guest_link_ref(link);
	link->previous = NULL;
	link->next = hub->links;
	if (link->next)
		link->next->previous = link;
	hub->links = link;
}

void guest_hub_unlist(GuestHub *hub, GuestLink *link)
{
	if (!link->listed)
		return;
	link->listed = false;
	if (link->next)
		link->next->previous = link->previous;
	if (link->previous)
		link->previous->next = link->next;
	else
		hub->links = link->next;
	link->next = link->previous = NULL;
	guest_link_unref(link);
}

int guest_hub_watch(GuestHub *hub, GuestLink *link, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = link };
	int how = link->waits_for ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (events == link->waits_for)
		return 0;
	if (epoll_ctl(hub->thread.epoll_fd, how, link->fd, &event) < 0)
		return -errno;
	link->waits_for = events;
	return 0;
}
