/* SPDX-License-Identifier: Apache-2.0 */

/* The built hearth-pager, and a guest whose every page is looked at. */

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/support/pager_bench.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define MIB UINT64_C(1048576)

enum {
	WINDOW = 16,  /* pages, at most, without options */
	CUT = 262144, /* bytes that a file is cut to */
};

static const int64_t wait_max = INT64_C(60) * USEC_PER_SEC; /* long enough to never matter */

static const GuestPlan small = { 16 * MIB, GUEST_PAGE, 1, 0 };
static const GuestPlan holed = { 16 * MIB, GUEST_PAGE, 3, 60 };
static const GuestPlan huge = { 32 * MIB, GUEST_PAGE_HUGE, 2, 30 };

static void need(const GuestPlan *plan)
{
	const char *why = guest_cannot(plan->page_size, plan->size);

	if (!why)
		return;
	(void)printf("skipped: pager: %s\n", why);
	(void)fflush(stdout);
	cr_skip_test("%s", why);
}

#define BENCH(name, plan) \
	need(&(plan));    \
	cleanup_(pager_bench_free) PagerBench name = pager_bench_new(&(plan), "/tmp")

static void check_end(PagerBench *bench)
{
	int status = guest_wait(&bench->guest, wait_max);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x, %zu bad pages",
		  (unsigned)status, (size_t)atomic_load(&bench->guest.report->bad));
	status = pager_bench_wait_pager(bench, wait_max);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}

static void serve(PagerBench *bench, GuestWork *work, const char *const *options)
{
	pager_bench_start(bench, work, options);
	pager_bench_hand_over(bench);
	guest_step(&bench->guest);
}

Test(pager, every_page_is_what_the_file_has)
{
	static GuestWork *const works[] = { guest_touch_in_order, guest_touch_scattered,
					    guest_touch_clusters, guest_touch_all_mixed };
	static const char *const windows[] = { "4", "64", "256" };

	for (size_t i = 0; i < array_size(works) * array_size(windows); i++) {
		const char *const options[] = { "--window", windows[i % array_size(windows)],
						NULL };
		BENCH(bench, small);

		serve(&bench, works[i / array_size(windows)], options);

		check_end(&bench);
	}
}

Test(pager, holes_are_zeros_and_cost_no_copy)
{
	BENCH(bench, holed);
	cleanup_free PagerState *state = NULL;
	uint64_t filled;

	serve(&bench, guest_touch_all_mixed, NULL);
	check_end(&bench);

	state = pager_bench_state(&bench);
	cr_assert_gt(counter_get(&state->counters.pages_zeroed), holed.size / GUEST_PAGE / 2);
	filled = counter_get(&state->counters.pages_zeroed) +
		 counter_get(&state->counters.pages_copied);
	/* What the guest wanted last may not have been counted before its end was seen. */
	cr_assert_leq(filled, holed.size / GUEST_PAGE);
	cr_assert_geq(filled, holed.size / GUEST_PAGE - WINDOW);
}

Test(pager, who_reads_on_gets_windows_and_who_does_not_gets_pages)
{
	cleanup_free PagerState *in_order = NULL;
	cleanup_free PagerState *scattered = NULL;
	uint64_t pages = small.size / GUEST_PAGE;

	{
		BENCH(bench, small);

		serve(&bench, guest_touch_in_order, NULL);
		check_end(&bench);
		in_order = pager_bench_state(&bench);
	}
	{
		BENCH(bench, small);

		serve(&bench, guest_touch_scattered, NULL);
		check_end(&bench);
		scattered = pager_bench_state(&bench);
	}

	cr_assert_lt(counter_get(&in_order->counters.faults), pages / 10);
	cr_assert_lt(counter_get(&scattered->counters.pages_copied), pages / 4 * 11 / 10);
}

Test(pager, huge_pages_are_served_whole)
{
	BENCH(bench, huge);
	cleanup_free PagerState *state = NULL;

	serve(&bench, guest_touch_all_mixed, NULL);
	check_end(&bench);

	state = pager_bench_state(&bench);
	cr_assert_eq(counter_get(&state->counters.faults), huge.size / GUEST_PAGE_HUGE);
}

Test(pager, what_was_recorded_is_there_before_it_is_asked_for)
{
	cleanup_free PagerState *state = NULL;
	cleanup_free char *set = NULL;

	{
		BENCH(bench, holed);
		const char *const record[] = { "--record", bench.working_set, NULL };

		serve(&bench, guest_touch_clusters, record);
		check_end(&bench);
		set = text_printf("/tmp/hearth-pager-set-%d", (int)getpid());
		cr_assert_eq(rename(bench.working_set, set), 0);
	}
	{
		BENCH(bench, holed);
		const char *const install[] = { "--working-set", set, NULL };

		serve(&bench, guest_touch_clusters, install);
		check_end(&bench);
		state = pager_bench_state(&bench);
	}
	(void)unlink(set);

	cr_assert_eq(counter_get(&state->counters.faults), 0);
	cr_assert_geq(counter_get(&state->counters.pages_installed), holed.size / GUEST_PAGE / 4);
	cr_assert_eq(counter_get(&state->installed), 1);
}

Test(pager, a_working_set_of_other_memory_does_no_harm)
{
	cleanup_free PagerState *state = NULL;
	BENCH(bench, small);
	const char *const install[] = { "--working-set", bench.memory, NULL };

	serve(&bench, guest_touch_scattered, install);
	check_end(&bench);

	state = pager_bench_state(&bench);
	cr_assert_eq(counter_get(&state->counters.pages_installed), 0);
}

/* Gives back every other page, of which some had been touched; what is touched then is zero. */
static void give_back(Guest *guest)
{
	for (uint64_t page = 0; page < guest->pages; page += 3)
		guest_touch(guest, page);
	for (uint64_t page = 0; page < guest->pages; page += 2)
		guest_give_back(guest, page, 1);
	for (uint64_t page = 0; page < guest->pages; page++)
		if (page % 2 ? !guest_page_is_right(guest, page) : !guest_page_is_zero(guest, page))
			atomic_fetch_add(&guest->report->bad, 1);
}

Test(pager, what_the_vmm_gives_back_comes_back_as_zeros)
{
	cleanup_free PagerState *state = NULL;
	BENCH(bench, small);

	serve(&bench, give_back, NULL);
	check_end(&bench);

	state = pager_bench_state(&bench);
	cr_assert_eq(counter_get(&state->counters.pages_removed), small.size / GUEST_PAGE / 2);
}

/* More ranges than are unregistered one by one. */
Test(pager, a_flood_of_removes_stays_below_what_a_process_may_have)
{
	static const GuestPlan wide = { 160 * MIB, GUEST_PAGE, 1, 90 };
	cleanup_free PagerState *state = NULL;
	BENCH(bench, wide);

	serve(&bench, give_back, NULL);
	check_end(&bench);

	state = pager_bench_state(&bench);
	cr_assert_eq(counter_get(&state->counters.removes), wide.size / GUEST_PAGE / 2);
	cr_assert_gt(counter_get(&state->counters.pages_zeroed), 4000);
}

static void touch_beyond(Guest *guest)
{
	guest_touch(guest, 0);
	guest_touch(guest, CUT / GUEST_PAGE);
	atomic_store(&guest->report->rounds, 1);
}

Test(pager, what_cannot_be_read_ends_the_vmm_with_a_reason)
{
	cleanup_free PagerState *state = NULL;
	BENCH(bench, small);
	int status;

	pager_bench_start(&bench, touch_beyond, NULL);
	pager_bench_hand_over(&bench);
	cr_assert_eq(truncate(bench.memory, CUT), 0);
	guest_step(&bench.guest);
	status = guest_wait(&bench.guest, wait_max);

	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x",
		  (unsigned)status);
	cr_assert_eq(atomic_load(&bench.guest.report->touched), 1);
	cr_assert_eq(atomic_load(&bench.guest.report->bad), 0);
	state = pager_bench_state(&bench);
	cr_assert_eq(counter_get(&state->failed), 1);
	cr_assert_str_eq(state->failure, "read 4096 bytes at 262144 of the memory file: the file "
					 "has become shorter");
}

static void touch_half_then_wait(Guest *guest)
{
	for (uint64_t page = 0; page < guest->pages; page++) {
		if (page == guest->pages / 2)
			atomic_store(&guest->report->rounds, 1);
		while (atomic_load(&guest->report->rounds) == 1)
			clock_sleep_us(100);
		guest_touch(guest, page);
	}
}

Test(pager, a_fresh_one_takes_over_from_the_dead)
{
	static const char *const options[] = { "--window", "4", NULL };
	cleanup_free PagerState *state = NULL;
	BENCH(bench, holed);

	serve(&bench, touch_half_then_wait, options);
	while (!atomic_load(&bench.guest.report->rounds))
		clock_sleep_us(100);
	pager_bench_kill_pager(&bench);
	atomic_store(&bench.guest.report->rounds, 2);
	clock_sleep_us(50000); /* the guest waits, and must not be told zeros */
	pager_bench_take_over(&bench, options);
	cr_assert_eq(pager_bench_await(&bench, "serving"), 0);

	check_end(&bench);
	state = pager_bench_state(&bench);
	cr_assert_eq(counter_get(&state->counters.takeovers), 1);
}

/* Waits with what it touches until another has taken over. */
static void touch_all_late(Guest *guest)
{
	for (uint64_t page = 0; page < guest->pages; page++)
		if (page < guest->pages / 2 ? !guest_page_is_zero(guest, page)
					    : !guest_page_is_right(guest, page))
			atomic_fetch_add(&guest->report->bad, 1);
}

Test(pager, a_remove_that_the_dead_one_had_read_is_applied_by_the_next)
{
	cleanup_free PagerState *state = NULL;
	BENCH(bench, small);
	struct uffd_msg message = { .event = UFFD_EVENT_REMOVE };
	cleanup_close int fd = -1;
	const Region *region;

	pager_bench_start(&bench, touch_all_late, NULL);
	pager_bench_hand_over(&bench);
	pager_bench_kill_pager(&bench);
	state = pager_bench_state(&bench);
	region = &state->regions.items[0];
	message.arg.remove.start = region->address;
	message.arg.remove.end = region->address + region->size / 2;
	fd = open(bench.state, O_RDWR | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, &message, sizeof message, offsetof(PagerState, messages[5])),
		     (ssize_t)sizeof message);
	pager_bench_take_over(&bench, NULL);
	guest_step(&bench.guest);

	check_end(&bench);
	cr_assert_eq(pread(fd, &message, sizeof message, offsetof(PagerState, messages[5])),
		     (ssize_t)sizeof message);
	cr_assert_eq(message.event, 0);
}

Test(pager, one_that_died_before_the_vmm_came_is_replaced_by_one_that_listens)
{
	BENCH(bench, small);

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	pager_bench_kill_pager(&bench);
	pager_bench_take_over(&bench, NULL);
	cr_assert_eq(pager_bench_await(&bench, "listening"), 0);
	pager_bench_hand_over(&bench);
	guest_step(&bench.guest);

	check_end(&bench);
}

/* Better no VM than one that hangs. */
Test(pager, one_that_died_before_it_wrote_anything_down_cannot_be_replaced)
{
	BENCH(bench, small);
	int status;

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	pager_bench_hand_over(&bench);
	pager_bench_kill_pager(&bench);
	cr_assert_eq(unlink(bench.state), 0);
	pager_bench_take_over(&bench, NULL);
	status = pager_bench_wait_pager(&bench, wait_max);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x", (unsigned)status);
}

Test(pager, it_ends_with_the_vmm)
{
	BENCH(bench, small);
	int status;

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	pager_bench_hand_over(&bench);
	(void)kill(bench.guest.id.pid, SIGKILL);
	status = pager_bench_wait_pager(&bench, wait_max);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}

Test(pager, it_ends_with_a_vmm_that_never_came)
{
	BENCH(bench, small);
	int status;

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	(void)kill(bench.guest.id.pid, SIGKILL);
	status = pager_bench_wait_pager(&bench, wait_max);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned)status);
}

Test(pager, signals_that_ask_it_to_end_are_ignored)
{
	BENCH(bench, small);

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	pager_bench_hand_over(&bench);
	(void)kill(bench.pager, SIGTERM);
	(void)kill(bench.pager, SIGINT);
	(void)kill(bench.pager, SIGHUP);
	guest_step(&bench.guest);

	check_end(&bench);
}

static bool status_has(pid_t pid, const char *line)
{
	cleanup_free char *path = text_printf("/proc/%d/status", (int)pid);
	cleanup_free char *status = NULL;

	cr_assert_eq(file_read(&status, NULL, path, 65536), 0);
	return strstr(status, line);
}

Test(pager, it_has_given_up_what_it_does_not_need_before_it_serves)
{
	BENCH(bench, small);

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	pager_bench_hand_over(&bench);

	cr_assert(status_has(bench.pager, "\nNoNewPrivs:\t1\n"));
	cr_assert(status_has(bench.pager, "\nSeccomp:\t2\n"));
	cr_assert(status_has(bench.pager, "\nCapEff:\t0000000000000020\n")); /* CAP_KILL */
	cr_assert(status_has(bench.pager, "\nCapPrm:\t0000000000000020\n"));
	guest_step(&bench.guest);
	check_end(&bench);
}

Test(pager, strangers_are_turned_away)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	BENCH(bench, small);
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	text_copy(address.sun_path, sizeof address.sun_path, bench.socket);
	cr_assert_eq(connect(fd, (const void *)&address, sizeof address), 0);
	cr_assert_eq(read(fd, &byte, 1), 0);
	pager_bench_hand_over(&bench);
	guest_step(&bench.guest);

	check_end(&bench);
}

Test(pager, a_state_file_of_another_vmm_is_not_taken_over)
{
	BENCH(bench, small);
	int status;

	pager_bench_start(&bench, guest_touch_in_order, NULL);
	pager_bench_hand_over(&bench);
	pager_bench_kill_pager(&bench);
	cr_assert_eq(truncate(bench.state, sizeof(PagerState)), 0);
	pager_bench_take_over(&bench, NULL);
	status = pager_bench_wait_pager(&bench, wait_max);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x", (unsigned)status);
}
