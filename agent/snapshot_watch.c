/* SPDX-License-Identifier: Apache-2.0 */

/*
 * WatchSnapshots: what there is in the catalog, beside what the caller has been told of it. Nothing
 * is queued: a change that is told late is told as it is by then.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/wire_snapshot.h"
#include "base/clock.h"
#include "base/text.h"

#include <string.h>

enum {
	BATCH = 64,               /* events in one message */
	PACE = USEC_PER_SEC / 10, /* between two looks */
};

typedef struct Told {
	char vm_id[ERROR_ID_MAX], snapshot_id[ERROR_ID_MAX];
	uint64_t version;
} Told;

/* One watcher; only its pump and its end touch it, never both at once. */
typedef struct SnapshotWatch {
	SnapshotsListener listener;
	Call *call;
	Runtime *runtime;
	char vm_id[ERROR_ID_MAX], tenant[ERROR_ID_MAX]; /* empty: all */
	bool listening, initial_done;
	Told *told; /* sorted as snapshots_list() has them */
	size_t count;
	int64_t looked; /* monotonic */
	LoopSource *timer;
} SnapshotWatch;

static void wake(SnapshotsListener *listener)
{
	call_wake(container_of(listener, SnapshotWatch, listener)->call);
}

static void watch_end(void *user)
{
	SnapshotWatch *watch = user;

	if (watch->listening)
		snapshots_unlisten(runtime_snapshots(watch->runtime), &watch->listener);
	loop_remove(agent_of(watch->call)->loop, watch->timer);
	call_unref(watch->call);
	free(watch->told);
	free(watch);
}

/* A message, and what it points to. */
typedef struct Batch {
	Arena arena;
	Hearth__V1__WatchSnapshotsResponse message;
	Hearth__V1__SnapshotEvent events[BATCH], *refs[BATCH];
	VmSpec *specs[BATCH];
} Batch;

static Batch *batch_new(void)
{
	Batch *batch = new0(Batch);

	arena_init(&batch->arena, SIZE_MAX);
	hearth__v1__watch_snapshots_response__init(&batch->message);
	batch->message.events = batch->refs;
	return batch;
}

static void batch_free(Batch *batch)
{
	for (size_t i = 0; i < batch->message.n_events; i++)
		spec_unref(batch->specs[i]);
	arena_clear(&batch->arena);
	free(batch);
}
DEFINE_CLEANUP(Batch *, batch_free);

/* @told is of the same snapshot as @info, or either is NULL. */
static void add_event(Batch *batch, const Told *told, const SnapshotInfo *info, bool initial)
{
	size_t i = batch->message.n_events++;
	Hearth__V1__SnapshotEvent *event = batch->refs[i] = &batch->events[i];
	SnapshotInfo gone = { .manifest = NULL };

	hearth__v1__snapshot_event__init(event);
	event->type = !info     ? HEARTH__V1__EVENT_TYPE__EVENT_TYPE_DELETED
		      : told    ? HEARTH__V1__EVENT_TYPE__EVENT_TYPE_MODIFIED
		      : initial ? HEARTH__V1__EVENT_TYPE__EVENT_TYPE_INITIAL
				: HEARTH__V1__EVENT_TYPE__EVENT_TYPE_ADDED;
	if (!info) {
		text_copy(gone.vm_id, sizeof gone.vm_id, told->vm_id);
		text_copy(gone.snapshot_id, sizeof gone.snapshot_id, told->snapshot_id);
		info = &gone;
	}
	batch->specs[i] = info->manifest ? snapshot_spec(info->manifest) : NULL;
	event->snapshot = wire_snapshot(&batch->arena, info, batch->specs[i]);
}

static Told told_of(const SnapshotInfo *info)
{
	Told told = { .version = info->version };

	text_copy(told.vm_id, sizeof told.vm_id, info->vm_id);
	text_copy(told.snapshot_id, sizeof told.snapshot_id, info->snapshot_id);
	return told;
}

/* Which of the two comes first; NULL comes last. */
static int order(const Told *told, const SnapshotInfo *info)
{
	int r;

	if (!told || !info)
		return told ? -1 : 1;
	r = strcmp(told->vm_id, info->vm_id);
	return r ? r : strcmp(told->snapshot_id, info->snapshot_id);
}

/* One snapshot: @told and @info are of it, or either is NULL. Return: does the caller know of one?
 */
static bool compare(Told *known, const Told *told, const SnapshotInfo *info, Batch *batch,
		    bool initial)
{
	bool changed = !told || !info || told->version != info->version;
	bool tells = changed && batch->message.n_events < BATCH;

	if (tells)
		add_event(batch, told, info, initial);
	if (tells && info)
		*known = told_of(info);
	else if (told)
		*known = *told;
	return tells ? info != NULL : told != NULL;
}

/* Adds what the caller does not know yet, as much as there is room for; it does then. */
static void compare_all(SnapshotWatch *watch, const SnapshotInfo *infos, size_t count, Batch *batch)
{
	Told *known = new0_array(Told, watch->count + count);
	size_t n = 0;

	for (size_t i = 0, k = 0; i < watch->count || k < count;) {
		const Told *told = i < watch->count ? &watch->told[i] : NULL;
		const SnapshotInfo *info = k < count ? &infos[k] : NULL;
		int r = order(told, info);

		n += compare(&known[n], r <= 0 ? told : NULL, r >= 0 ? info : NULL, batch,
			     !watch->initial_done);
		i += r <= 0;
		k += r >= 0;
	}
	free(watch->told);
	watch->told = known;
	watch->count = n;
}

/* Return: is there nothing more to say? */
static bool say(SnapshotWatch *watch, const SnapshotInfo *infos, size_t count)
{
	cleanup_(batch_freep) Batch *batch = batch_new();
	bool all;

	compare_all(watch, infos, count, batch);
	all = batch->message.n_events < BATCH;
	batch->message.initial_done = all && !watch->initial_done;
	watch->initial_done = watch->initial_done || all;
	if (batch->message.n_events || batch->message.initial_done)
		call_write(watch->call, &batch->message.base);
	return all;
}

static void look(SnapshotWatch *watch)
{
	SnapshotInfo *infos;
	size_t count;

	snapshots_list(runtime_snapshots(watch->runtime), *watch->vm_id ? watch->vm_id : NULL,
		       *watch->tenant ? watch->tenant : NULL, &infos, &count);
	while (call_writable(watch->call) && !say(watch, infos, count))
		continue;
	snapshot_infos_free(infos, count);
}

static void watch_pump(Call *call, void *user)
{
	SnapshotWatch *watch = user;
	int64_t now = clock_mono_us();

	if (!watch->listening)
		snapshots_listen(runtime_snapshots(watch->runtime), &watch->listener);
	watch->listening = true;
	if (!call_writable(call))
		return;
	loop_remove(agent_of(call)->loop, take_ptr(watch->timer));
	if (watch->looked && now < watch->looked + PACE) {
		watch->timer = agent_wake_after(call, watch->looked + PACE - now);
		return;
	}
	watch->looked = now;
	look(watch);
}

static void watch_snapshots(Call *call, Runtime *runtime,
			    const Hearth__V1__WatchSnapshotsRequest *request)
{
	SnapshotWatch *watch;
	Error err = { 0 };

	if (*request->vm_id)
		request_check_vm_id(request->vm_id, &err);
	request_check_tenant(request->tenant, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	watch = new0(SnapshotWatch);
	watch->listener.wake = wake;
	watch->call = call_ref(call);
	watch->runtime = runtime;
	text_copy(watch->vm_id, sizeof watch->vm_id, request->vm_id);
	text_copy(watch->tenant, sizeof watch->tenant, request->tenant);
	call_stream(call, watch_pump, watch_end, watch);
}

DEFINE_HANDLER(SnapshotService, watch_snapshots, WatchSnapshots, WatchSnapshotsResponse);
