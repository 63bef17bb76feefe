/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/egress_watch.h"

#include "base/lock.h"

#include <assert.h>

struct EgressHub {
	Lock lock;
	uint64_t latest;                      /* under lock: events there have been */
	EgressEvent ring[EGRESS_EVENTS_KEPT]; /* under lock: number n in place n % KEPT */

	/* Held while watchers are woken, so that none is forgotten half-way. Innermost. */
	Lock watch_lock;
	EgressWatcher *watchers; /* under watch_lock */
};

EgressHub *egress_hub_new(void)
{
	EgressHub *hub = new0(EgressHub);

	lock_init(&hub->lock);
	lock_init(&hub->watch_lock);
	return hub;
}

void egress_hub_free(EgressHub *hub)
{
	if (!hub)
		return;
	assert(!hub->watchers);
	free(hub);
}

void egress_hub_publish(EgressHub *hub, const EgressEvent *event)
{
	lock_take(&hub->lock);
	hub->ring[++hub->latest % EGRESS_EVENTS_KEPT] = *event;
	lock_drop(&hub->lock);

	lock_take(&hub->watch_lock);
	for (EgressWatcher *watcher = hub->watchers; watcher; watcher = watcher->next)
		watcher->wake(watcher);
	lock_drop(&hub->watch_lock);
}

bool egress_hub_is_watched(EgressHub *hub)
{
	bool watched;

	lock_take(&hub->watch_lock);
	watched = hub->watchers;
	lock_drop(&hub->watch_lock);
	return watched;
}

uint64_t egress_hub_latest(EgressHub *hub)
{
	uint64_t latest;

	lock_take(&hub->lock);
	latest = hub->latest;
	lock_drop(&hub->lock);
	return latest;
}

size_t egress_hub_read(EgressHub *hub, uint64_t *at, EgressEvent *ret, size_t max, uint64_t *missed)
{
	size_t count = 0;

	*missed = 0;
	lock_take(&hub->lock);
	if (hub->latest - *at > EGRESS_EVENTS_KEPT) {
		*missed = hub->latest - *at - EGRESS_EVENTS_KEPT;
		*at += *missed;
	}
	while (count < max && *at < hub->latest)
		ret[count++] = hub->ring[++*at % EGRESS_EVENTS_KEPT];
	lock_drop(&hub->lock);
	return count;
}

void egress_watch(EgressHub *hub, EgressWatcher *watcher)
{
	lock_take(&hub->watch_lock);
	watcher->previous = NULL;
	watcher->next = hub->watchers;
	if (watcher->next)
		watcher->next->previous = watcher;
	hub->watchers = watcher;
	lock_drop(&hub->watch_lock);
}

void egress_unwatch(EgressHub *hub, EgressWatcher *watcher)
{
	lock_take(&hub->watch_lock);
	if (watcher->previous)
		watcher->previous->next = watcher->next;
	else
		hub->watchers = watcher->next;
	if (watcher->next)
		watcher->next->previous = watcher->previous;
	lock_drop(&hub->watch_lock);
}
