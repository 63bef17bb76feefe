/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/registry.h"

#include "base/lock.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
	PUBLISH_STEP = 32, /* changes published under one hold of the lock */
};

/* Records by vm_id, a reference to each. */
typedef struct RecordSet {
	VmRecord **items;
	size_t count, capacity;
} RecordSet;

/* The latest changes, oldest first from @start. */
typedef struct ChangeRing {
	Change **items;
	size_t capacity, start, count;
} ChangeRing;

struct Registry {
	Lock lock;
	/* under lock */
	uint64_t revision;
	uint64_t node_version;
	RecordSet records;
	ChangeRing ring;
	VmList *list; /* of this revision, or NULL */

	/* While loading: the record after the latest change of each VM. */
	RecordSet loaded;

	/* Held while watchers are woken, so that none is forgotten half-way. Innermost. */
	Lock watch_lock;
	Watcher *watchers;
};

/* Where @vm_id is, or would be. */
static size_t set_find(const RecordSet *set, const char *vm_id, bool *found)
{
	size_t low = 0, high = set->count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(set->items[middle]->vm_id, vm_id);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Takes @record over; answers the reference it replaced, or NULL. */
static VmRecord *set_put(RecordSet *set, VmRecord *record)
{
	bool found;
	size_t at = set_find(set, record->vm_id, &found);
	VmRecord *before = found ? set->items[at] : NULL;

	if (!found) {
		if (set->count == set->capacity) {
			set->capacity = set->capacity ? 2 * set->capacity : 64;
			set->items = must_realloc(set->items, set->capacity, sizeof(VmRecord *));
		}
		memmove(&set->items[at + 1], &set->items[at],
			(set->count - at) * sizeof(VmRecord *));
		set->count++;
	}
	set->items[at] = record;
	return before;
}

/* Answers the reference removed, or NULL. */
static VmRecord *set_remove(RecordSet *set, const char *vm_id)
{
	bool found;
	size_t at = set_find(set, vm_id, &found);
	VmRecord *before;

	if (!found)
		return NULL;
	before = set->items[at];
	set->count--;
	memmove(&set->items[at], &set->items[at + 1], (set->count - at) * sizeof(VmRecord *));
	return before;
}

static void set_clear(RecordSet *set)
{
	for (size_t i = 0; i < set->count; i++)
		record_unref(set->items[i]);
	free(set->items);
	*set = (RecordSet){ 0 };
}

/* Applies @change; what it replaced becomes change->before. */
static void set_apply(RecordSet *set, Change *change)
{
	if (change->type == CHANGE_DELETED)
		change->before = set_remove(set, change->record->vm_id);
	else
		change->before = set_put(set, record_ref(change->record));
}

static Change *ring_at(const ChangeRing *ring, size_t i)
{
	return ring->items[(ring->start + i) % ring->capacity];
}

/* Takes @change over; answers the reference that had to go for it, or NULL. */
static Change *ring_push(ChangeRing *ring, Change *change)
{
	size_t end = (ring->start + ring->count) % ring->capacity;
	Change *evicted = NULL;

	if (ring->count == ring->capacity) {
		evicted = ring->items[end];
		ring->start = (ring->start + 1) % ring->capacity;
	} else {
		ring->count++;
	}
	ring->items[end] = change;
	return evicted;
}

/* The first change after revision @after. */
static size_t ring_find(const ChangeRing *ring, uint64_t after)
{
	size_t low = 0, high = ring->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ring_at(ring, middle)->revision <= after)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void vm_list_unref(VmList *list)
{
	if (!list || atomic_fetch_sub(&list->refs, 1) != 1)
		return;
	for (size_t i = 0; i < list->count; i++)
		record_unref(list->records[i]);
	free(list);
}

Registry *registry_new(uint64_t revision, size_t history)
{
	Registry *registry = new0(Registry);

	lock_init(&registry->lock);
	lock_init(&registry->watch_lock);
	registry->revision = revision;
	registry->ring.capacity = history ? history : 1;
	registry->ring.items = new0_array(Change *, registry->ring.capacity);
	return registry;
}

void registry_free(Registry *registry)
{
	if (!registry)
		return;
	assert(!registry->watchers);
	vm_list_unref(registry->list);
	for (size_t i = 0; i < registry->ring.count; i++)
		change_unref(ring_at(&registry->ring, i));
	free(registry->ring.items);
	set_clear(&registry->loaded);
	set_clear(&registry->records);
	free(registry);
}

void registry_load(Registry *registry, VmRecord *record)
{
	VmRecord *before;

	lock_take(&registry->lock);
	before = set_put(&registry->records, record);
	lock_drop(&registry->lock);
	assert(!before);
	(void)before;
}

void registry_load_change(Registry *registry, Change *change)
{
	VmRecord *twin = NULL;
	Change *evicted;
	size_t at;
	bool found;

	lock_take(&registry->lock);
	/* A VM's latest change has its present record: hold that once. */
	at = set_find(&registry->records, change->record->vm_id, &found);
	if (found && registry->records.items[at]->revision == change->revision) {
		twin = change->record;
		change->record = record_ref(registry->records.items[at]);
	}
	set_apply(&registry->loaded, change);
	evicted = ring_push(&registry->ring, change);
	lock_drop(&registry->lock);

	record_unref(twin);
	change_unref(evicted);
}

/* Publishes up to PUBLISH_STEP changes; what is no longer held is released outside the lock. */
static void publish_step(Registry *registry, Change *const *batch, size_t count)
{
	Change *evicted[PUBLISH_STEP];
	RecordSet loaded;
	VmList *list;

	lock_take(&registry->lock);
	for (size_t i = 0; i < count; i++) {
		set_apply(&registry->records, batch[i]);
		evicted[i] = ring_push(&registry->ring, change_ref(batch[i]));
		registry->revision = batch[i]->revision;
	}
	list = take_ptr(registry->list);
	loaded = registry->loaded;
	registry->loaded = (RecordSet){ 0 };
	lock_drop(&registry->lock);

	vm_list_unref(list);
	set_clear(&loaded);
	for (size_t i = 0; i < count; i++)
		change_unref(evicted[i]);
}

static void wake_all(Registry *registry)
{
	lock_take(&registry->watch_lock);
	for (Watcher *watcher = registry->watchers; watcher; watcher = watcher->next)
		watcher->wake(watcher);
	lock_drop(&registry->watch_lock);
}

void registry_publish(void *registry, Change *const *batch, size_t count)
{
	for (size_t at = 0; at < count; at += PUBLISH_STEP)
		publish_step(registry, batch + at,
			     count - at < PUBLISH_STEP ? count - at : PUBLISH_STEP);
	wake_all(registry);
}

VmRecord *registry_get(Registry *registry, const char *vm_id)
{
	VmRecord *record = NULL;
	bool found;
	size_t at;

	lock_take(&registry->lock);
	at = set_find(&registry->records, vm_id, &found);
	if (found)
		record = record_ref(registry->records.items[at]);
	lock_drop(&registry->lock);
	return record;
}

uint64_t registry_revision(Registry *registry)
{
	uint64_t revision;

	lock_take(&registry->lock);
	revision = registry->revision;
	lock_drop(&registry->lock);
	return revision;
}

static VmList *make_list(const Registry *registry) lock_requires(registry->lock)
{
	const RecordSet *set = &registry->records;
	VmList *list = must_calloc(1, sizeof *list + set->count * sizeof(VmRecord *));

	atomic_init(&list->refs, 1);
	list->revision = registry->revision;
	list->count = set->count;
	for (size_t i = 0; i < set->count; i++)
		list->records[i] = record_ref(set->items[i]);
	return list;
}

VmList *registry_list(Registry *registry)
{
	VmList *list;

	lock_take(&registry->lock);
	if (!registry->list)
		registry->list = make_list(registry);
	list = registry->list;
	atomic_fetch_add(&list->refs, 1);
	lock_drop(&registry->lock);
	return list;
}

int registry_changes(Registry *registry, uint64_t after, Change **ret, size_t max, size_t *n,
		     Error *err)
{
	const ChangeRing *ring = &registry->ring;
	uint64_t latest, oldest;
	size_t found = 0;

	lock_take(&registry->lock);
	latest = registry->revision;
	oldest = ring->count ? ring_at(ring, 0)->revision : latest + 1;
	if (after < latest && after + 1 >= oldest)
		for (size_t i = ring_find(ring, after); i < ring->count && found < max; i++)
			ret[found++] = change_ref(ring_at(ring, i));
	lock_drop(&registry->lock);

	if (after > latest || after + 1 < oldest) {
		(void)error_set(err, ERROR_COMPACTED,
				after > latest
					? "%" PRIu64 " lies in the future: the latest is %" PRIu64
					: "%" PRIu64 " is no longer held: the latest is %" PRIu64,
				after, latest);
		err->resume_revision = latest;
		return -1;
	}
	*n = found;
	return 0;
}

void registry_touch_node(Registry *registry)
{
	lock_take(&registry->lock);
	registry->node_version++;
	lock_drop(&registry->lock);
	wake_all(registry);
}

uint64_t registry_node_version(Registry *registry)
{
	uint64_t version;

	lock_take(&registry->lock);
	version = registry->node_version;
	lock_drop(&registry->lock);
	return version;
}

void registry_watch(Registry *registry, Watcher *watcher)
{
	lock_take(&registry->watch_lock);
	watcher->previous = NULL;
	watcher->next = registry->watchers;
	if (watcher->next)
		watcher->next->previous = watcher;
	registry->watchers = watcher;
	lock_drop(&registry->watch_lock);
}

void registry_unwatch(Registry *registry, Watcher *watcher)
{
	lock_take(&registry->watch_lock);
	if (watcher->previous)
		watcher->previous->next = watcher->next;
	else
		registry->watchers = watcher->next;
	if (watcher->next)
		watcher->next->previous = watcher->previous;
	lock_drop(&registry->watch_lock);
}
