/* SPDX-License-Identifier: Apache-2.0 */

/* What it costs to change what is in force, in microseconds of the wall clock. */

#include "base/file.h"
#include "netfw/tap.h"
#include "tests/bench/egress/bed.h"
#include "tests/bench/egress/measures.h"
#include "tests/bench/egress/policy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum {
	VMS = 1000,
	ROOM = 4096,
	RULES = 100,
	FEW = 10,
	NO_LINK = 1 << 20,
	GROUP = 100, /* taps that are removed together */
	MEMINFO_MAX = 65536,
	FIRST_SENT = 1000, /* packets before the first exchange */
	AT_ONCE = 100,
};

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Kilobytes. */
static double available(void)
{
	cleanup_free char *text = NULL;
	const char *line;

	if (file_read(&text, NULL, "/proc/meminfo", MEMINFO_MAX) < 0)
		abort();
	line = strstr(text, "MemAvailable:");
	return line ? strtod(line + strlen("MemAvailable:"), NULL) : 0;
}

/* VM @number, with @rules of its own: from its policy on. The first one is the tap's. */
static double add_vm(const Bed *bed, unsigned number, unsigned rules)
{
	double begun = now_us();
	cleanup_(filter_table_freep) FilterTable *table = policy_table(rules, (int)number);
	FilterVm vm = bed_vm(number ? NO_LINK + number : bed->ifindex, number);
	Error err = { 0 };

	bed_check(filter_add_vm(bed->filter, &vm, table, &err), &err);
	return now_us() - begun;
}

static void measure_explanations(const Bed *bed, unsigned count)
{
	FilterProbe probe = { .protocol = EGRESS_UDP,
			      .source_port = BED_GUEST_PORT,
			      .target_port = BED_TARGET_PORT };

	if (prefix_parse_address(&probe.target, BED_TARGET) < 0)
		abort();
	for (unsigned i = 0; i < count; i++) {
		double begun = now_us();
		Error err = { 0 };
		int verdict;

		bed_check(filter_explain(bed->filter, bed->ifindex, &probe, &verdict, &err), &err);
		measure_tell("explain", "bpf", now_us() - begun);
	}
}

/* To one of two policies in turn; and each time to one that nobody has had. */
static void measure_exchanges(const Bed *bed, unsigned count)
{
	cleanup_(filter_table_freep) FilterTable *first = policy_table(RULES, ROOM);
	cleanup_(filter_table_freep) FilterTable *second = policy_table(RULES, ROOM + 1);

	for (unsigned i = 0; i < count; i++) {
		double begun = now_us();
		Error err = { 0 };

		bed_check(
			filter_set_policy(bed->filter, bed->ifindex, i % 2 ? first : second, &err),
			&err);
		measure_tell("flip", "known", now_us() - begun);
	}
	for (unsigned i = 0; i < count; i++) {
		double begun = now_us();
		cleanup_(filter_table_freep) FilterTable *table =
			policy_table(RULES, (int)(ROOM + 2 + i));
		Error err = { 0 };

		bed_check(filter_set_policy(bed->filter, bed->ifindex, table, &err), &err);
		measure_tell("flip", "new, 100 rules", now_us() - begun);
	}
}

void measure_policies(unsigned count)
{
	Bed bed = { .tap = -1 };
	double before;

	bed_enter();
	bed_open_filter(&bed, ROOM);
	bed_open_tap(&bed, true);
	before = available();
	for (unsigned i = 0; i < VMS; i++)
		(void)add_vm(&bed, i, RULES);
	measure_tell("memory", "kB a VM of 100 rules", (before - available()) / VMS);
	for (unsigned i = 0; i < count; i++)
		measure_tell("add", "bpf", add_vm(&bed, VMS + i, RULES));
	measure_explanations(&bed, count);
	measure_exchanges(&bed, count);
	filter_close(bed.filter);
}

typedef struct Sender {
	Bed bed;
	atomic_uint sent;
	atomic_bool done;
} Sender;

static void *send_on(void *user)
{
	Sender *sender = user;

	while (!atomic_load(&sender->done)) {
		(void)bed_send(&sender->bed, BED_ONE_FLOW, AT_ONCE);
		atomic_fetch_add(&sender->sent, AT_ONCE);
	}
	return NULL;
}

/* What the filter has let through of the VM, and what not. */
static void count(const Bed *bed, double *passed, double *dropped)
{
	struct filter_counters from, to;
	Error err = { 0 };

	bed_check(filter_counters(bed->filter, 0, &from, &to, &err), &err);
	*passed = *dropped = 0;
	for (int i = 0; i < FILTER_VERDICT_COUNT_; i++)
		*(i < FILTER_FIRST_DROP ? passed : dropped) += (double)from.packets[i];
}

void measure_flips(unsigned flips)
{
	Sender sender = { .bed.tap = -1 };
	cleanup_(filter_table_freep) FilterTable *first = policy_table(RULES, 0);
	cleanup_(filter_table_freep) FilterTable *second = policy_table(RULES, 1);
	FilterVm vm;
	pthread_t thread;
	double passed, dropped;
	Error err = { 0 };
	unsigned before;

	bed_enter();
	bed_open_filter(&sender.bed, FEW);
	bed_open_tap(&sender.bed, true);
	vm = bed_vm(sender.bed.ifindex, 0);
	bed_check(filter_add_vm(sender.bed.filter, &vm, first, &err), &err);
	if (pthread_create(&thread, NULL, send_on, &sender) != 0)
		abort();
	while (atomic_load(&sender.sent) < FIRST_SENT)
		(void)sched_yield();
	before = atomic_load(&sender.sent);
	for (unsigned i = 1; i <= flips; i++) {
		double begun = now_us();

		bed_check(filter_set_policy(sender.bed.filter, sender.bed.ifindex,
					    i % 2 ? second : first, &err),
			  &err);
		measure_tell("flip", "under load", now_us() - begun);
	}
	before = atomic_load(&sender.sent) - before;
	atomic_store(&sender.done, true);
	(void)pthread_join(thread, NULL);
	count(&sender.bed, &passed, &dropped);
	measure_tell("lost", "sent meanwhile", before);
	measure_tell("lost", "lost", atomic_load(&sender.sent) - passed);
	measure_tell("lost", "dropped", dropped);
}

void measure_iptables(unsigned count)
{
	bed_enter();
	policy_iptables(VMS, FEW);
	for (unsigned i = 0; i < count; i++) {
		double begun = now_us();

		policy_iptables_add(RULES);
		measure_tell("add", "iptables", now_us() - begun);
		policy_iptables_remove();
	}
}

static void name_tap(char ret[static TAP_NAME_MAX], unsigned number)
{
	(void)snprintf(ret, TAP_NAME_MAX, "h%012x-0", number);
}

static void add_tap(unsigned number)
{
	char name[TAP_NAME_MAX];
	const TapConfig made = { .name = name, .owner = (uid_t)-1 };
	static const uint8_t mac[] = { 2, 0, 0, 0, 0, 1 };
	const LinkTap tap = {
		.name = name,
		.mac = mac,
		.filtered = true,
		.guest_mac = mac,
		.address4 = { 4, 32, { 10, 1, (uint8_t)(number >> 8), (uint8_t)number } },
	};
	double begun = now_us();
	uint32_t index;
	Error err = { 0 };

	name_tap(name, number);
	bed_check(tap_add(&made, &err), &err);
	bed_check(link_up(&index, &bed_links, &tap, &err), &err);
	measure_tell("tap", "made and configured", now_us() - begun);
}

static void remove_taps(unsigned first)
{
	char names[GROUP][TAP_NAME_MAX];
	const char *all[GROUP];
	double begun;
	Error err = { 0 };

	for (unsigned i = 0; i < GROUP; i++) {
		name_tap(names[i], first + i);
		all[i] = names[i];
	}
	begun = now_us();
	bed_check(link_remove(&bed_links, all, GROUP, &err), &err);
	measure_tell("tap", "removed, a hundred at once", (now_us() - begun) / GROUP);
}

void measure_taps(unsigned count)
{
	Bed bed = { .tap = -1 };

	bed_enter();
	bed_open_filter(&bed, ROOM);
	for (unsigned i = 0; i < count * GROUP; i++)
		add_tap(i);
	for (unsigned i = 0; i < count; i++)
		remove_taps(i * GROUP);
	filter_close(bed.filter);
}
