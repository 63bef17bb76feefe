/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What becomes of a packet: every verdict that the filter's programs have, by the kernel's own runs
 * of them on packets of tests/support/frame.h, under the rules of filter_bench_table().
 */

#include "tests/unit/filter_fixture.h"

enum {
	TCP = 6,
	UDP = 17,
	ICMP = 1,
	ICMPV6 = 58,
	SCTP = 132,
	SYN = FRAME_TCP_SYN,
	PATCHES = 2,
};

/* A packet, and bytes of it set afterwards. */
typedef struct Row {
	const char *what;
	FrameSpec spec;
	struct {
		uint16_t at; /* 0: no patch */
		uint8_t to;
	} patch[PATCHES];
	uint8_t header; /* IPv6: inserted */
	int verdict;
} Row;

TestSuite(filter_verdicts, .init = open_bench, .fini = close_bench);

static void expect_rows(const Row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const Row *row = &rows[i];
		Frame frame = frame_make(&row->spec);

		if (row->header)
			frame_insert_header(&frame, row->header);
		for (size_t j = 0; j < PATCHES; j++)
			if (row->patch[j].at)
				frame.bytes[row->patch[j].at] = row->patch[j].to;
		(void)expect(row->what, &frame, row->spec.to_vm, row->verdict);
	}
}

/* clang-format off */
#define V4(...) { .target = "192.0.2.1", __VA_ARGS__ }
#define V6(...) { .target = "2001:db8:1::1", __VA_ARGS__ }
#define WEB4 V4(.protocol = TCP, .source_port = 1000, .target_port = 80, .tcp = SYN)
#define WEB6 V6(.protocol = TCP, .source_port = 1000, .target_port = 80, .tcp = SYN)

static const Row from_vm4[] = {
	{ "a new flow", WEB4, .verdict = FILTER_PASS_POLICY },
	{ "a known flow", WEB4, .verdict = FILTER_PASS_FLOW },
	{ "DNS", V4(.protocol = UDP, .source_port = 9, .target_port = 53), .verdict = FILTER_PASS_POLICY },
	{ "SCTP within its range", V4(.protocol = SCTP, .target_port = 5010), .verdict = FILTER_PASS_POLICY },
	{ "SCTP above its range", V4(.protocol = SCTP, .target_port = 5011), .verdict = FILTER_DROP_POLICY },
	{ "a ping", V4(.protocol = ICMP, .icmp_type = 8, .source_port = 3), .verdict = FILTER_PASS_POLICY },
	{ "the same ping", V4(.protocol = ICMP, .icmp_type = 8, .source_port = 3), .verdict = FILTER_PASS_FLOW },
	{ "an answer to no ping", V4(.protocol = ICMP, .icmp_type = 0, .source_port = 4), .verdict = FILTER_DROP_POLICY },
	{ "any protocol", { .target = "198.51.100.1", .protocol = 47, .payload = 20 }, .verdict = FILTER_PASS_POLICY },
	{ "a port of a set", { .target = "203.0.113.1", .protocol = TCP, .target_port = 13 }, .verdict = FILTER_PASS_POLICY },
	{ "a range of a set", { .target = "203.0.113.1", .protocol = UDP, .target_port = 33 }, .verdict = FILTER_PASS_POLICY },
	{ "no port of a set", { .target = "203.0.113.1", .protocol = TCP, .target_port = 12 }, .verdict = FILTER_DROP_POLICY },
	{ "another port", V4(.protocol = TCP, .target_port = 81, .tcp = SYN), .verdict = FILTER_DROP_POLICY },
	{ "another protocol", V4(.protocol = UDP, .target_port = 80), .verdict = FILTER_DROP_POLICY },
	{ "another address", { .target = "192.0.3.1", .protocol = TCP, .target_port = 80 }, .verdict = FILTER_DROP_POLICY },
	{ "another MAC", WEB4, { { 11, 9 } }, .verdict = FILTER_DROP_MAC },
	{ "another source", WEB4, { { 29, 3 } }, .verdict = FILTER_DROP_SOURCE },
	{ "no source", { .source = "0.0.0.0", .target = "255.255.255.255", .protocol = UDP, .source_port = 68, .target_port = 67 }, .verdict = FILTER_DROP_SOURCE },
	{ "a VLAN tag", WEB4, { { 12, 0x81 }, { 13, 0 } }, .verdict = FILTER_DROP_VLAN },
	{ "two VLAN tags", WEB4, { { 12, 0x88 }, { 13, 0xa8 } }, .verdict = FILTER_DROP_VLAN },
	{ "MPLS", WEB4, { { 12, 0x88 }, { 13, 0x47 } }, .verdict = FILTER_DROP_ETHERTYPE },
	{ "a length instead of a type", WEB4, { { 12, 0 }, { 13, 40 } }, .verdict = FILTER_DROP_ETHERTYPE },
	{ "version 5", WEB4, { { 14, 0x55 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "a header of 16 bytes", WEB4, { { 14, 0x44 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "options", WEB4, { { 14, 0x46 } }, .verdict = FILTER_DROP_HEADER },
	{ "longer than the frame", WEB4, { { 17, 41 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "shorter than its header", WEB4, { { 17, 19 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "half a TCP header", WEB4, { { 17, 30 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "a TCP header of 16 bytes", WEB4, { { 46, 0x40 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "ICMPv6 in IPv4", V4(.protocol = ICMPV6, .icmp_type = 128), .verdict = FILTER_DROP_PROTOCOL },
	{ "a timestamp request", V4(.protocol = ICMP, .icmp_type = 13), .verdict = FILTER_DROP_PROTOCOL },
	{ "a redirect", V4(.protocol = ICMP, .icmp_type = 5), .verdict = FILTER_DROP_PROTOCOL },
	{ "an error about nothing", V4(.protocol = ICMP, .icmp_type = 3, .payload = 28), .verdict = FILTER_DROP_POLICY },
};

static const Row from_vm6[] = {
	{ "a new flow", WEB6, .verdict = FILTER_PASS_POLICY },
	{ "a known flow", WEB6, .verdict = FILTER_PASS_FLOW },
	{ "DNS", V6(.protocol = UDP, .target_port = 53), .verdict = FILTER_PASS_POLICY },
	{ "a ping", V6(.protocol = ICMPV6, .icmp_type = 128, .source_port = 3), .verdict = FILTER_PASS_POLICY },
	{ "an answer to no ping", V6(.protocol = ICMPV6, .icmp_type = 129, .source_port = 4), .verdict = FILTER_DROP_POLICY },
	{ "another port", V6(.protocol = TCP, .target_port = 81), .verdict = FILTER_DROP_POLICY },
	{ "another address", { .target = "2001:db8:2::1", .protocol = TCP, .target_port = 80 }, .verdict = FILTER_DROP_POLICY },
	{ "another source", { .source = "2001:db8::3", .target = "2001:db8:1::1", .protocol = TCP, .target_port = 80 }, .verdict = FILTER_DROP_SOURCE },
	{ "a link-local source", { .source = FRAME_LOCAL6, .target = "2001:db8:1::1", .protocol = TCP, .target_port = 80 }, .verdict = FILTER_DROP_SOURCE },
	{ "version 4", WEB6, { { 14, 0x40 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "longer than the frame", WEB6, { { 19, 21 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "half a TCP header", WEB6, { { 19, 10 } }, .verdict = FILTER_DROP_MALFORMED },
	{ "hop-by-hop options", WEB6, { { 20, 0 } }, .verdict = FILTER_DROP_HEADER },
	{ "a routing header", WEB6, .header = 43, .verdict = FILTER_DROP_HEADER },
	{ "an authentication header", WEB6, .header = 51, .verdict = FILTER_DROP_HEADER },
	{ "destination options", WEB6, .header = 60, .verdict = FILTER_DROP_HEADER },
	{ "mobility", WEB6, .header = 135, .verdict = FILTER_DROP_HEADER },
	{ "host identity", WEB6, .header = 139, .verdict = FILTER_DROP_HEADER },
	{ "shim6", WEB6, .header = 140, .verdict = FILTER_DROP_HEADER },
	{ "an atomic fragment", WEB6, .header = 44, .verdict = FILTER_PASS_FLOW },
	{ "no next header", WEB6, { { 20, 59 } }, .verdict = FILTER_DROP_PROTOCOL },
	{ "ICMP in IPv6", WEB6, { { 20, 1 } }, .verdict = FILTER_DROP_PROTOCOL },
	{ "a report on multicast", V6(.protocol = ICMPV6, .icmp_type = 143), .verdict = FILTER_DROP_PROTOCOL },
};

#define FROM(...) { .to_vm = true, __VA_ARGS__ }
static const Row to_vm[] = {
	{ "nothing that was asked for", FROM(.source = "192.0.2.1", .protocol = TCP, .source_port = 80, .target_port = 1), .verdict = FILTER_DROP_UNSOLICITED },
	{ "of IPv6", FROM(.source = "2001:db8:1::1", .protocol = TCP, .source_port = 80, .target_port = 1), .verdict = FILTER_DROP_UNSOLICITED },
	{ "from the gateway", FROM(.source = FRAME_GATEWAY4, .protocol = TCP, .source_port = 7, .target_port = 22, .tcp = SYN), .verdict = FILTER_PASS_GATEWAY },
	{ "from the gateway's IPv6", FROM(.source = FRAME_GATEWAY6, .protocol = TCP, .source_port = 7, .target_port = 22, .tcp = SYN), .verdict = FILTER_PASS_GATEWAY },
	{ "the gateway's ping", FROM(.source = FRAME_GATEWAY4, .protocol = ICMP, .icmp_type = 8, .source_port = 7), .verdict = FILTER_PASS_GATEWAY },
	{ "the gateway's answer to nothing", FROM(.source = FRAME_GATEWAY4, .protocol = ICMP, .icmp_type = 0, .source_port = 8), .verdict = FILTER_DROP_UNSOLICITED },
	{ "to another address", FROM(.source = FRAME_GATEWAY4, .target = "10.0.0.3", .protocol = UDP), .verdict = FILTER_DROP_UNSOLICITED },
	{ "to another address of IPv6", FROM(.source = FRAME_GATEWAY6, .target = "2001:db8::3", .protocol = UDP), .verdict = FILTER_DROP_UNSOLICITED },
	{ "a broadcast", FROM(.source = FRAME_GATEWAY4, .target = "255.255.255.255", .protocol = UDP), .verdict = FILTER_DROP_UNSOLICITED },
	{ "a redirect", FROM(.source = FRAME_GATEWAY4, .protocol = ICMP, .icmp_type = 5), .verdict = FILTER_DROP_PROTOCOL },
	{ "an error about nothing", FROM(.source = FRAME_GATEWAY4, .protocol = ICMP, .icmp_type = 3, .payload = 28), .verdict = FILTER_DROP_UNSOLICITED },
	{ "a VLAN tag", FROM(.source = FRAME_GATEWAY4, .protocol = UDP), { { 12, 0x81 }, { 13, 0 } }, .verdict = FILTER_DROP_VLAN },
	{ "MPLS", FROM(.source = FRAME_GATEWAY4, .protocol = UDP), { { 12, 0x88 }, { 13, 0x47 } }, .verdict = FILTER_DROP_ETHERTYPE },
	{ "options", FROM(.source = FRAME_GATEWAY4, .protocol = UDP), { { 14, 0x46 } }, .verdict = FILTER_DROP_HEADER },
	{ "a routing header", FROM(.source = FRAME_GATEWAY6, .protocol = UDP), .header = 43, .verdict = FILTER_DROP_HEADER },
};
/* clang-format on */

Test(filter_verdicts, of_ipv4_from_the_vm)
{
	expect_rows(from_vm4, array_size(from_vm4));
}

Test(filter_verdicts, of_ipv6_from_the_vm)
{
	expect_rows(from_vm6, array_size(from_vm6));
}

Test(filter_verdicts, of_what_goes_to_the_vm)
{
	expect_rows(to_vm, array_size(to_vm));
}

Test(filter_verdicts, an_interface_of_no_vm_passes_nothing_and_is_counted)
{
	const FrameSpec spec = WEB4;
	Frame frame = frame_make(&spec);
	uint32_t tap = bench.taps[FILTER_BENCH_VMS];

	FilterOutcome from = filter_bench_run(&bench, tap, false, &frame);
	FilterOutcome to = filter_bench_run(&bench, tap, true, &frame);

	cr_assert_eq(from.verdict, FILTER_DROP_UNKNOWN);
	cr_assert_eq(from.action, FILTER_BENCH_DROPPED);
	cr_assert_eq(to.verdict, FILTER_DROP_UNKNOWN);
	cr_assert_eq(to.action, FILTER_BENCH_DROPPED);
	cr_assert_eq(filter_bench_explain(&bench, tap, false, &frame), FILTER_DROP_UNKNOWN);
}

Test(filter_verdicts, a_flow_lets_its_answers_pass_and_no_others)
{
	const FrameSpec asks[] = { WEB4, WEB6,
				   V4(.protocol = UDP, .source_port = 1000, .target_port = 53),
				   V6(.protocol = ICMPV6, .icmp_type = 128, .source_port = 1000) };
	FrameSpec answers[] = {
		FROM(.source = "192.0.2.1", .protocol = TCP, .source_port = 80,
		     .target_port = 1000),
		FROM(.source = "2001:db8:1::1", .protocol = TCP, .source_port = 80,
		     .target_port = 1000),
		FROM(.source = "192.0.2.1", .protocol = UDP, .source_port = 53,
		     .target_port = 1000),
		FROM(.source = "2001:db8:1::1", .protocol = ICMPV6, .icmp_type = 129,
		     .source_port = 1000),
	};

	for (size_t i = 0; i < array_size(asks); i++) {
		(void)expect_spec("the answer before", &answers[i], FILTER_DROP_UNSOLICITED);
		(void)expect_spec("the question", &asks[i], FILTER_PASS_POLICY);
		(void)expect_spec("the answer", &answers[i], FILTER_PASS_REPLY);
		answers[i].source_port++;
		(void)expect_spec("from elsewhere", &answers[i], FILTER_DROP_UNSOLICITED);
	}
}

Test(filter_verdicts, a_question_is_no_answer_though_it_has_the_same_identifier)
{
	const FrameSpec ask = V4(.protocol = ICMP, .icmp_type = 8, .source_port = 5);
	const FrameSpec back =
		FROM(.source = "192.0.2.1", .protocol = ICMP, .icmp_type = 8, .source_port = 5);

	(void)expect_spec("the VM's", &ask, FILTER_PASS_POLICY);

	(void)expect_spec("the other one's", &back, FILTER_DROP_UNSOLICITED);
}

Test(filter_verdicts, the_vm_answers_the_gateway_without_a_rule)
{
	const FrameSpec asks[] = {
		FROM(.source = FRAME_GATEWAY4, .protocol = TCP, .source_port = 7, .target_port = 22,
		     .tcp = SYN),
		FROM(.source = FRAME_GATEWAY6, .protocol = ICMPV6, .icmp_type = 128,
		     .source_port = 7),
	};
	const FrameSpec answers[] = {
		{ .target = FRAME_GATEWAY4,
		  .protocol = TCP,
		  .source_port = 22,
		  .target_port = 7,
		  .tcp = SYN | FRAME_TCP_ACK },
		{ .target = FRAME_GATEWAY6,
		  .protocol = ICMPV6,
		  .icmp_type = 129,
		  .source_port = 7 },
	};

	for (size_t i = 0; i < array_size(asks); i++) {
		(void)expect_spec("the answer before", &answers[i], FILTER_DROP_POLICY);
		(void)expect_spec("the question", &asks[i], FILTER_PASS_GATEWAY);
		(void)expect_spec("the answer", &answers[i], FILTER_PASS_GATEWAY);
	}
}

Test(filter_verdicts, errors_about_a_flow_pass_in_both_families)
{
	static const struct {
		FrameSpec about, error;
	} rows[] = {
		/* Fragmentation needed, port unreachable, time exceeded. */
		{ WEB4,
		  FROM(.source = "10.9.9.9", .protocol = ICMP, .icmp_type = 3, .icmp_code = 4) },
		{ V4(.protocol = UDP, .source_port = 9, .target_port = 53),
		  FROM(.source = "192.0.2.1", .protocol = ICMP, .icmp_type = 3, .icmp_code = 3) },
		{ V4(.protocol = ICMP, .icmp_type = 8, .source_port = 9),
		  FROM(.source = "10.9.9.9", .protocol = ICMP, .icmp_type = 11) },
		/* Too big, unreachable. */
		{ WEB6, FROM(.source = "2001:db8:9::1", .protocol = ICMPV6, .icmp_type = 2) },
		{ V6(.protocol = UDP, .source_port = 9, .target_port = 53),
		  FROM(.source = "2001:db8:9::1", .protocol = ICMPV6, .icmp_type = 1) },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		Frame about = frame_make(&rows[i].about);
		FrameSpec error = rows[i].error;

		error.quoted = &about;
		(void)expect_spec("the error before", &error, FILTER_DROP_UNSOLICITED);
		(void)expect("the packet", &about, false, FILTER_PASS_POLICY);
		(void)expect_spec("the error", &error, FILTER_PASS_ICMP_ERROR);
	}
}

Test(filter_verdicts, the_least_of_a_quote_is_enough_and_less_is_not)
{
	const FrameSpec about =
		V4(.protocol = UDP, .source_port = 9, .target_port = 53, .payload = 100);
	FrameSpec error = FROM(.source = "10.9.9.9", .protocol = ICMP, .icmp_type = 3);
	Frame quoted = frame_make(&about);

	(void)expect("the packet", &quoted, false, FILTER_PASS_POLICY);
	error.quoted = &quoted;
	quoted.size = 14 + 20 + 8;
	(void)expect_spec("header and eight bytes", &error, FILTER_PASS_ICMP_ERROR);
	quoted.size--;
	(void)expect_spec("one less", &error, FILTER_DROP_UNSOLICITED);
}

Test(filter_verdicts, the_vm_may_complain_to_who_sent_a_packet_of_a_flow_and_to_nobody_else)
{
	const FrameSpec ask = V4(.protocol = UDP, .source_port = 9, .target_port = 53);
	const FrameSpec answer =
		FROM(.source = "192.0.2.1", .protocol = UDP, .source_port = 53, .target_port = 9);
	Frame quoted = frame_make(&answer);
	FrameSpec error = V4(.protocol = ICMP, .icmp_type = 3, .icmp_code = 3, .quoted = &quoted);

	(void)expect_spec("no flow yet", &error, FILTER_DROP_POLICY);
	(void)expect_spec("the question", &ask, FILTER_PASS_POLICY);
	(void)expect_spec("the complaint", &error, FILTER_PASS_ICMP_ERROR);
	error.target = "192.0.2.9";
	(void)expect_spec("to another", &error, FILTER_DROP_POLICY);
}

Test(filter_verdicts, later_fragments_pass_if_the_first_one_did)
{
	static const FrameSpec firsts[] = {
		V4(.protocol = UDP, .source_port = 9, .target_port = 53, .payload = 16, .id = 7,
		   .fragment = FRAME_MORE),
		V6(.protocol = UDP, .source_port = 9, .target_port = 53, .payload = 16,
		   .id = 0x70000, .fragment = FRAME_MORE),
	};

	for (size_t i = 0; i < array_size(firsts); i++) {
		FrameSpec later = firsts[i], other = firsts[i];

		later.fragment = 24;
		(void)expect_spec("the later one before", &later, FILTER_DROP_FRAGMENT);
		(void)expect_spec("the first", &firsts[i], FILTER_PASS_POLICY);
		(void)expect_spec("the later one", &later, FILTER_PASS_FLOW);
		later.fragment = 0x5a0 | FRAME_MORE;
		(void)expect_spec("one in between", &later, FILTER_PASS_FLOW);
		later.id++;
		(void)expect_spec("of another packet", &later, FILTER_DROP_FRAGMENT);
		other.target_port = 54;
		other.id += 2;
		later.id = other.id;
		(void)expect_spec("a first one that is denied", &other, FILTER_DROP_POLICY);
		(void)expect_spec("what follows it", &later, FILTER_DROP_FRAGMENT);
	}
}

Test(filter_verdicts, fragments_must_leave_the_headers_in_the_first_one_whole)
{
	FrameSpec first4 = V4(.protocol = TCP, .source_port = 9, .target_port = 80, .tcp = SYN,
			      .payload = 12, .id = 7, .fragment = FRAME_MORE);
	FrameSpec first6 = V6(.protocol = TCP, .source_port = 9, .target_port = 80, .tcp = SYN,
			      .payload = 12, .id = 7, .fragment = FRAME_MORE);
	Frame tiny4 = frame_make(&first4), tiny6 = frame_make(&first6);

	tiny4.bytes[17] = 20 + 16; /* 16 bytes of TCP's header */
	tiny6.bytes[19] = 8 + 16;
	(void)expect("tiny", &tiny4, false, FILTER_DROP_FRAGMENT);
	(void)expect("tiny, IPv6", &tiny6, false, FILTER_DROP_FRAGMENT);
	(void)expect_spec("whole", &first4, FILTER_PASS_POLICY);
	(void)expect_spec("whole, IPv6", &first6, FILTER_PASS_POLICY);
	first4.fragment = first6.fragment = 8;
	(void)expect_spec("overlapping", &first4, FILTER_DROP_FRAGMENT);
	(void)expect_spec("overlapping, IPv6", &first6, FILTER_DROP_FRAGMENT);
	first4.fragment = first6.fragment = 24;
	(void)expect_spec("behind", &first4, FILTER_PASS_FLOW);
	(void)expect_spec("behind, IPv6", &first6, FILTER_PASS_FLOW);
}

Test(filter_verdicts, fragments_to_the_vm_pass_as_their_flow_does)
{
	const FrameSpec ask = V4(.protocol = UDP, .source_port = 9, .target_port = 53);
	FrameSpec answer = FROM(.source = "192.0.2.1", .protocol = UDP, .source_port = 53,
				.target_port = 9, .payload = 16, .id = 9, .fragment = FRAME_MORE);
	FrameSpec later = answer;

	later.fragment = 24;
	(void)expect_spec("the question", &ask, FILTER_PASS_POLICY);
	(void)expect_spec("too early", &later, FILTER_DROP_FRAGMENT);
	(void)expect_spec("the first", &answer, FILTER_PASS_REPLY);
	(void)expect_spec("the later one", &later, FILTER_PASS_REPLY);
	answer.source_port = 54;
	answer.id = later.id = 10;
	(void)expect_spec("unsolicited", &answer, FILTER_DROP_UNSOLICITED);
	(void)expect_spec("what follows it", &later, FILTER_DROP_FRAGMENT);
}

Test(filter_verdicts, a_vm_without_a_family_sends_nothing_of_it)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	FilterVm vm = filter_bench_vm(&bench, 0);
	const FrameSpec four = {
		.source = "0.0.0.0", .target = "192.0.2.1", .protocol = TCP, .target_port = 80
	};
	const FrameSpec six = {
		.source = "::", .target = "2001:db8:1::1", .protocol = TCP, .target_port = 80
	};
	Frame arp = frame_arp(false, 1, "0.0.0.0", "0.0.0.0");
	Frame nd = frame_nd(false, 135, "::", "::");
	Error err = { 0 };

	vm.has4 = vm.has6 = false;
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);

	(void)expect_spec("IPv4", &four, FILTER_DROP_SOURCE);
	(void)expect_spec("IPv6", &six, FILTER_DROP_SOURCE);
	(void)expect("ARP", &arp, false, FILTER_DROP_ARP);
	(void)expect("neighbour discovery", &nd, false, FILTER_DROP_SOURCE);
}
