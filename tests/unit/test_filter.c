/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The filter as its user has it: VMs, policies that are exchanged and shared, what another agent
 * adopts, flows that end, budgets, events.
 */

#include "base/clock.h"
#include "netfw/filter_private.h"
#include "tests/unit/filter_fixture.h"

enum {
	TCP = 6,
	UDP = 17,
	OVER_A_SECOND_US = 1100000,
};

#define WEB(port)                                                                                 \
	{                                                                                         \
		.target = "192.0.2.1", .protocol = TCP, .source_port = (port), .target_port = 80, \
		.tcp = FRAME_TCP_SYN                                                              \
	}
#define ANSWER(port)                                                                      \
	{                                                                                 \
		.to_vm = true, .source = "192.0.2.1", .protocol = TCP, .source_port = 80, \
		.target_port = (port), .tcp = FRAME_TCP_ACK                               \
	}

TestSuite(filter, .init = open_bench, .fini = close_bench);

static void add_vm(uint32_t index, const FilterTable *table)
{
	FilterVm vm = filter_bench_vm(&bench, index);
	Error err = { 0 };

	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

static void set_policy(uint32_t index, const FilterTable *table)
{
	Error err = { 0 };

	cr_assert_eq(filter_set_policy(bench.filter, bench.taps[index], table, &err), 0, "%s",
		     err.what);
}

/* TCP to @port of everyone. */
static FilterTable *one_port(uint16_t port)
{
	const EgressPort ports[] = { { EGRESS_TCP, port, port } };
	const EgressRule rules[] = { { .ports = ports, .port_count = 1 } };
	const EgressPolicy policy = { rules, 1 };
	FilterTable *table = NULL;
	Error err = { 0 };

	cr_assert_eq(filter_table_new(&table, &policy, NULL, 0, &err), 0);
	return table;
}

static struct filter_vm entry_of(uint32_t index)
{
	struct filter_vm entry = { 0 };
	Error err = { 0 };

	cr_assert_eq(filter_find_vm(bench.filter, bench.taps[index], &entry, &err), 0, "%s",
		     err.what);
	return entry;
}

static void reopen(uint32_t max_vms)
{
	const FilterConfig config = { FILTER_BENCH_PINS, max_vms };
	Error err = { 0 };

	filter_close(bench.filter);
	bench.filter = NULL;
	cr_assert_eq(filter_open(&bench.filter, &config, &err), 0, "%s", err.what);
}

static void note_vm(void *user, uint32_t ifindex, uint32_t slot)
{
	uint32_t *noted = user;

	noted[0]++;
	noted[1] = ifindex;
	noted[2] = slot;
}

Test(filter, the_next_agent_adopts_vms_policies_flows_and_counters)
{
	const FrameSpec ask = WEB(1), answer = ANSWER(1), other = WEB(2);
	struct filter_counters before, after, unused;
	cleanup_(filter_table_freep) FilterTable *nothing = filter_bench_no_rules();
	uint32_t noted[3] = { 0 };
	Error err = { 0 };

	(void)expect_spec("before", &ask, FILTER_PASS_POLICY);
	cr_assert_eq(filter_counters(bench.filter, 0, &before, &unused, &err), 0);
	reopen(FILTER_BENCH_VMS);

	cr_assert_eq(filter_counters(bench.filter, 0, &after, &unused, &err), 0);
	cr_assert_arr_eq(&after, &before, sizeof before);
	cr_assert_eq(filter_each_vm(bench.filter, note_vm, noted), 0);
	cr_assert_eq(noted[0], 1);
	cr_assert_eq(noted[1], bench.taps[0]);
	cr_assert_eq(noted[2], 0);
	(void)expect_spec("the answer", &answer, FILTER_PASS_REPLY);
	(void)expect_spec("another flow", &other, FILTER_PASS_POLICY);
	set_policy(0, nothing);
	(void)expect_spec("after it is revoked", &ask, FILTER_DROP_POLICY);
}

Test(filter, an_adopted_policy_that_is_asked_for_again_keeps_its_flows)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	const FrameSpec ask = WEB(1);

	(void)expect_spec("before", &ask, FILTER_PASS_POLICY);
	reopen(FILTER_BENCH_VMS);
	add_vm(0, table);

	(void)expect_spec("after", &ask, FILTER_PASS_FLOW);
}

Test(filter, maps_of_another_size_are_made_anew_only_if_no_vm_is_in_them)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	FilterVm vm = filter_bench_vm(&bench, FILTER_BENCH_VMS);
	Error err = { 0 };

	reopen(FILTER_BENCH_VMS + 1);
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), -1);
	cr_assert_eq(err.cause, CAUSE_EXHAUSTED);
	error_clear(&err);
	cr_assert_eq(filter_remove_vm(bench.filter, bench.taps[0], &err), 0, "%s", err.what);
	cr_assert_eq(filter_remove_vm(bench.filter, bench.taps[0], &err), 0, "%s", err.what);
	reopen(FILTER_BENCH_VMS + 1);

	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

Test(filter, what_is_pinned_goes_when_it_is_asked_to)
{
	cr_assert_eq(access(FILTER_BENCH_PINS "/v1/vms", F_OK), 0);

	filter_unpin(FILTER_BENCH_PINS);

	cr_assert_neq(access(FILTER_BENCH_PINS, F_OK), 0);
}

Test(filter, what_cannot_be_opened_is_refused_in_words)
{
	const FilterConfig elsewhere = { "/tmp", 1 }, none = { FILTER_BENCH_PINS "2", 0 };
	Filter *filter = NULL;
	Error err = { 0 };

	cr_assert_eq(filter_open(&filter, &none, &err), -1);
	cr_assert_eq(err.cause, CAUSE_INPUT);
	error_clear(&err);
	cr_assert_eq(filter_open(&filter, &elsewhere, &err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_str_eq(err.what, "/tmp is not on a BPF file system");
	cr_assert_neq(access("/tmp/v1", F_OK), 0);
	cr_assert_null(filter);
}

Test(filter, a_new_policy_keeps_the_flows_it_allows_and_cuts_the_others)
{
	cleanup_(filter_table_freep) FilterTable *table = one_port(80);
	const FrameSpec web = WEB(1), web_answer = ANSWER(1);
	const FrameSpec dns = { .target = "192.0.2.1", .protocol = UDP, .target_port = 53 };
	const FrameSpec dns_answer = {
		.to_vm = true, .source = "192.0.2.1", .protocol = UDP, .source_port = 53
	};

	(void)expect_spec("web", &web, FILTER_PASS_POLICY);
	(void)expect_spec("DNS", &dns, FILTER_PASS_POLICY);
	set_policy(0, table);

	(void)expect_spec("web goes on", &web_answer, FILTER_PASS_REPLY);
	(void)expect_spec("web goes on", &web, FILTER_PASS_FLOW);
	(void)expect_spec("no answer comes", &dns_answer, FILTER_DROP_UNSOLICITED);
	(void)expect_spec("no question goes", &dns, FILTER_DROP_POLICY);
}

Test(filter, vms_of_equal_policies_share_a_slot)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	cleanup_(filter_table_freep) FilterTable *other = one_port(80);

	add_vm(1, table);
	add_vm(2, other);

	cr_assert_eq(entry_of(1).policy, entry_of(0).policy);
	cr_assert_neq(entry_of(2).policy, entry_of(0).policy);
	set_policy(2, table);
	cr_assert_eq(entry_of(2).policy, entry_of(0).policy);
	cr_assert_eq(entry_of(2).generation, 2);
}

Test(filter, when_slots_run_out_the_old_policy_stays)
{
	const FrameSpec ask = WEB(1);
	uint16_t port = 1;
	Error err = { 0 };
	int r = 0;

	/* Each of them is needed for a second more. */
	for (; r == 0 && port < 10 * FILTER_BENCH_VMS; port++) {
		cleanup_(filter_table_freep) FilterTable *table = one_port(port == 5 ? 80 : port);

		r = filter_set_policy(bench.filter, bench.taps[0], table, &err);
		if (port == 2 * FILTER_BENCH_VMS - 1)
			(void)expect_spec("the last that fits", &ask, FILTER_PASS_POLICY);
	}

	cr_assert_eq(r, -1);
	cr_assert_eq(err.cause, CAUSE_EXHAUSTED);
	cr_assert_eq(port, 2 * FILTER_BENCH_VMS + 1);
	(void)expect_spec("as before", &ask, FILTER_PASS_FLOW);
}

static size_t count_keys(FilterMap map, size_t limit)
{
	struct filter_port_key key, next;
	size_t count = 0;

	while (count < limit &&
	       bpf_map_get_next_key(bench.filter->maps[map], count ? &key : NULL, &next) == 0) {
		key = next;
		count++;
	}
	return count;
}

Test(filter, a_slot_that_nobody_uses_is_emptied_a_second_later)
{
	cleanup_(filter_table_freep) FilterTable *nothing = filter_bench_no_rules();
	uint32_t slot = entry_of(0).policy;
	cleanup_close int trie = filter_inner(bench.filter, FILTER_MAP_POLICIES4, slot);
	struct filter_key4 key;

	set_policy(0, nothing);
	filter_tend(bench.filter);
	cr_assert_eq(bpf_map_get_next_key(trie, NULL, &key), 0);
	cr_assert_gt(count_keys(FILTER_MAP_PORTS, 100), 5);
	clock_sleep_us(OVER_A_SECOND_US);
	filter_tend(bench.filter);

	cr_assert_lt(bpf_map_get_next_key(trie, NULL, &key), 0);
	cr_assert_eq(count_keys(FILTER_MAP_PORTS, 100), 0);
}

Test(filter, a_slot_used_again_has_no_flows_and_counters_of_the_vm_before)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	FilterVm vm = filter_bench_vm(&bench, 1);
	const FrameSpec ask = WEB(1), answer = ANSWER(1);
	struct filter_counters from, to;
	Error err = { 0 };

	(void)expect_spec("the VM before", &ask, FILTER_PASS_POLICY);
	add_vm(0, table);
	(void)expect_spec("described again", &answer, FILTER_PASS_REPLY);
	cr_assert_eq(filter_remove_vm(bench.filter, bench.taps[0], &err), 0, "%s", err.what);
	vm.ifindex = bench.taps[0];
	vm.slot = 0;
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);

	cr_assert_eq(filter_counters(bench.filter, 0, &from, &to, &err), 0);
	cr_assert_eq(from.packets[FILTER_PASS_POLICY] + to.packets[FILTER_PASS_REPLY], 0);
	cr_assert_eq(from.passed_bytes, 0);
	(void)expect_spec("its answer", &answer, FILTER_DROP_UNSOLICITED);
}

Test(filter, a_vm_that_is_forgotten_sends_and_gets_nothing)
{
	const FrameSpec spec = WEB(1);
	Frame frame = frame_make(&spec);
	Error err = { 0 };

	cr_assert_eq(filter_remove_vm(bench.filter, bench.taps[0], &err), 0, "%s", err.what);

	cr_assert_eq(filter_bench_run(&bench, bench.taps[0], false, &frame).verdict,
		     FILTER_DROP_UNKNOWN);
}

Test(filter, without_a_policy_nothing_new_passes)
{
	struct filter_vm entry = entry_of(0);
	const FrameSpec four = WEB(1);
	const FrameSpec six = { .target = "2001:db8:1::1", .protocol = TCP, .target_port = 80 };

	entry.policy = UINT32_MAX;
	cr_assert_eq(bpf_map_update_elem(bench.filter->maps[FILTER_MAP_VMS], &bench.taps[0], &entry,
					 BPF_ANY),
		     0);

	(void)expect_spec("IPv4", &four, FILTER_DROP_NO_POLICY);
	(void)expect_spec("IPv6", &six, FILTER_DROP_NO_POLICY);
}

/* As if nothing had used its flows for @seconds. */
static void age_flows(uint32_t slot, uint64_t seconds)
{
	cleanup_close int map = filter_inner(bench.filter, FILTER_MAP_FLOWS, slot);
	struct filter_flow_key key, next, *at = NULL;
	struct filter_flow flow;

	for (int n = 0; n < FILTER_FLOWS && bpf_map_get_next_key(map, at, &next) == 0; n++) {
		key = next;
		at = &key;
		cr_assert_eq(bpf_map_lookup_elem(map, &key, &flow), 0);
		flow.seen -= seconds * 1000000000U;
		cr_assert_eq(bpf_map_update_elem(map, &key, &flow, BPF_EXIST), 0);
	}
}

static size_t count_flows(uint32_t slot)
{
	cleanup_close int map = filter_inner(bench.filter, FILTER_MAP_FLOWS, slot);
	struct filter_flow_key key, next;
	size_t count = 0;

	while (count < FILTER_FLOWS && bpf_map_get_next_key(map, count ? &key : NULL, &next) == 0) {
		key = next;
		count++;
	}
	return count;
}

Test(filter, a_flow_past_its_time_is_as_none_and_is_tidied_away)
{
	const FrameSpec dns = { .target = "192.0.2.1", .protocol = UDP, .target_port = 53 };
	const FrameSpec answer = {
		.to_vm = true, .source = "192.0.2.1", .protocol = UDP, .source_port = 53
	};

	(void)expect_spec("a question", &dns, FILTER_PASS_POLICY);
	age_flows(0, FILTER_SECONDS_UDP - 5);
	(void)expect_spec("just in time", &answer, FILTER_PASS_REPLY);
	age_flows(0, FILTER_SECONDS_UDP + 1);
	(void)expect_spec("too late", &answer, FILTER_DROP_UNSOLICITED);
	(void)expect_spec("asked again", &dns, FILTER_PASS_POLICY);
	filter_tend(bench.filter);
	cr_assert_eq(count_flows(0), 1);
	age_flows(0, FILTER_SECONDS_UDP + 1);
	filter_tend(bench.filter);

	cr_assert_eq(count_flows(0), 0);
}

Test(filter, tcp_lasts_long_once_it_is_answered_and_not_once_it_closes)
{
	FrameSpec ask = WEB(1), answer = ANSWER(1);

	(void)expect_spec("SYN", &ask, FILTER_PASS_POLICY);
	age_flows(0, FILTER_SECONDS_TCP_OPENING + 1);
	(void)expect_spec("nobody has answered", &ask, FILTER_PASS_POLICY);
	(void)expect_spec("an answer", &answer, FILTER_PASS_REPLY);
	age_flows(0, FILTER_SECONDS_TCP - 5);
	ask.tcp = FRAME_TCP_ACK;
	(void)expect_spec("hours later", &ask, FILTER_PASS_FLOW);
	answer.tcp = FRAME_TCP_ACK | FRAME_TCP_FIN;
	(void)expect_spec("the end", &answer, FILTER_PASS_REPLY);
	(void)expect_spec("its acknowledgement", &ask, FILTER_PASS_FLOW);
	age_flows(0, FILTER_SECONDS_TCP_CLOSING + 1);

	(void)expect_spec("after the end", &answer, FILTER_DROP_UNSOLICITED);
}

Test(filter, a_port_used_again_after_the_end_is_a_new_flow)
{
	FrameSpec ask = WEB(1), answer = ANSWER(1);

	(void)expect_spec("SYN", &ask, FILTER_PASS_POLICY);
	answer.tcp = FRAME_TCP_RST;
	(void)expect_spec("RST", &answer, FILTER_PASS_REPLY);
	answer.tcp = FRAME_TCP_SYN;
	(void)expect_spec("the other side's SYN", &answer, FILTER_DROP_UNSOLICITED);

	(void)expect_spec("SYN again", &ask, FILTER_PASS_POLICY);
}

Test(filter, new_flows_have_a_budget_and_known_ones_do_not)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	FilterVm vm = filter_bench_vm(&bench, 1);
	size_t passed = 0;
	Error err = { 0 };

	vm.new_flows = 3;
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
	for (uint16_t port = 1; port <= 100; port++) {
		FrameSpec spec = WEB(port), first = WEB(1);
		Frame frame = frame_make(&spec), known = frame_make(&first);
		FilterOutcome outcome = filter_bench_run(&bench, bench.taps[1], false, &frame);

		passed += outcome.verdict == FILTER_PASS_POLICY;
		if (outcome.verdict != FILTER_PASS_POLICY)
			cr_assert_eq(outcome.verdict, FILTER_DROP_NEW_FLOWS);
		cr_assert_eq(filter_bench_run(&bench, bench.taps[1], false, &known).verdict,
			     FILTER_PASS_FLOW);
	}

	cr_assert_geq(passed, 3);
	cr_assert_lt(passed, 50);
}

typedef struct Noted {
	size_t count;
	uint64_t suppressed;
	struct filter_event last;
} Noted;

static void note_event(void *user, const struct filter_event *event)
{
	Noted *noted = user;

	noted->count++;
	noted->suppressed += event->suppressed;
	noted->last = *event;
}

Test(filter, denied_packets_are_events_and_none_is_forgotten)
{
	enum {
		DENIED = 5 * FILTER_EVENTS_A_SECOND
	};
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	const FrameSpec spec = {
		.target = "192.0.2.1", .protocol = TCP, .source_port = 1234, .target_port = 81
	};
	Frame frame = frame_make(&spec), after;
	FilterVm vm = filter_bench_vm(&bench, 1);
	Noted noted = { 0 };
	Error err = { 0 };

	(void)filter_bench_act(&bench, bench.taps[0], false, &frame, &after); /* has no log */
	vm.log = true;
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
	for (int i = 0; i < DENIED; i++)
		(void)filter_bench_act(&bench, bench.taps[1], false, &frame, &after);
	clock_sleep_us(OVER_A_SECOND_US);
	(void)filter_bench_explain(&bench, bench.taps[1], false, &frame);
	(void)filter_bench_act(&bench, bench.taps[1], false, &frame, &after);

	cr_assert_eq(filter_events_read(bench.filter, note_event, &noted), 0);

	cr_assert_eq(noted.count + noted.suppressed, DENIED + 1);
	cr_assert_geq(noted.count, FILTER_EVENTS_A_SECOND);
	cr_assert_gt(noted.last.suppressed, 0);
	cr_assert_eq(noted.last.ifindex, bench.taps[1]);
	cr_assert_eq(noted.last.slot, 1);
	cr_assert_eq(noted.last.verdict, FILTER_DROP_POLICY);
	cr_assert_eq(noted.last.protocol, TCP);
	cr_assert_eq(noted.last.family, 4);
	cr_assert_eq(noted.last.source_port, 1234);
	cr_assert_eq(noted.last.target_port, 81);
	cr_assert_eq(noted.last.length, frame.size);
	cr_assert_arr_eq(noted.last.target, "\300\0\2\1", 4);
	noted = (Noted){ 0 };
	cr_assert_eq(filter_events_read(bench.filter, note_event, &noted), 0);
	cr_assert_eq(noted.count, 0);
}
