/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/calls.h"

#include "agent/call_private.h"

bool calls_admit(Calls *calls, bool urgent)
{
	unsigned before = atomic_fetch_add(&calls->in_flight, 1);

	if (before < calls->config->max_calls || urgent)
		return true;
	atomic_fetch_sub(&calls->in_flight, 1);
	return false;
}

void calls_leave(Calls *calls)
{
	atomic_fetch_sub(&calls->in_flight, 1);
}

bool calls_track(Calls *calls, Call *call)
{
	bool draining;

	lock_take(&calls->lock);
	draining = calls->draining;
	if (!draining && !call->tracked) {
		LIST_INSERT_HEAD(&calls->tracked, call, link);
		call->tracked = true;
	}
	lock_drop(&calls->lock);
	return !draining;
}

void calls_untrack(Calls *calls, Call *call)
{
	lock_take(&calls->lock);
	if (call->tracked) {
		LIST_REMOVE(call, link);
		call->tracked = false;
	}
	lock_drop(&calls->lock);
}

/* Takes one off the list, with a reference; NULL when there is none. */
static Call *take(Calls *calls)
{
	Call *call;

	lock_take(&calls->lock);
	calls->draining = true;
	call = LIST_FIRST(&calls->tracked);
	if (call) {
		LIST_REMOVE(call, link);
		call->tracked = false;
		(void)call_ref(call);
	}
	lock_drop(&calls->lock);
	return call;
}

void calls_drain(Calls *calls)
{
	Error err = { 0 };
	Call *call;

	(void)error_set(&err, ERROR_DRAINING, "hearthd is stopping");
	while ((call = take(calls))) {
		call_fail(call, &err);
		call_unref(call);
	}
}
