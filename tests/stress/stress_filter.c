/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Threads that exchange policies, add and forget VMs and tidy up, while others send: what every
 * policy allows passes each time, what none of them does never.
 */

#include "tests/support/filter_bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum {
	SLOTS_FOR = 512, /* VMs: an exchanged policy needs its slot for a second */
	FLIPS = 300,
	ROUNDS = 200,
	WEB = 80,
	NEVER = 81,
	OTHERS = 1000,
};

static FilterBench bench;
static atomic_bool done;
static atomic_uint failed, lost, leaked, sent;

static FilterTable *table_of(uint16_t port)
{
	const EgressPort ports[] = { { EGRESS_TCP, WEB, WEB }, { EGRESS_TCP, port, port } };
	const EgressRule rules[] = { { .ports = ports, .port_count = array_size(ports) } };
	const EgressPolicy policy = { rules, 1 };
	FilterTable *table = NULL;
	Error err = { 0 };

	if (filter_table_new(&table, &policy, NULL, 0, &err) < 0)
		abort();
	return table;
}

static void check(int r, const Error *err)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "%s\n", err->what);
	atomic_fetch_add(&failed, 1);
}

/* Each thread has its VM, and the policies of both are the same now and then. */
static void *flip(void *user)
{
	uint32_t tap = *(const uint32_t *)user;

	for (int i = 0; i < FLIPS; i++) {
		cleanup_(filter_table_freep) FilterTable *table =
			table_of((uint16_t)(OTHERS + i + (int)(tap & 1) * FLIPS / 2));
		Error err = { 0 };

		check(filter_set_policy(bench.filter, tap, table, &err), &err);
	}
	return NULL;
}

static void *send_packets(void *user)
{
	uint32_t tap = *(const uint32_t *)user;

	for (uint16_t port = 1; !atomic_load(&done); port++) {
		FrameSpec spec = { .target = "192.0.2.1",
				   .protocol = EGRESS_TCP,
				   .source_port = port,
				   .target_port = WEB,
				   .tcp = FRAME_TCP_SYN };
		Frame web = frame_make(&spec), after;

		spec.target_port = NEVER;
		Frame never = frame_make(&spec);

		if (filter_bench_act(&bench, tap, false, &web, &after) != FILTER_BENCH_PASSED)
			atomic_fetch_add(&lost, 1);
		if (filter_bench_act(&bench, tap, false, &never, &after) != FILTER_BENCH_DROPPED)
			atomic_fetch_add(&leaked, 1);
		atomic_fetch_add(&sent, 1);
	}
	return NULL;
}

static void ignore_vm(void *user, uint32_t ifindex, uint32_t slot)
{
	(void)user;
	(void)ifindex;
	(void)slot;
}

static void *come_and_go(void *user)
{
	cleanup_(filter_table_freep) FilterTable *table = table_of(OTHERS);
	FilterVm vm = filter_bench_vm(&bench, 2);

	(void)user;
	for (int i = 0; i < ROUNDS; i++) {
		const FilterProbe probe = { .protocol = EGRESS_TCP,
					    .target = { 4, 32, { 192, 0, 2, 1 } },
					    .target_port = WEB };
		struct filter_counters from, to;
		Error err = { 0 };
		int verdict;

		check(filter_add_vm(bench.filter, &vm, table, &err), &err);
		check(filter_explain(bench.filter, vm.ifindex, &probe, &verdict, &err), &err);
		check(filter_counters(bench.filter, vm.slot, &from, &to, &err), &err);
		check(filter_each_vm(bench.filter, ignore_vm, NULL), &err);
		filter_tend(bench.filter);
		check(filter_remove_vm(bench.filter, vm.ifindex, &err), &err);
	}
	return NULL;
}

static void start(pthread_t *ret, void *(*work)(void *user), void *user)
{
	if (pthread_create(ret, NULL, work, user) != 0)
		abort();
}

static void run_threads(void)
{
	pthread_t flippers[2], senders[2], other;

	for (uint32_t i = 0; i < 2; i++) {
		start(&senders[i], send_packets, &bench.taps[i]);
		start(&flippers[i], flip, &bench.taps[i]);
	}
	start(&other, come_and_go, NULL);
	(void)pthread_join(other, NULL);
	for (uint32_t i = 0; i < 2; i++)
		(void)pthread_join(flippers[i], NULL);
	atomic_store(&done, true);
	for (uint32_t i = 0; i < 2; i++)
		(void)pthread_join(senders[i], NULL);
}

int main(void)
{
	const char *lacking = filter_bench_open(&bench, SLOTS_FOR);

	if (lacking) {
		(void)printf("skipped: %s\n", lacking);
		return 0;
	}
	for (uint32_t i = 0; i < 2; i++) {
		cleanup_(filter_table_freep) FilterTable *table = table_of(OTHERS);
		FilterVm vm = filter_bench_vm(&bench, i);
		Error err = { 0 };

		check(filter_add_vm(bench.filter, &vm, table, &err), &err);
	}

	run_threads();

	filter_bench_close(&bench);
	(void)printf("%u sent, %u lost, %u leaked, %u calls failed\n", sent, lost, leaked, failed);
	return lost || leaked || failed || sent < FLIPS;
}
