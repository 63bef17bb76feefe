/* SPDX-License-Identifier: Apache-2.0 */

/*
 * WatchVms: changes in order of revision, as far as the client takes them.
 *
 * A watcher is a cursor: the revision up to which all has been said. Its pump
 * reads the registry's history from there, so that an idle watcher costs a few
 * hundred bytes and a slow one holds nothing but its queue. One that falls out
 * of the history is cut off with its cursor (WATCH_SLOW).
 */

#include "agent/filter.h"
#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/wire.h"
#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>

enum {
	MESSAGE_BYTES = 64 * 1024, /* of events in one message, about */
	BATCH = 64,                /* events in one message, at most */
};

typedef struct VmWatch {
	Watcher watcher;
	Call *call;
	Runtime *runtime;
	Registry *registry;
	VmFilter filter;
	bool watching;     /* watcher is the registry's */
	bool held;         /* the cursor has been in the history */
	bool send_initial; /* not all sent yet */
	VmList *initial;
	size_t initial_at;
	uint64_t cursor;
	int64_t interval;
	int64_t sent; /* when a message last was, monotonic */
	LoopSource *timer;
	int64_t due; /* of timer */
} VmWatch;

static void watch_wake(Watcher *watcher)
{
	call_wake(container_of(watcher, VmWatch, watcher)->call);
}

static void watch_free(VmWatch *watch)
{
	filter_clear(&watch->filter);
	if (watch->initial)
		vm_list_unref(watch->initial);
	free(watch);
}
DEFINE_CLEANUP(VmWatch *, watch_free);

static void watch_end(void *user)
{
	VmWatch *watch = user;

	if (watch->watching)
		registry_unwatch(watch->registry, &watch->watcher);
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	call_unref(watch->call);
	watch_free(watch);
}

static void watch_write(VmWatch *watch, Hearth__V1__WatchVmsResponse *response)
{
	response->store_id = message_text(store_id(runtime_store(watch->runtime)));
	watch->sent = clock_mono_us();
	call_write(watch->call, &response->base);
}

static void fail_slow(VmWatch *watch)
{
	Error err = { 0 };

	(void)error_set(&err, ERROR_WATCH_SLOW,
			"changes after revision %" PRIu64 " are no longer held", watch->cursor);
	err.resume_revision = watch->cursor;
	call_fail(watch->call, &err);
}

static Hearth__V1__VmEvent *initial_event(Arena *arena, const VmRecord *record)
{
	Hearth__V1__VmEvent *event = arena_alloc(arena, sizeof *event);

	hearth__v1__vm_event__init(event);
	event->type = HEARTH__V1__EVENT_TYPE__EVENT_TYPE_INITIAL;
	event->revision = record->revision;
	event->vm = wire_vm(arena, record);
	return event;
}

/* The next INITIAL events. No message but the last says a revision: it could not be resumed from.
 */
static void write_initial(VmWatch *watch)
{
	Hearth__V1__WatchVmsResponse response;
	Hearth__V1__VmEvent *events[BATCH];
	cleanup_(arena_clear) Arena arena;
	const VmList *list = watch->initial;
	size_t bytes = 0;

	arena_init(&arena, SIZE_MAX);
	hearth__v1__watch_vms_response__init(&response);
	response.events = events;
	while (watch->initial_at < list->count && response.n_events < BATCH &&
	       bytes < MESSAGE_BYTES) {
		const VmRecord *record = list->records[watch->initial_at++];
		Hearth__V1__VmEvent *event;

		if (!filter_match(&watch->filter, record))
			continue;
		event = initial_event(&arena, record);
		bytes += hearth__v1__vm_event__get_packed_size(event);
		events[response.n_events++] = event;
	}
	response.initial_done = watch->initial_at == list->count;
	if (response.initial_done) {
		response.revision = list->revision;
		watch->cursor = list->revision;
		watch->held = true;
		watch->send_initial = false;
		vm_list_unref(take_ptr(watch->initial));
	}
	watch_write(watch, &response);
}

/*
 * What @change is to this watcher: how the VM moved with respect to the filter. Without the record
 * before it (the change was read back from the store) a VM outside is said to have left: saying so
 * twice does no harm, not saying it would.
 */
static Hearth__V1__EventType event_type(const VmFilter *filter, const Change *change)
{
	bool before, after;

	if (!filter_may_match(filter, change->record))
		return HEARTH__V1__EVENT_TYPE__EVENT_TYPE_UNSPECIFIED;
	after = change->type != CHANGE_DELETED && filter_match(filter, change->record);
	if (change->type == CHANGE_ADDED)
		before = false;
	else if (change->before)
		before = filter_match(filter, change->before);
	else
		before = true;
	if (before && change->type == CHANGE_DELETED)
		return HEARTH__V1__EVENT_TYPE__EVENT_TYPE_DELETED;
	if (before)
		return after ? HEARTH__V1__EVENT_TYPE__EVENT_TYPE_MODIFIED
			     : HEARTH__V1__EVENT_TYPE__EVENT_TYPE_OUT_OF_SELECTOR;
	return after ? HEARTH__V1__EVENT_TYPE__EVENT_TYPE_ADDED
		     : HEARTH__V1__EVENT_TYPE__EVENT_TYPE_UNSPECIFIED;
}

/* Says as many of @changes as one message takes, and moves the cursor behind them. */
static void write_changes(VmWatch *watch, Change *const *changes, size_t count)
{
	Hearth__V1__WatchVmsResponse response;
	Hearth__V1__VmEvent *events[BATCH];
	cleanup_(arena_clear) Arena arena;
	size_t bytes = 0;

	arena_init(&arena, SIZE_MAX);
	hearth__v1__watch_vms_response__init(&response);
	response.events = events;
	for (size_t i = 0; i < count && bytes < MESSAGE_BYTES; i++) {
		Hearth__V1__EventType type = event_type(&watch->filter, changes[i]);

		watch->cursor = changes[i]->revision;
		if (type == HEARTH__V1__EVENT_TYPE__EVENT_TYPE_UNSPECIFIED)
			continue;
		events[response.n_events] = wire_event(&arena, changes[i], true);
		events[response.n_events]->type = type;
		bytes += hearth__v1__vm_event__get_packed_size(events[response.n_events++]);
	}
	response.revision = watch->cursor;
	if (response.n_events > 0)
		watch_write(watch, &response);
}

/* What comes next; false when there is nothing to say now, or ever again. */
static bool watch_step(VmWatch *watch)
{
	Change *changes[BATCH];
	Error err = { 0 };
	size_t n = 0;

	if (watch->send_initial) {
		write_initial(watch);
		return true;
	}
	if (registry_changes(watch->registry, watch->cursor, changes, BATCH, &n, &err) < 0) {
		if (watch->held)
			fail_slow(watch);
		else
			call_fail(watch->call, &err);
		return false;
	}
	watch->held = true;
	write_changes(watch, changes, n);
	for (size_t i = 0; i < n; i++)
		change_unref(changes[i]);
	return n > 0;
}

/* A bookmark if the watcher has heard nothing for so long; and the next time to look. */
static void watch_bookmark(VmWatch *watch)
{
	Hearth__V1__WatchVmsResponse bookmark;
	int64_t now = clock_mono_us();

	if (watch->timer && now < watch->due)
		return;
	if (now >= watch->sent + watch->interval) {
		hearth__v1__watch_vms_response__init(&bookmark);
		bookmark.revision = watch->cursor;
		watch_write(watch, &bookmark);
	}
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	watch->due = watch->sent + watch->interval;
	watch->timer = agent_wake_after(watch->call, watch->due - now);
}

static void watch_pump(Call *call, void *user)
{
	VmWatch *watch = user;

	if (!watch->watching)
		registry_watch(watch->registry, &watch->watcher);
	watch->watching = true;
	while (call_writable(call))
		if (!watch_step(watch))
			break;
	if (call_ended(call))
		return;
	if (call_writable(call))
		watch_bookmark(watch);
	else if (!watch->send_initial && registry_revision(watch->registry) - watch->cursor >
						 runtime_config(watch->runtime)->history)
		fail_slow(watch);
}

static void check_start(const Hearth__V1__WatchVmsRequest *request, Error *err)
{
	if (request->from_revision && !*request->store_id)
		(void)error_add_violation(err, "store_id", "required with from_revision");
	if (request->from_revision && request->send_initial)
		(void)error_add_violation(err, "send_initial", "not with from_revision");
}

static int check_store(const char *asked, Runtime *runtime, Error *err)
{
	const char *id = store_id(runtime_store(runtime));

	if (*asked && !text_equal(asked, id))
		return error_set(err, ERROR_STORE_CHANGED, "it is now %s", id);
	return 0;
}

static void watch_vms(Call *call, Runtime *runtime, const Hearth__V1__WatchVmsRequest *request)
{
	cleanup_(watch_freep) VmWatch *watch = new0(VmWatch);
	Error err = { 0 };

	watch->runtime = runtime;
	check_start(request, &err);
	filter_set_tenant(&watch->filter, request->tenant, &err);
	filter_set_selector(&watch->filter, request->label_selector, &err);
	filter_set_vm_ids(&watch->filter, request->vm_ids, request->n_vm_ids, &err);
	watch->interval = request_bookmark_interval(request->bookmark_interval, &err);
	if (request_fail(call, NULL, &err))
		return;
	if (check_store(request->store_id, watch->runtime, &err) < 0) {
		call_fail(call, &err);
		return;
	}
	watch->watcher.wake = watch_wake;
	watch->registry = runtime_registry(watch->runtime);
	watch->send_initial = request->send_initial;
	if (watch->send_initial)
		watch->initial = registry_list(watch->registry);
	watch->cursor = request->from_revision;
	if (!watch->cursor)
		watch->cursor = registry_revision(watch->registry);
	watch->sent = clock_mono_us();
	watch->call = call_ref(call);
	call_stream(call, watch_pump, watch_end, take_ptr(watch));
}

DEFINE_HANDLER(VmService, watch_vms, WatchVms, WatchVmsResponse);
