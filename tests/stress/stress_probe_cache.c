/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Many threads that ask for a VMM at once, on a host that has none until one
 * is installed, and where at last no look can be carried out: the host is
 * looked at by one of them at a time, and once there is a VMM all are told so.
 */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/probe_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
	THREADS = 8,
	ROUNDS = 20,
	A_LOOK = 5 * USEC_PER_MSEC,
};

static ProbeCache cache;
static atomic_bool installed, short_of;
static atomic_uint looking, looks, overlaps, available;

static int look(BackendInfo *ret, const BackendConfig *config, int cancel_fd)
{
	(void)config;
	(void)cancel_fd;
	if (atomic_fetch_add(&looking, 1))
		atomic_fetch_add(&overlaps, 1);
	atomic_fetch_add(&looks, 1);
	clock_sleep_us(A_LOOK);
	ret->available = installed && !short_of;
	text_copy(ret->message, sizeof ret->message, ret->available ? "" : "none");
	atomic_fetch_sub(&looking, 1);
	return short_of ? -EMFILE : 0;
}

static void *ask(void *unused)
{
	(void)unused;
	if (probe_cache_get(&cache).available)
		atomic_fetch_add(&available, 1);
	return NULL;
}

/* How many of the threads were told that there is a VMM. */
static unsigned ask_at_once(void)
{
	pthread_t threads[THREADS];

	atomic_store(&available, 0);
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, ask, NULL))
			abort();
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	return atomic_load(&available);
}

int main(void)
{
	const BackendConfig config = { 0 };
	BackendInfo doctor = { 0 };
	unsigned early = 0, late, after, first_looks;

	probe_cache_init(&cache, look, &config);
	/* Within the time that one without a VMM is believed: one look for all of them. */
	early += ask_at_once();
	first_looks = looks;
	cache.again = 0;
	for (int i = 0; i < ROUNDS; i++)
		early += ask_at_once();
	installed = true;
	late = ask_at_once();
	short_of = true;
	probe_cache_look(&cache, &doctor);
	after = ask_at_once();
	probe_cache_destroy(&cache);

	printf("told of a VMM: %u before, %u after, %u while short; %u overlaps, %u first looks\n",
	       early, late, after, overlaps, first_looks);
	return early || late != THREADS || after != THREADS || !doctor.available || overlaps ||
	       first_looks != 1;
}
