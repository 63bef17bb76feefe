/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_link_bench.h"

/* What a link's watch is told. */

/* What a watch has heard, in the order it was told. */
typedef struct Watched {
	GuestWatch watch;
	Lock lock;
	Cond changed;
	GuestHeard heard; /* under lock, as is what follows */
	int times, released;
} Watched;

static void note_heard(GuestWatch *watch, const GuestHeard *heard)
{
	Watched *watched = container_of(watch, Watched, watch);

	lock_take(&watched->lock);
	watched->heard = *heard;
	watched->times++;
	cond_broadcast(&watched->changed);
	lock_drop(&watched->lock);
}

static void note_released(GuestWatch *watch)
{
	Watched *watched = container_of(watch, Watched, watch);

	lock_take(&watched->lock);
	watched->released++;
	cond_broadcast(&watched->changed);
	lock_drop(&watched->lock);
}

static void watch(const Bench *bench, Watched *watched)
{
	*watched = (Watched){ .watch = { note_heard, note_released } };
	lock_init(&watched->lock);
	cond_init(&watched->changed);
	guest_link_watch(bench->link, &watched->watch);
}

static GuestHeard wait_heard(Watched *watched, int times)
{
	GuestHeard heard;

	lock_take(&watched->lock);
	while (watched->times < times)
		cond_wait(&watched->changed, &watched->lock);
	heard = watched->heard;
	lock_drop(&watched->lock);
	return heard;
}

static void wait_released(Watched *watched)
{
	lock_take(&watched->lock);
	while (!watched->released)
		cond_wait(&watched->changed, &watched->lock);
	lock_drop(&watched->lock);
}

static void get_ready(Bench *bench)
{
	meet(bench);
	say(bench, "{\"event\":\"ready\"}");
	be_silent(bench);
}

Test(guest_watch, a_watch_hears_that_the_guest_answers_and_is_ready_without_a_call)
{
	Watched watched; /* released by the bench's end */
	cleanup_(bench_freep) Bench *bench = bench_new(get_ready, false);
	GuestHeard heard;

	watch(bench, &watched);

	heard = wait_heard(&watched, 2);
	cr_expect(heard.open && heard.ready);
	cr_expect_str_eq(heard.agent, "a test");
	cr_expect(guest_link_is_open(bench->link));
	guest_link_unwatch(bench->link);
	wait_released(&watched);
	cr_expect_eq(watched.times, 2);
}

static atomic_int visits;

/* The second visitor finds nobody, the third one finds it again. */
static void go_away_and_come_back(Bench *bench)
{
	int visit = atomic_fetch_add(&visits, 1);

	if (visit > 0 && visit < 40)
		return;
	meet(bench);
	if (visit == 0)
		say(bench, "{\"event\":\"ready\"}");
	else
		be_silent(bench);
}

Test(guest_watch, a_watch_hears_of_a_loss_that_lasts_and_of_the_return_to_the_same_boot)
{
	Watched watched;
	cleanup_(bench_freep) Bench *bench = bench_new(go_away_and_come_back, false);

	watch(bench, &watched);

	cr_expect(wait_heard(&watched, 2).ready);
	cr_expect_not(wait_heard(&watched, 3).open);
	cr_expect(wait_heard(&watched, 4).open && watched.heard.ready);
}

static void lie(Bench *bench)
{
	const char *hello = hear(bench);
	json_t *object = hello ? json_loads(hello, 0, NULL) : NULL;
	char *answer;

	(void)json_object_set_new(object, "agent",
				  json_string("\x1b[2J\xc3\xbc and far more than fits in"
					      " what is kept of it, which is not much"));
	answer = json_dumps(object, JSON_COMPACT);
	say(bench, answer);
	free(answer);
	json_decref(object);
	be_silent(bench);
}

Test(guest_watch, what_a_watch_hears_can_be_shown)
{
	Watched watched;
	cleanup_(bench_freep) Bench *bench = bench_new(lie, false);
	GuestHeard heard;

	watch(bench, &watched);

	heard = wait_heard(&watched, 1);
	cr_expect_str_eq(heard.agent,
			 "?[2J?? and far more than fits in what is kept of it, which is n");
}

Test(guest_watch, the_end_of_the_hub_releases_who_watches)
{
	Watched watched, late;
	cleanup_(bench_freep) Bench *bench = bench_new(get_ready, false);

	watch(bench, &watched);
	(void)wait_heard(&watched, 2);
	guest_hub_stop(bench->hub);
	wait_released(&watched);
	watch(bench, &late);
	wait_released(&late);

	cr_expect_eq(watched.released, 1);
	cr_expect_eq(late.times, 0);
}
