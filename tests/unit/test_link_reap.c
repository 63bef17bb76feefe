/* SPDX-License-Identifier: Apache-2.0 */

/* Taps that several callers have removed at once. */

#include "base/text.h"
#include "netfw/link_reap.h"
#include "tests/unit/link_bench.h"

#include <pthread.h>

enum {
	CALLERS = 16,
	TAPS = 4, /* of each */
};

TestSuite(link_reap, .init = set_up);

typedef struct Caller {
	char names[TAPS][IFNAMSIZ];
	const char *all[TAPS];
	int r;
	Error err;
	pthread_t thread;
} Caller;

static void *remove_own(void *user)
{
	Caller *caller = user;

	caller->r = link_reap(&config, caller->all, TAPS, &caller->err);
	return NULL;
}

static void make_taps(Caller *caller, unsigned number)
{
	for (unsigned i = 0; i < TAPS; i++) {
		(void)snprintf(caller->names[i], sizeof caller->names[i], "h%u-%u", number, i);
		caller->all[i] = caller->names[i];
		make(caller->names[i]);
	}
}

Test(link_reap, each_callers_are_gone_and_nobody_elses)
{
	Caller *callers = new0_array(Caller, CALLERS);

	prepare();
	make("hstays");
	for (unsigned i = 0; i < CALLERS; i++)
		make_taps(&callers[i], i);
	for (unsigned i = 0; i < CALLERS; i++)
		cr_assert_eq(pthread_create(&callers[i].thread, NULL, remove_own, &callers[i]), 0);
	for (unsigned i = 0; i < CALLERS; i++)
		cr_assert_eq(pthread_join(callers[i].thread, NULL), 0);

	for (unsigned i = 0; i < CALLERS; i++) {
		cr_assert_eq(callers[i].r, 0, "%s", callers[i].err.what);
		for (unsigned k = 0; k < TAPS; k++)
			cr_assert_eq(link_index(callers[i].names[k]), 0);
	}
	cr_assert_neq(link_index("hstays"), 0);
	free(callers);
}

Test(link_reap, what_is_wrong_with_one_callers_is_not_the_others)
{
	Caller *callers = new0_array(Caller, CALLERS);
	unsigned failed = 0;

	prepare();
	net_run("ip link add foreign type veth");
	for (unsigned i = 0; i < CALLERS; i++)
		make_taps(&callers[i], i);
	callers[CALLERS / 2].all[1] = "foreign";
	for (unsigned i = 0; i < CALLERS; i++)
		cr_assert_eq(pthread_create(&callers[i].thread, NULL, remove_own, &callers[i]), 0);
	for (unsigned i = 0; i < CALLERS; i++) {
		cr_assert_eq(pthread_join(callers[i].thread, NULL), 0);
		failed += callers[i].r < 0;
	}

	cr_assert_eq(failed, 1);
	cr_assert_str_eq(callers[CALLERS / 2].err.what, "foreign: is no tap");
	cr_assert_neq(link_index("foreign"), 0);
	cr_assert_neq(link_index(callers[CALLERS / 2].names[0]), 0, "all of its or none");
	cr_assert_eq(link_index(callers[0].names[0]), 0);
	free(callers);
}

Test(link_reap, what_is_not_there_is_removed_already)
{
	const char *const names[] = { "hnone-0", "hnone-1" };
	Error err = { 0 };

	prepare();
	cr_assert_eq(link_reap(&config, names, 2, &err), 0);
	cr_assert_eq(link_reap(&config, names, 0, &err), 0);
}
