/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Questions about packets that nobody has sent.
 */

#include "netfw/egress_policy.h"
#include "tests/unit/filter_fixture.h"

TestSuite(filter_explain, .init = open_bench, .fini = close_bench);

static Prefix at(const char *text)
{
	Prefix prefix = { 0 };

	cr_assert_eq(prefix_parse_address(&prefix, text), 0);
	return prefix;
}

static int ask(const FilterProbe *probe)
{
	Error err = { 0 };
	int verdict = -1;

	cr_assert_eq(filter_explain(bench.filter, bench.taps[0], probe, &verdict, &err), 0, "%s",
		     err.what);
	return verdict;
}

Test(filter_explain, answers_are_as_the_packet_would_fare_in_either_direction)
{
	const FilterProbe web = { .protocol = EGRESS_TCP,
				  .target = at("192.0.2.1"),
				  .target_port = 80 };
	const FilterProbe other = { .protocol = EGRESS_TCP,
				    .target = at("192.0.2.1"),
				    .target_port = 81 };
	const FilterProbe ping = { .protocol = EGRESS_ICMPV6, .target = at("2001:db8:1::1") };
	const FilterProbe spoofed = { .protocol = EGRESS_TCP,
				      .source = at("10.0.0.3"),
				      .target = at("192.0.2.1"),
				      .target_port = 80 };
	const FilterProbe unasked = {
		.to_vm = true, .protocol = EGRESS_TCP, .source = at("192.0.2.1"), .source_port = 80
	};
	const FilterProbe gateway = { .to_vm = true,
				      .protocol = EGRESS_ICMP,
				      .source = at(FRAME_GATEWAY4) };
	const FilterProbe gateway6 = { .to_vm = true,
				       .protocol = EGRESS_ICMPV6,
				       .source = at(FRAME_GATEWAY6) };

	cr_expect_eq(ask(&web), FILTER_PASS_POLICY);
	cr_expect_eq(ask(&other), FILTER_DROP_POLICY);
	cr_expect_eq(ask(&ping), FILTER_PASS_POLICY);
	cr_expect_eq(ask(&spoofed), FILTER_DROP_SOURCE);
	cr_expect_eq(ask(&unasked), FILTER_DROP_UNSOLICITED);
	cr_expect_eq(ask(&gateway), FILTER_PASS_GATEWAY);
	cr_expect_eq(ask(&gateway6), FILTER_PASS_GATEWAY);
}

Test(filter_explain, asking_changes_nothing)
{
	const FilterProbe web = { .protocol = EGRESS_TCP,
				  .target = at("192.0.2.1"),
				  .target_port = 80 };
	struct filter_counters from, to;
	Error err = { 0 };

	cr_assert_eq(ask(&web), FILTER_PASS_POLICY);
	cr_assert_eq(ask(&web), FILTER_PASS_POLICY);

	cr_assert_eq(filter_counters(bench.filter, 0, &from, &to, &err), 0);
	for (int i = 0; i < FILTER_VERDICT_COUNT_; i++)
		cr_assert_eq(from.packets[i] + to.packets[i], 0);
}

Test(filter_explain, what_is_no_packet_is_refused)
{
	const FilterProbe mixed = { .protocol = EGRESS_TCP,
				    .source = at("10.0.0.2"),
				    .target = at("2001:db8:1::1") };
	FilterProbe block = { .protocol = EGRESS_TCP, .target = at("192.0.2.0") };
	const FilterProbe nowhere = { .protocol = EGRESS_TCP };
	const FilterProbe *const bad[] = { &mixed, &block, &nowhere };
	int verdict = -1;

	block.target.length = 24;
	for (size_t i = 0; i < array_size(bad); i++) {
		Error err = { 0 };

		cr_assert_eq(filter_explain(bench.filter, bench.taps[0], bad[i], &verdict, &err),
			     -1);
		cr_assert_eq(err.cause, CAUSE_INPUT);
	}
	cr_assert_eq(verdict, -1);
}

Test(filter_explain, of_no_vm_nothing_is_known)
{
	const FilterProbe web = { .protocol = EGRESS_TCP, .target = at("192.0.2.1") };
	Error err = { 0 };
	int verdict;

	cr_assert_eq(
		filter_explain(bench.filter, bench.taps[FILTER_BENCH_VMS], &web, &verdict, &err),
		-1);

	cr_assert_eq(err.cause, CAUSE_MISSING);
}

Test(filter_explain, every_verdict_has_a_name_and_words)
{
	cr_assert_str_eq(filter_verdict_name(FILTER_DROP_NEW_FLOWS), "DROP_NEW_FLOWS");
	cr_assert_str_eq(filter_verdict_words(FILTER_PASS_POLICY), "a rule allows it");
	cr_assert_str_eq(filter_verdict_words(FILTER_FIRST_DROP - 1), "unknown");
	cr_assert_str_eq(filter_verdict_words(-1), "unknown");
	cr_assert_str_eq(filter_verdict_name(FILTER_VERDICT_COUNT_), "UNKNOWN");
}
