/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The cost of a packet, each way of filtering in a process and a namespace of its own, which take
 * turns: so that what else the machine does meets all of them alike.
 */

#include "tests/bench/egress/bed.h"
#include "tests/bench/egress/measures.h"
#include "tests/bench/egress/policy.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum {
	ROOM = 1200,       /* VMs, of the filter */
	NO_LINK = 1 << 20, /* indexes from here on are no interface's */
};

typedef enum Kind {
	KIND_NONE,
	KIND_BPF,
	KIND_IPTABLES,
} Kind;

typedef struct Variant {
	const char *name;
	Kind kind;
	unsigned rules, vms;
	BedTraffic traffic;
	unsigned packets; /* a round */
} Variant;

/* clang-format off */
static const Variant variants[] = {
	{ "none",                         KIND_NONE,     0,     0,    BED_ONE_FLOW,  20000 },
	{ "bpf, 10 rules",                KIND_BPF,      10,    1,    BED_ONE_FLOW,  20000 },
	{ "bpf, 100 rules",               KIND_BPF,      100,   1,    BED_ONE_FLOW,  20000 },
	{ "bpf, 1000 rules",              KIND_BPF,      1000,  1,    BED_ONE_FLOW,  20000 },
	{ "bpf, 10000 rules",             KIND_BPF,      10000, 1,    BED_ONE_FLOW,  20000 },
	{ "bpf, 1000 VMs",                KIND_BPF,      10,    1000, BED_ONE_FLOW,  20000 },
	{ "bpf, denied",                  KIND_BPF,      10,    1,    BED_DENIED,    20000 },
	{ "none, new flows",              KIND_NONE,     0,     0,    BED_NEW_FLOWS, 5000 },
	{ "bpf, new flows, 1000 rules",   KIND_BPF,      1000,  1,    BED_NEW_FLOWS, 5000 },
	{ "iptables, new flows, 1000 rules", KIND_IPTABLES, 1000, 1,  BED_NEW_FLOWS, 2000 },
	{ "bpf, new flows, 1000 VMs",     KIND_BPF,      10,    1000, BED_NEW_FLOWS, 5000 },
	{ "iptables, new flows, 1000 VMs", KIND_IPTABLES, 10,   1000, BED_NEW_FLOWS, 2000 },
};
/* clang-format on */

typedef struct Worker {
	pid_t pid;
	int ask, answer;
} Worker;

static void add_vms(const Bed *bed, const Variant *variant)
{
	for (unsigned i = 0; i < variant->vms; i++) {
		cleanup_(filter_table_freep) FilterTable *table =
			policy_table(variant->rules, (int)i);
		FilterVm vm = bed_vm(i ? NO_LINK + i : bed->ifindex, i);
		Error err = { 0 };

		bed_check(filter_add_vm(bed->filter, &vm, table, &err), &err);
	}
}

static Bed set_up(const Variant *variant)
{
	Bed bed = { .tap = -1 };

	bed_enter();
	if (variant->kind == KIND_BPF)
		bed_open_filter(&bed, ROOM);
	bed_open_tap(&bed, variant->kind == KIND_BPF);
	if (variant->kind == KIND_BPF)
		add_vms(&bed, variant);
	else if (variant->kind == KIND_IPTABLES)
		policy_iptables(variant->vms, variant->rules);
	(void)bed_send(&bed, variant->traffic, variant->packets / 4);
	return bed;
}

/* Every byte that is read asks for one round. */
static void work(const Variant *variant, int ask, int answer)
{
	const Bed bed = set_up(variant);
	char byte = 0;

	do {
		double ns = byte ? bed_send(&bed, variant->traffic, variant->packets) : 0;

		if (write(answer, &ns, sizeof ns) != sizeof ns)
			exit(1);
	} while (read(ask, &byte, 1) == 1);
	exit(0);
}

static double hear(const Worker *worker, const Variant *variant)
{
	double ns;

	if (read(worker->answer, &ns, sizeof ns) == sizeof ns)
		return ns;
	(void)fprintf(stderr, "bench_egress: '%s' has ended\n", variant->name);
	exit(1);
}

static Worker begin(const Variant *variant)
{
	int ask[2], answer[2];
	Worker worker;

	if (pipe(ask) < 0 || pipe(answer) < 0)
		abort();
	worker = (Worker){ fork(), ask[1], answer[0] };
	if (worker.pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)close(ask[1]);
		work(variant, ask[0], answer[1]);
	}
	(void)close(ask[0]);
	(void)close(answer[1]);
	(void)hear(&worker, variant); /* it is set up */
	return worker;
}

void measure_packets(unsigned rounds)
{
	Worker workers[array_size(variants)];

	for (size_t i = 0; i < array_size(variants); i++)
		workers[i] = begin(&variants[i]);
	for (unsigned round = 0; round < rounds; round++)
		for (size_t n = 0; n < array_size(variants); n++) {
			size_t i = (n + round) % array_size(variants);

			if (write(workers[i].ask, "1", 1) != 1)
				abort();
			measure_tell("packet", variants[i].name, hear(&workers[i], &variants[i]));
		}
	/* Each has the others' pipes, so that none would see its own end. */
	for (size_t i = 0; i < array_size(variants); i++) {
		(void)kill(workers[i].pid, SIGKILL);
		(void)waitpid(workers[i].pid, NULL, 0);
	}
}
