/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that tell of denied packets, and others that watch: each hears all, in order, or how many
 * it missed, and nobody is woken after it has gone. */

#include "runtime/egress_watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
	PUBLISHERS = 2,
	READERS = 4,
	EVENTS = 10000, /* of each publisher */
	BATCH = 16,
};

typedef struct Reader {
	EgressWatcher watcher;
	atomic_bool watches;
	atomic_uint woken, woken_late;
	uint64_t heard, missed, disorders;
} Reader;

static EgressHub *hub;
static Reader readers[READERS];
static atomic_uint publishing = PUBLISHERS;

static void wake(EgressWatcher *watcher)
{
	Reader *reader = container_of(watcher, Reader, watcher);

	atomic_fetch_add(&reader->woken, 1);
	if (!atomic_load(&reader->watches))
		atomic_fetch_add(&reader->woken_late, 1);
}

static void *publish(void *user)
{
	EgressEvent event = { .vm_id = "web-1" };

	event.packet.slot = *(const uint32_t *)user;
	for (uint32_t i = 1; i <= EVENTS; i++) {
		event.packet.length = i;
		egress_hub_publish(hub, &event);
		if (i % BATCH == 0)
			(void)usleep(50); /* so that the readers come to their turn */
	}
	atomic_fetch_sub(&publishing, 1);
	return NULL;
}

static size_t read_some(Reader *reader, uint64_t *at, uint32_t last[static PUBLISHERS])
{
	EgressEvent events[BATCH];
	uint64_t missed;
	size_t count = egress_hub_read(hub, at, events, BATCH, &missed);

	reader->heard += count;
	reader->missed += missed;
	for (size_t i = 0; i < count; i++) {
		uint32_t *before = &last[events[i].packet.slot];

		if (events[i].packet.length <= *before)
			reader->disorders++;
		*before = events[i].packet.length;
	}
	return count;
}

static void *watch(void *user)
{
	Reader *reader = user;
	uint32_t last[PUBLISHERS] = { 0 };
	uint64_t at = 0;
	bool over;

	do {
		reader->watcher.wake = wake;
		atomic_store(&reader->watches, true);
		egress_watch(hub, &reader->watcher);
		over = !atomic_load(&publishing);
		while (read_some(reader, &at, last))
			;
		egress_unwatch(hub, &reader->watcher);
		atomic_store(&reader->watches, false);
	} while (!over);
	return NULL;
}

int main(void)
{
	pthread_t threads[PUBLISHERS + READERS];
	uint32_t numbers[PUBLISHERS];
	bool bad = false;

	hub = egress_hub_new();
	for (size_t i = 0; i < READERS; i++)
		if (pthread_create(&threads[PUBLISHERS + i], NULL, watch, &readers[i]))
			abort();
	for (uint32_t i = 0; i < PUBLISHERS; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, publish, &numbers[i]))
			abort();
	}
	for (size_t i = 0; i < PUBLISHERS + READERS; i++)
		(void)pthread_join(threads[i], NULL);
	egress_hub_free(hub);

	for (size_t i = 0; i < READERS; i++) {
		const Reader *reader = &readers[i];

		printf("%lu heard, %lu missed, %lu in disorder, woken %u times, %u too late\n",
		       (unsigned long)reader->heard, (unsigned long)reader->missed,
		       (unsigned long)reader->disorders, reader->woken, reader->woken_late);
		bad = bad || reader->heard + reader->missed != (uint64_t)PUBLISHERS * EVENTS ||
		      reader->disorders || reader->woken_late;
	}
	return bad;
}
