/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The programs against what is simpler than they are: policies read rule by rule, and frames of any
 * kind, of which none may pass with an address that is not the VM's.
 */

#include "netfw/egress_policy.h"
#include "tests/support/random_policy.h"
#include "tests/unit/filter_fixture.h"

#include <stdlib.h>

enum {
	POLICIES = 300,
	TARGETS = 60,
	FRAMES = 3000000,
	SHORTEST = FRAME_ETHERNET + 40, /* the kernel runs no program on less */
	LONGEST = 160,
	HEADERS = 94, /* where a change matters most */
	ETHERTYPE = 12,
	IP = FRAME_ETHERNET,
	NEXT_HEADER = IP + 6,
};

/* For every policy a slot of its own. */
static void open_large(void)
{
	open_bench_for(POLICIES);
}

TestSuite(filter_random, .init = open_large, .fini = close_bench, .timeout = 240);

static FilterProbe probe_of(const EgressTarget *target)
{
	return (FilterProbe){ .protocol = target->protocol,
			      .target = target->address,
			      .target_port = target->port };
}

Test(filter_random, any_policy_is_enforced_as_it_is_read_rule_by_rule)
{
	unsigned seed = 20260102;
	size_t allowed = 0;

	for (size_t n = 0; n < POLICIES; n++) {
		cleanup_(filter_table_freep) FilterTable *table = NULL;
		cleanup_free RandomPolicy *random = random_policy_new(&seed);
		Error err = { 0 };

		cr_assert_eq(filter_table_new(&table, &random->policy, random->denied,
					      random->denied_count, &err),
			     0);
		cr_assert_eq(filter_set_policy(bench.filter, bench.taps[0], table, &err), 0, "%s",
			     err.what);

		for (size_t i = 0; i < TARGETS; i++) {
			EgressTarget target = random_policy_target(&seed);
			FilterProbe probe = probe_of(&target);
			bool wanted = egress_policy_find(&random->policy, random->denied,
							 random->denied_count, &target) >= 0;
			int verdict = -1;

			cr_assert_eq(
				filter_explain(bench.filter, bench.taps[0], &probe, &verdict, &err),
				0, "%s", err.what);
			cr_assert_eq(verdict, wanted ? FILTER_PASS_POLICY : FILTER_DROP_POLICY,
				     "policy %zu, target %zu: %s", n, i,
				     filter_verdict_name(verdict));
			allowed += wanted;
		}
	}
	cr_assert_gt(allowed, POLICIES * TARGETS / 20);
	cr_assert_lt(allowed, POLICIES * TARGETS * 19 / 20);
}

/* Of every kind that may pass. */
static size_t seeds(Frame *ret)
{
	static const FrameSpec specs[] = {
		{ .target = "192.0.2.1", .protocol = 6, .target_port = 80, .tcp = 2 },
		{ .target = "192.0.2.1", .protocol = 17, .target_port = 53, .payload = 30 },
		{ .target = "192.0.2.1", .protocol = 1, .icmp_type = 8, .payload = 30 },
		{ .target = "198.51.100.1",
		  .protocol = 17,
		  .payload = 30,
		  .id = 5,
		  .fragment = FRAME_MORE },
		{ .target = "2001:db8:1::1", .protocol = 6, .target_port = 80, .tcp = 2 },
		{ .target = "2001:db8:1::1", .protocol = 58, .icmp_type = 128, .payload = 20 },
		{ .target = "2001:db8:1::1",
		  .protocol = 17,
		  .target_port = 53,
		  .payload = 24,
		  .id = 5,
		  .fragment = FRAME_MORE },
		{ .to_vm = true, .source = FRAME_GATEWAY4, .protocol = 6, .target_port = 22 },
		{ .to_vm = true, .source = FRAME_GATEWAY6, .protocol = 6, .target_port = 22 },
	};
	size_t count = 0;

	for (size_t i = 0; i < array_size(specs); i++)
		ret[count++] = frame_make(&specs[i]);
	ret[count++] = frame_arp(false, 1, FRAME_GUEST4, FRAME_GATEWAY4);
	ret[count++] = frame_arp(false, 1, FRAME_GUEST4, FRAME_GUEST4);
	ret[count++] = frame_nd(false, 135, FRAME_GUEST6, FRAME_GATEWAY6);
	ret[count++] = frame_nd(false, 136, FRAME_LOCAL6, FRAME_GUEST6);
	ret[count++] = frame_nd(true, 136, FRAME_GATEWAY6, FRAME_GATEWAY6);
	return count;
}

static void mutate(Frame *frame, unsigned *seed)
{
	int changes = rand_r(seed) % 4;

	for (int i = 0; i < changes; i++) {
		size_t at = (size_t)rand_r(seed) % HEADERS;

		if (rand_r(seed) % 2)
			frame->bytes[at] = (uint8_t)rand_r(seed);
		else
			frame->bytes[at] ^= (uint8_t)(1U << rand_r(seed) % 8);
	}
	if (rand_r(seed) % 4 == 0)
		frame->size = (size_t)(rand_r(seed) % LONGEST);
	if (frame->size < SHORTEST)
		frame->size = SHORTEST;
}

static bool is_local_nd(const Frame *frame)
{
	const uint8_t *source = frame->bytes + IP + 8, *icmp = frame->bytes + IP + 40;
	bool is_local = source[0] == 0xfe && (source[1] & 0xc0) == 0x80;
	bool is_none = frame_has_source(frame, IP, "::");

	return (is_local || is_none) && frame->bytes[NEXT_HEADER] == 58 && icmp[0] >= 133 &&
	       icmp[0] <= 136 && icmp[0] != 134 && frame->bytes[IP + 7] == 255;
}

static bool is_the_vms(const Frame *frame, const char *address4)
{
	const uint8_t *type = frame->bytes + ETHERTYPE, *arp = frame->bytes + IP;

	if (memcmp(frame->bytes + 6, frame_guest_mac, 6) != 0)
		return false;
	if (type[0] == 0x08 && type[1] == 0x00)
		return frame_has_source(frame, IP, address4) && frame->bytes[IP] == 0x45;
	if (type[0] == 0x86 && type[1] == 0xdd)
		return frame_has_source(frame, IP, FRAME_GUEST6) || is_local_nd(frame);
	return type[0] == 0x08 && type[1] == 0x06 && memcmp(arp + 8, frame_guest_mac, 6) == 0 &&
	       (memcmp(arp + 14, "\12\0\0\2", 4) == 0 || memcmp(arp + 14, "\0\0\0\0", 4) == 0);
}

static bool is_for_the_vm(const Frame *frame)
{
	const uint8_t *type = frame->bytes + ETHERTYPE;
	bool is_gateways = memcmp(frame->bytes + 6, frame_gateway_mac, 6) == 0;

	if (type[0] == 0x08 && type[1] == 0x00)
		return frame_has_target(frame, IP, FRAME_GUEST4);
	if (type[0] == 0x86 && type[1] == 0xdd)
		return frame_has_target(frame, IP, FRAME_GUEST6) ||
		       (is_gateways && frame->bytes[NEXT_HEADER] == 58);
	return is_gateways && type[0] == 0x08 && type[1] == 0x06;
}

/* A second VM, whose address outside is another. */
static void add_nat_vm(void)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	FilterVm vm = filter_bench_vm(&bench, 1);
	Error err = { 0 };
	Prefix host;

	cr_assert_eq(prefix_parse_address(&host, FRAME_HOST4), 0);
	memcpy(vm.host4, host.address, sizeof vm.host4);
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

Test(filter_random, no_frame_passes_that_is_not_the_vms_or_for_it)
{
	Frame known[20];
	size_t count = seeds(known), passed = 0, answered = 0;
	unsigned seed = 20260103;

	add_nat_vm();
	for (size_t i = 0; i < FRAMES; i++) {
		Frame frame = known[(size_t)rand_r(&seed) % count], after = frame;
		bool to_vm = rand_r(&seed) % 4 == 0, nat = rand_r(&seed) % 4 == 0;
		int action;

		mutate(&frame, &seed);
		action = filter_bench_act(&bench, bench.taps[nat], to_vm, &frame, &after);

		passed += action == FILTER_BENCH_PASSED;
		answered += action == FILTER_BENCH_ANSWERED;
		if (action == FILTER_BENCH_PASSED && to_vm)
			cr_assert(is_for_the_vm(&after), "frame %zu", i);
		else if (action == FILTER_BENCH_PASSED)
			cr_assert(is_the_vms(&after, nat ? FRAME_HOST4 : FRAME_GUEST4), "frame %zu",
				  i);
		else if (action == FILTER_BENCH_ANSWERED)
			cr_assert(!to_vm && memcmp(after.bytes, frame_guest_mac, 6) == 0 &&
					  memcmp(after.bytes + 6, frame_gateway_mac, 6) == 0,
				  "frame %zu", i);
		else
			cr_assert_eq(action, FILTER_BENCH_DROPPED, "frame %zu: %d", i, action);
	}
	cr_assert_gt(passed, FRAMES / 10);
	cr_assert_gt(answered, FRAMES / 100);
	cr_assert_lt(passed + answered, FRAMES * 9 / 10);
}
