/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_pager [ROUNDS [MIB]]: hearth-pager beside the algorithm of Firecracker's example, on the
 * same guest: medians of interleaved rounds, every page compared. The memory file is on /dev/shm
 * and of MIB; a quarter of it is touched.
 */

#include "base/text.h"
#include "tests/bench/pager/example.h"
#include "tests/support/pager_bench.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum {
	MIB = 1024 * 1024,
	ROUNDS_MAX = 64,
	USEC = 1000,
	WAIT = 120 * 1000 * 1000
};

static void touch_quarter(Guest *guest)
{
	for (uint64_t page = 0; page < guest->pages / 4; page++)
		guest_touch(guest, page);
}

typedef enum Install {
	INSTALL_NONE,
	INSTALL_BESIDE,
	INSTALL_BEFORE,
} Install;

/* What is measured; a row without a window is the example, against which those below it are. */
static const struct {
	const char *name;
	GuestWork *work;
	const char *window;
	Install install;
} rows[] = {
	{ "in order: example", touch_quarter, NULL, INSTALL_NONE },
	{ "in order: 4 KiB", touch_quarter, "4", INSTALL_NONE },
	{ "in order: window", touch_quarter, "64", INSTALL_NONE },
	{ "scattered: example", guest_touch_scattered, NULL, INSTALL_NONE },
	{ "scattered: 4 KiB", guest_touch_scattered, "4", INSTALL_NONE },
	{ "scattered: window", guest_touch_scattered, "64", INSTALL_NONE },
	{ "clusters: example", guest_touch_clusters, NULL, INSTALL_NONE },
	{ "clusters: window", guest_touch_clusters, "64", INSTALL_NONE },
	{ "clusters: recorded, beside", guest_touch_clusters, "64", INSTALL_BESIDE },
	{ "clusters: recorded, before", guest_touch_clusters, "64", INSTALL_BEFORE },
};

typedef struct Figures {
	double all_ms, stall_ms, install_ms;
	double stalls;
} Figures;

static Figures figures[array_size(rows)][ROUNDS_MAX];

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static Figures end_round(PagerBench *bench, const char *name)
{
	GuestReport *report = bench->guest.report;
	Figures figure;

	if (guest_wait(&bench->guest, WAIT) != 0) {
		(void)fprintf(stderr, "bench_pager: %s: the guest came to no good end\n", name);
		exit(1);
	}
	figure = (Figures){
		.all_ms = (double)atomic_load(&report->all_ns) / 1e6,
		.stall_ms = (double)atomic_load(&report->sum_ns) / 1e6,
		.stalls = (double)atomic_load(&report->stalls),
	};
	pager_bench_end(bench);
	return figure;
}

static Figures run_example(PagerBench *bench, size_t row)
{
	pid_t pid = example_start(bench->socket, bench->memory);
	Figures figure;

	bench->guest = guest_start(&bench->plan, bench->socket, rows[row].work);
	guest_step(&bench->guest);
	(void)usleep(200 * USEC); /* it maps all of the file */
	guest_step(&bench->guest);
	figure = end_round(bench, rows[row].name);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return figure;
}

static Figures run_pager(PagerBench *bench, size_t row)
{
	const char *const options[] = { "--window", rows[row].window,
					rows[row].install ? "--working-set" : NULL,
					bench->working_set, NULL };
	double begun, install_ms = 0;
	Figures figure;

	pager_bench_start(bench, rows[row].work, options);
	begun = now_ms();
	guest_step(&bench->guest);
	if (rows[row].install == INSTALL_BESIDE) {
		if (pager_bench_await(bench, "serving") < 0)
			exit(1);
	} else if (pager_bench_await(bench, "installed") < 0) {
		exit(1);
	}
	install_ms = now_ms() - begun;
	guest_step(&bench->guest);
	figure = end_round(bench, rows[row].name);
	figure.install_ms = rows[row].install == INSTALL_BEFORE ? install_ms : 0;
	return figure;
}

/*
 * Guest and handler on one CPU, where the scheduler mostly leaves them, as one wakes the other;
 * with luck left to it the figures of one row differ by half. To install beside the guest takes
 * another.
 */
static void choose_cpus(bool one)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (size_t i = 0; i < (one ? 1 : CPU_SETSIZE); i++)
		CPU_SET(i, &cpus);
	(void)sched_setaffinity(0, sizeof cpus, &cpus);
}

static void record(PagerBench *bench)
{
	const char *const options[] = { "--window", "4", "--record", bench->working_set, NULL };

	pager_bench_start(bench, guest_touch_clusters, options);
	pager_bench_hand_over(bench);
	guest_step(&bench->guest);
	if (guest_wait(&bench->guest, WAIT) != 0 || pager_bench_wait_pager(bench, WAIT) != 0)
		exit(1);
	pager_bench_end(bench);
}

static int by_value(const void *a, const void *b)
{
	const double *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* The median of the member at @offset of a row's rounds. */
static double median(size_t row, size_t rounds, size_t offset)
{
	double values[ROUNDS_MAX];

	for (size_t i = 0; i < rounds; i++)
		memcpy(&values[i], (const char *)&figures[row][i] + offset, sizeof *values);
	qsort(values, rounds, sizeof *values, by_value);
	return values[rounds / 2];
}

/* The fastest round's, which other work on the machine has delayed least. */
static double best(size_t row, size_t rounds)
{
	double least = figures[row][0].all_ms;

	for (size_t i = 1; i < rounds; i++)
		least = figures[row][i].all_ms < least ? figures[row][i].all_ms : least;
	return least;
}

static void print(size_t rounds, uint64_t pages)
{
	double example = 0, example_best = 0, example_stall = 0;

	(void)printf("%-28s %9s %10s %7s %9s %7s %9s %7s %7s %9s\n", "", "ms", "pages/s", "times",
		     "best", "times", "in touch", "times", "stalls", "install");
	for (size_t i = 0; i < array_size(rows); i++) {
		double ms = median(i, rounds, offsetof(Figures, all_ms));
		double stall = median(i, rounds, offsetof(Figures, stall_ms));

		if (!rows[i].window) {
			example = ms;
			example_best = best(i, rounds);
			example_stall = stall;
		}
		(void)printf("%-28s %9.1f %10.0f %7.2f %9.1f %7.2f %9.1f %7.1f %7.0f %9.1f\n",
			     rows[i].name, ms, (double)pages / ms * 1e3, example / ms,
			     best(i, rounds), example_best / best(i, rounds), stall,
			     example_stall / stall, median(i, rounds, offsetof(Figures, stalls)),
			     median(i, rounds, offsetof(Figures, install_ms)));
	}
}

int main(int argc, char **argv)
{
	size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 5;
	GuestPlan plan = {
		.size = (argc > 2 ? strtoul(argv[2], NULL, 10) : 256) * MIB,
		.page_size = GUEST_PAGE,
		.regions = 1,
	};
	const char *why = guest_cannot(GUEST_PAGE, 0);

	if (why || rounds < 1 || rounds > ROUNDS_MAX || plan.size < MIB) {
		(void)fprintf(stderr, "bench_pager: %s\n", why ? why : "[ROUNDS [MIB]]");
		return 2;
	}
	{
		cleanup_(pager_bench_free) PagerBench bench = pager_bench_new(&plan, "/dev/shm");

		record(&bench);
		for (size_t i = 0; i < rounds; i++)
			for (size_t row = 0; row < array_size(rows); row++) {
				choose_cpus(rows[row].install != INSTALL_BESIDE);
				figures[row][i] = rows[row].window ? run_pager(&bench, row)
								   : run_example(&bench, row);
			}
	}
	print(rounds, plan.size / GUEST_PAGE / 4);
	return 0;
}
