/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pagers killed at any moment, and memory given back while it is read:
 *
 *	stress_pager [KILLS [REMOVES [MSEC]]]
 *
 * Fails if a page has ever been wrong, or a thread of the guest has come to hang.
 */

#include "base/clock.h"
#include "tests/support/pager_bench.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MIB UINT64_C(1048576)

enum {
	READERS = 3,
	WAIT = 60 * USEC_PER_SEC, /* a guest that takes longer hangs */
	KILL_STEP = 20,           /* usec between two looks at how far the guest is */
	STALL_MAX_MS = 50,        /* with the machine to itself */
	PAGES_AT_ONCE = 16
};

static const GuestPlan killed = { 48 * MIB, GUEST_PAGE, 2, 30 };
static const GuestPlan removed = { 64 * MIB, GUEST_PAGE, 1, 30 };

static unsigned bad, hung;
static uint64_t worst_ns;
static unsigned slow, midway;

/* Why the guest of a round came to no good end. */
static void judge(PagerBench *bench, const char *what, unsigned round)
{
	int status = guest_wait(&bench->guest, WAIT);
	cleanup_free PagerState *state = NULL;

	if (status == 0)
		return;
	state = pager_bench_state(bench);
	(void)printf("%s %u: status %#x, %zu bad of %zu pages, %s\n", what, round, (unsigned)status,
		     (size_t)atomic_load(&bench->guest.report->bad),
		     (size_t)atomic_load(&bench->guest.report->touched), state->failure);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
		bad++;
	else
		hung++;
}

/* A guest whose pager dies once, at a moment that @random chooses, and is replaced at once. */
static void kill_round(PagerBench *bench, unsigned round, uint64_t *random)
{
	const char *const alone[] = { "--window", round % 2 ? "4" : "64", NULL };
	const char *const set[] = { "--working-set", bench->working_set, NULL };
	const char *const *options = round % 3 == 2 ? set : alone;
	/* Pages: near its beginning, where it waits for a page most of the time, as well as later.
	 */
	uint64_t moment = guest_random(random) % (killed.size / GUEST_PAGE * 3 / 4), stall;

	pager_bench_start(bench, guest_touch_all_mixed, options);
	guest_step(&bench->guest);
	if (pager_bench_await(bench, "serving") < 0)
		abort();
	guest_step(&bench->guest);
	while (atomic_load(&bench->guest.report->touched) < moment)
		clock_sleep_us(KILL_STEP);
	midway += atomic_load(&bench->guest.report->touched) < killed.size / GUEST_PAGE;
	pager_bench_kill_pager(bench);
	pager_bench_take_over(bench, options);
	judge(bench, "kill", round);
	stall = atomic_load(&bench->guest.report->max_ns);
	worst_ns = stall > worst_ns ? stall : worst_ns;
	slow += stall > STALL_MAX_MS * UINT64_C(1000000);
	pager_bench_end(bench);
}

/* What kill rounds with a working set install. */
static void record(PagerBench *bench)
{
	const char *const options[] = { "--record", bench->working_set, NULL };

	pager_bench_start(bench, guest_touch_clusters, options);
	pager_bench_hand_over(bench);
	guest_step(&bench->guest);
	judge(bench, "record", 0);
	(void)pager_bench_wait_pager(bench, WAIT);
	pager_bench_end(bench);
}

/* Of the guest's process: pages are given back for good, in any order. */
static atomic_uchar *going, *gone;
static atomic_bool over;
static int64_t work_msec = 300;

static bool is_sound(const Guest *guest, uint64_t page, bool was_gone)
{
	uint64_t first = *guest_page(guest, page);

	if (first == 0)
		return was_gone || atomic_load(&going[page]) || !guest_word(guest, page);
	return !was_gone && first == guest_word(guest, page);
}

static void *read_pages(void *user)
{
	Guest *guest = user;
	uint64_t random = (uintptr_t)&random;

	while (!atomic_load(&over)) {
		uint64_t page = guest_random(&random) % guest->pages;
		bool was_gone = atomic_load(&gone[page]);

		if (!is_sound(guest, page, was_gone))
			atomic_fetch_add(&guest->report->bad, 1);
		atomic_fetch_add(&guest->report->touched, 1);
	}
	return NULL;
}

static void give_back(Guest *guest, uint64_t page, uint64_t count)
{
	for (uint64_t i = page; i < page + count; i++)
		atomic_store(&going[i], 1);
	guest_give_back(guest, page, count);
	for (uint64_t i = page; i < page + count; i++)
		atomic_store(&gone[i], 1);
	atomic_fetch_add(&guest->report->rounds, 1);
}

static void read_and_remove(Guest *guest)
{
	int64_t end = clock_mono_us() + work_msec * USEC_PER_MSEC;
	pthread_t readers[READERS];
	uint64_t random = 1;

	going = must_calloc(guest->pages, sizeof *going);
	gone = must_calloc(guest->pages, sizeof *gone);
	for (size_t i = 0; i < READERS; i++)
		if (pthread_create(&readers[i], NULL, read_pages, guest))
			abort();
	while (clock_mono_us() < end) {
		uint64_t count = 1 + guest_random(&random) % PAGES_AT_ONCE;

		give_back(guest, guest_random(&random) % (guest->pages - count), count);
	}
	atomic_store(&over, true);
	for (size_t i = 0; i < READERS; i++)
		(void)pthread_join(readers[i], NULL);
}

static void remove_round(PagerBench *bench, unsigned round)
{
	const char *const window[] = { "--window", round % 2 ? "4" : "64", NULL };
	const char *const set[] = { "--working-set", bench->working_set, NULL };

	pager_bench_start(bench, read_and_remove, round % 3 == 2 ? set : window);
	guest_step(&bench->guest);
	guest_step(&bench->guest);
	judge(bench, "remove", round);
	if (round == 0) {
		(void)printf("a round: %zu removes, %zu reads\n",
			     (size_t)atomic_load(&bench->guest.report->rounds),
			     (size_t)atomic_load(&bench->guest.report->touched));
		(void)fflush(stdout); /* once, not by each process that is forked */
	}
	pager_bench_end(bench);
}

static unsigned argument(int argc, char **argv, int i, unsigned otherwise)
{
	return argc > i ? (unsigned)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	unsigned kills = argument(argc, argv, 1, 12), removes = argument(argc, argv, 2, 6);
	const char *why = guest_cannot(GUEST_PAGE, 0);
	uint64_t random = (uint64_t)clock_wall_us();

	if (why) {
		(void)printf("skipped: %s\n", why);
		return 0;
	}
	work_msec = argument(argc, argv, 3, 300);
	{
		cleanup_(pager_bench_free) PagerBench bench = pager_bench_new(&killed, "/dev/shm");

		record(&bench);
		for (unsigned i = 0; i < kills; i++)
			kill_round(&bench, i, &random);
	}
	{
		cleanup_(pager_bench_free) PagerBench bench = pager_bench_new(&removed, "/dev/shm");

		record(&bench);
		for (unsigned i = 0; i < removes; i++)
			remove_round(&bench, i);
	}
	(void)printf(
		"%u kills, %u midway: the longest stall %.1f ms, %u above %d ms; %u remove rounds; "
		"%u with bad pages, %u hung\n",
		kills, midway, (double)worst_ns / 1e6, slow, STALL_MAX_MS, removes, bad, hung);
	return bad || hung;
}
