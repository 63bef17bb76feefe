/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What readers see: the published record of every VM, in order of vm_id, all
 * of one revision, and the latest changes.
 *
 * Only the store's writer publishes; everybody else reads, from any thread,
 * never waiting for work or for the disk: the lock covers look-ups and
 * reference counts.
 */

#include "runtime/change.h"

typedef struct Registry Registry;

/* Every VM at one revision, by vm_id; shared and immutable. */
typedef struct VmList {
	atomic_uint refs;
	uint64_t revision;
	size_t count;
	VmRecord *records[];
} VmList;
void vm_list_unref(VmList *list);
DEFINE_CLEANUP(VmList *, vm_list_unref);

/**
 * registry_new() - an empty registry
 * @revision:	of the store
 * @history:	changes kept for watchers
 */
Registry *registry_new(uint64_t revision, size_t history);
void registry_free(Registry *registry);

/* Before the agent serves: what the store held. Takes the reference over. */
void registry_load(Registry *registry, VmRecord *record);
void registry_load_change(Registry *registry, Change *change);

/* store_start()'s publisher: replaces records, keeps changes, wakes watchers. A DELETED change
 * removes its VM. Sets change->before. */
void registry_publish(void *registry, Change *const *batch, size_t count);

/* A reference to the published record, or NULL. */
VmRecord *registry_get(Registry *registry, const char *vm_id);
uint64_t registry_revision(Registry *registry);

/* All of one revision. Kept until the next change, so that many readers share one. */
VmList *registry_list(Registry *registry);

/**
 * registry_changes() - changes after @after, oldest first
 * @ret:	references, the caller's to drop
 * @n:		how many, at most @max; 0: none yet
 * @err:	COMPACTED: @after is no longer held, or lies in the future
 */
int registry_changes(Registry *registry, uint64_t after, Change **ret, size_t max, size_t *n,
		     Error *err) must_check;

/* The node as a whole has changed (cordons, conditions): wakes watchers, counts up. */
void registry_touch_node(Registry *registry);
uint64_t registry_node_version(Registry *registry);

/*
 * A watcher is woken after each published batch, on the writer's thread: @wake must only pass
 * the word on. registry_unwatch() returns once @wake is not running and will not be called again.
 */
typedef struct Watcher Watcher;
struct Watcher {
	void (*wake)(Watcher *watcher);
	Watcher *next, *previous; /* the registry's */
};
void registry_watch(Registry *registry, Watcher *watcher);
void registry_unwatch(Registry *registry, Watcher *watcher);
