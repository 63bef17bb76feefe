/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Taps that come up, go down and are removed by several threads, while others
 * list them: each thread finds its own as it has left them, nobody's removal
 * takes another's tap, and one that stays is in every list.
 */

#include "base/text.h"
#include "netfw/link_reap.h"
#include "netfw/tap.h"
#include "tests/support/net.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
	WORKERS = 4,
	ROUNDS = 25,
	TAPS = 3,   /* of a worker, removed at once */
	STAY = 400, /* they make a list that takes the kernel several answers */
};

static const LinkConfig config = { .group = 7700, .anchor = "hanchor" };
static atomic_int failures;
static atomic_bool done;

static void check(bool good, const char *what, const Error *err)
{
	if (good)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, err->what);
	atomic_fetch_add(&failures, 1);
}

static void bring_up(const char *name, uint8_t a, uint8_t b)
{
	const TapConfig made = { .name = name, .owner = (uid_t)-1 };
	const LinkTap tap = {
		.name = name,
		.filtered = true,
		.address4 = { .family = 4, .length = 32, .address = { 198, 18, a, b } },
	};
	uint32_t index;
	Error err = { 0 };

	check(tap_add(&made, &err) == 0 && link_up(&index, &config, &tap, &err) == 0, "up", &err);
}

static void *work(void *arg)
{
	uint8_t number = *(const uint8_t *)arg;

	for (int round = 0; round < ROUNDS; round++) {
		char names[TAPS][IFNAMSIZ];
		const char *all[TAPS];
		Error err = { 0 };

		for (unsigned i = 0; i < TAPS; i++) {
			(void)snprintf(names[i], sizeof names[i], "h%u-%u", number, i);
			all[i] = names[i];
			bring_up(names[i], number, (uint8_t)i);
		}
		check(link_down(names[0], &err) == 0, "down", &err);
		check(link_index(names[0]) && link_index(names[1]), "it is there", &err);
		check((round % 2 ? link_remove : link_reap)(&config, all, TAPS, &err) == 0,
		      "remove", &err);
		check(!link_index(names[0]) && !link_index(names[1]), "it is gone", &err);
	}
	return NULL;
}

static void mark_stay(void *user, const char *name, uint32_t index)
{
	bool *seen = user;
	uint64_t number;

	(void)index;
	if (strncmp(name, "hs", 2) == 0 && text_to_u64(&number, name + 2) == 0 && number < STAY)
		seen[number] = true;
}

static void *list(void *arg)
{
	(void)arg;
	while (!atomic_load(&done)) {
		bool seen[STAY] = { false };
		Error err = { 0 };

		check(link_each(&config, mark_stay, seen, &err) == 0, "list", &err);
		for (int i = 0; i < STAY; i++)
			check(seen[i], "one that stays is in no list", &err);
	}
	return NULL;
}

static void make_stay(void)
{
	for (unsigned i = 0; i < STAY; i++) {
		char name[IFNAMSIZ];

		(void)snprintf(name, sizeof name, "hs%u", i);
		bring_up(name, (uint8_t)(100 + i / 256), (uint8_t)i);
	}
}

int main(void)
{
	uint8_t numbers[WORKERS];
	pthread_t workers[WORKERS], lister;
	Error err = { 0 };

	if (!net_available()) {
		(void)fprintf(stderr, "skipped: links need root and /dev/net/tun\n");
		return 0;
	}
	net_enter();
	check(link_prepare(&config, &err) == 0, "prepare", &err);
	make_stay();
	(void)pthread_create(&lister, NULL, list, NULL);
	for (unsigned i = 0; i < WORKERS; i++) {
		numbers[i] = (uint8_t)i;
		(void)pthread_create(&workers[i], NULL, work, &numbers[i]);
	}
	for (int i = 0; i < WORKERS; i++)
		(void)pthread_join(workers[i], NULL);
	atomic_store(&done, true);
	(void)pthread_join(lister, NULL);
	return atomic_load(&failures) != 0;
}
