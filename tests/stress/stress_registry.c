/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One publisher; followers that must see every change once and in order;
 * readers of lists and records; watchers that come and go, whose memory is
 * gone once they have left.
 */
#include "base/lock.h"
#include "base/text.h"
#include "runtime/registry.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	VMS = 64,
	BATCHES = 4000,
	BATCH = 5,
	HISTORY = BATCHES * BATCH,
};

static Registry *registry;
static atomic_bool ended;
static atomic_uint faults;

static void expect(bool holds)
{
	if (!holds)
		atomic_fetch_add(&faults, 1);
}

static Change *next_change(uint64_t revision)
{
	VmRecord *record = record_new();
	Change *change;
	uint64_t vm = revision * 31 % VMS;
	bool second = revision / VMS % 3 == 2;

	record->vm_id = text_printf("vm-%02u", (unsigned)vm);
	record->revision = revision;
	change = change_new(second ? CHANGE_DELETED : CHANGE_MODIFIED, record, "Test");
	change->revision = revision;
	return change;
}

static void *publish_all(void *unused)
{
	uint64_t revision = 0;

	(void)unused;
	for (unsigned i = 0; i < BATCHES; i++) {
		Change *batch[BATCH];

		for (unsigned j = 0; j < BATCH; j++)
			batch[j] = next_change(++revision);
		registry_publish(registry, batch, BATCH);
		for (unsigned j = 0; j < BATCH; j++)
			change_unref(batch[j]);
	}
	atomic_store(&ended, true);
	return NULL;
}

/* A watcher as a stream has it: woken, it reads on from where it was. */
typedef struct Follower {
	Watcher watcher;
	Lock lock;
	Cond cond;
	bool woken; /* under lock */
} Follower;

static void wake_follower(Watcher *watcher)
{
	Follower *follower = container_of(watcher, Follower, watcher);

	lock_take(&follower->lock);
	follower->woken = true;
	cond_broadcast(&follower->cond);
	lock_drop(&follower->lock);
}

static uint64_t read_on(uint64_t after)
{
	Change *changes[16];
	Error err = { 0 };
	size_t n;

	do {
		if (registry_changes(registry, after, changes, 16, &n, &err) < 0) {
			expect(false);
			return HISTORY;
		}
		for (size_t i = 0; i < n; i++) {
			expect(changes[i]->revision == after + 1);
			after = changes[i]->revision;
			change_unref(changes[i]);
		}
	} while (n);
	return after;
}

static void *follow(void *unused)
{
	Follower follower = { .watcher.wake = wake_follower };
	uint64_t after = 0;

	(void)unused;
	lock_init(&follower.lock);
	cond_init(&follower.cond);
	registry_watch(registry, &follower.watcher);
	while ((after = read_on(after)) < HISTORY) {
		lock_take(&follower.lock);
		while (!follower.woken)
			cond_wait(&follower.cond, &follower.lock);
		follower.woken = false;
		lock_drop(&follower.lock);
	}
	registry_unwatch(registry, &follower.watcher);
	cond_destroy(&follower.cond);
	return NULL;
}

static void *read_lists(void *unused)
{
	(void)unused;
	while (!atomic_load(&ended)) {
		VmList *list = registry_list(registry);
		VmRecord *record = registry_get(registry, "vm-31");

		for (size_t i = 0; i < list->count; i++)
			expect(list->records[i]->revision <= list->revision);
		for (size_t i = 1; i < list->count; i++)
			expect(strcmp(list->records[i - 1]->vm_id, list->records[i]->vm_id) < 0);
		vm_list_unref(list);
		record_unref(record);
	}
	return NULL;
}

typedef struct Passer {
	Watcher watcher;
	bool present;
} Passer;

static void wake_passer(Watcher *watcher)
{
	expect(container_of(watcher, Passer, watcher)->present);
}

static void *come_and_go(void *unused)
{
	(void)unused;
	while (!atomic_load(&ended)) {
		Passer *passer = new0(Passer);

		passer->watcher.wake = wake_passer;
		passer->present = true;
		registry_watch(registry, &passer->watcher);
		registry_touch_node(registry);
		registry_unwatch(registry, &passer->watcher);
		passer->present = false; /* a race, were it still being woken */
		free(passer);
	}
	return NULL;
}

int main(void)
{
	void *(*const mains[])(void *) = { follow,      follow,      follow,     read_lists,
					   come_and_go, come_and_go, publish_all };
	pthread_t threads[array_size(mains)];

	registry = registry_new(0, HISTORY);
	for (size_t i = 0; i < array_size(mains); i++)
		if (pthread_create(&threads[i], NULL, mains[i], NULL))
			return 1;
	for (size_t i = 0; i < array_size(mains); i++)
		(void)pthread_join(threads[i], NULL);
	registry_free(registry);
	printf("%u faults\n", atomic_load(&faults));
	return atomic_load(&faults) != 0;
}
