/* SPDX-License-Identifier: Apache-2.0 */

/*
 * 1:1 NAT: another address inside than outside, and checksums that are right on both sides.
 */

#include "tests/unit/filter_fixture.h"

enum {
	IP = FRAME_ETHERNET,
	QUOTE = FRAME_ETHERNET + 20 + 8,
	UDP_CHECKSUM = FRAME_ETHERNET + 20 + 6,
};

static void open_with_nat(void)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	Prefix host;
	Error err = { 0 };
	FilterVm vm;

	open_bench();
	vm = filter_bench_vm(&bench, 0);
	cr_assert_eq(prefix_parse_address(&host, FRAME_HOST4), 0);
	memcpy(vm.host4, host.address, sizeof vm.host4);
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

TestSuite(filter_nat, .init = open_with_nat, .fini = close_bench);

static const FrameSpec asks[] = {
	{ .target = "192.0.2.1", .protocol = 6, .source_port = 1, .target_port = 80, .payload = 9 },
	{ .target = "192.0.2.1",
	  .protocol = 17,
	  .source_port = 1,
	  .target_port = 53,
	  .payload = 9 },
	{ .target = "192.0.2.1", .protocol = 1, .icmp_type = 8, .source_port = 1, .payload = 9 },
	{ .target = "192.0.2.1", .protocol = 132, .source_port = 1, .target_port = 5000 },
};

/* What comes back, to the address outside. */
static FrameSpec answer_to(const FrameSpec *ask)
{
	FrameSpec answer = *ask;

	answer.to_vm = true;
	answer.source = ask->target;
	answer.target = FRAME_HOST4;
	answer.tcp = FRAME_TCP_ACK;
	if (ask->protocol == 1) {
		answer.icmp_type = 0;
		return answer;
	}
	answer.source_port = ask->target_port;
	answer.target_port = ask->source_port;
	return answer;
}

Test(filter_nat, packets_leave_with_the_hosts_address_and_come_back_to_the_guests)
{
	for (size_t i = 0; i < array_size(asks); i++) {
		FrameSpec answer = answer_to(&asks[i]);

		FilterOutcome out = expect_spec("out", &asks[i], FILTER_PASS_POLICY);
		FilterOutcome in = expect_spec("in", &answer, FILTER_PASS_REPLY);

		cr_expect_null(frame_problem(&out.frame), "out, protocol %d: %s is wrong",
			       asks[i].protocol, frame_problem(&out.frame));
		cr_expect(frame_has_source(&out.frame, IP, FRAME_HOST4));
		cr_expect(frame_has_target(&out.frame, IP, "192.0.2.1"));
		cr_expect_null(frame_problem(&in.frame), "in, protocol %d: %s is wrong",
			       asks[i].protocol, frame_problem(&in.frame));
		cr_expect(frame_has_target(&in.frame, IP, FRAME_GUEST4));
		cr_expect(frame_has_source(&in.frame, IP, "192.0.2.1"));
	}
}

Test(filter_nat, the_address_inside_is_not_one_outside)
{
	FrameSpec answer = answer_to(&asks[0]);
	FrameSpec ask = asks[1];

	(void)expect_spec("out", &asks[0], FILTER_PASS_POLICY);
	answer.target = FRAME_GUEST4;
	ask.source = FRAME_HOST4;

	(void)expect_spec("to the address inside", &answer, FILTER_DROP_UNSOLICITED);
	(void)expect_spec("from the address outside", &ask, FILTER_DROP_SOURCE);
}

Test(filter_nat, a_checksum_that_is_not_there_stays_away)
{
	FrameSpec ask = asks[1];
	FrameSpec answer = answer_to(&ask);

	ask.no_checksum = answer.no_checksum = true;
	FilterOutcome out = expect_spec("out", &ask, FILTER_PASS_POLICY);
	FilterOutcome in = expect_spec("in", &answer, FILTER_PASS_REPLY);

	cr_assert_eq(out.frame.bytes[UDP_CHECKSUM], 0);
	cr_assert_eq(out.frame.bytes[UDP_CHECKSUM + 1], 0);
	cr_assert_eq(in.frame.bytes[UDP_CHECKSUM], 0);
	cr_assert_eq(in.frame.bytes[UDP_CHECKSUM + 1], 0);
	cr_assert_null(frame_problem(&out.frame));
	cr_assert_null(frame_problem(&in.frame));
}

/* The kernel writes 0xffff where a sum comes to 0, which would mean that there is none. */
Test(filter_nat, no_payload_makes_a_checksum_vanish)
{
	FrameSpec ask = asks[1];

	ask.payload = 2;
	for (uint32_t i = 0; i <= UINT16_MAX; i++) {
		Frame frame = frame_make(&ask), after = { 0 };
		/* Two bytes of payload up, the checksum down. */
		uint32_t sum =
			(uint32_t)frame.bytes[UDP_CHECKSUM] << 8 | frame.bytes[UDP_CHECKSUM + 1];
		uint32_t word =
			(uint32_t)frame.bytes[frame.size - 2] << 8 | frame.bytes[frame.size - 1];

		sum = sum + word + (0xffff - i);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		frame.bytes[frame.size - 2] = (uint8_t)(i >> 8);
		frame.bytes[frame.size - 1] = (uint8_t)i;
		sum = sum ? sum : 0xffff;
		frame.bytes[UDP_CHECKSUM] = (uint8_t)(sum >> 8);
		frame.bytes[UDP_CHECKSUM + 1] = (uint8_t)sum;
		cr_assert_null(frame_problem(&frame), "%u", i);

		cr_assert_eq(filter_bench_act(&bench, bench.taps[0], false, &frame, &after),
			     FILTER_BENCH_PASSED);

		cr_assert_null(frame_problem(&after), "%u", i);
		cr_assert(after.bytes[UDP_CHECKSUM] | after.bytes[UDP_CHECKSUM + 1], "%u", i);
	}
}

Test(filter_nat, fragments_change_their_address_alone)
{
	FrameSpec first = asks[1], later;

	first.payload = 16;
	first.id = 77;
	first.fragment = FRAME_MORE;
	later = first;
	later.fragment = 24;
	FilterOutcome out = expect_spec("the first", &first, FILTER_PASS_POLICY);
	FilterOutcome second = expect_spec("the later one", &later, FILTER_PASS_FLOW);
	Frame before = frame_make(&later);

	cr_assert_null(frame_problem(&out.frame));
	cr_assert(frame_has_source(&second.frame, IP, FRAME_HOST4));
	cr_assert_arr_eq(second.frame.bytes + IP + 20, before.bytes + IP + 20,
			 before.size - IP - 20);
}

Test(filter_nat, errors_quote_what_each_side_knows)
{
	for (size_t i = 0; i < array_size(asks); i++) {
		FilterOutcome out = expect_spec("out", &asks[i], FILTER_PASS_POLICY);
		const FrameSpec too_big = { .to_vm = true,
					    .source = "10.9.9.9",
					    .target = FRAME_HOST4,
					    .protocol = 1,
					    .icmp_type = 3,
					    .icmp_code = 4,
					    .quoted = &out.frame };

		FilterOutcome in = expect_spec("the error", &too_big, FILTER_PASS_ICMP_ERROR);

		cr_expect_null(frame_problem(&in.frame), "protocol %d: %s is wrong",
			       asks[i].protocol, frame_problem(&in.frame));
		cr_expect(frame_has_target(&in.frame, IP, FRAME_GUEST4));
		cr_expect(frame_has_source(&in.frame, QUOTE, FRAME_GUEST4));
		cr_expect(frame_has_target(&in.frame, QUOTE, "192.0.2.1"));
	}
}

Test(filter_nat, a_quote_that_is_cut_before_its_checksum_is_translated_too)
{
	FilterOutcome out = expect_spec("out", &asks[0], FILTER_PASS_POLICY);
	const FrameSpec too_big = { .to_vm = true,
				    .source = "10.9.9.9",
				    .target = FRAME_HOST4,
				    .protocol = 1,
				    .icmp_type = 3,
				    .icmp_code = 4,
				    .quoted = &out.frame };

	out.frame.size = IP + 20 + 8;
	FilterOutcome in = expect_spec("the error", &too_big, FILTER_PASS_ICMP_ERROR);

	cr_assert_null(frame_problem(&in.frame), "%s is wrong", frame_problem(&in.frame));
	cr_assert(frame_has_source(&in.frame, QUOTE, FRAME_GUEST4));
}

Test(filter_nat, the_vms_own_errors_quote_what_the_other_side_sent)
{
	FrameSpec answer = answer_to(&asks[1]);

	(void)expect_spec("out", &asks[1], FILTER_PASS_POLICY);
	FilterOutcome in = expect_spec("in", &answer, FILTER_PASS_REPLY);
	const FrameSpec complaint = { .target = "192.0.2.1",
				      .protocol = 1,
				      .icmp_type = 3,
				      .icmp_code = 3,
				      .quoted = &in.frame };
	FilterOutcome out = expect_spec("the error", &complaint, FILTER_PASS_ICMP_ERROR);

	cr_assert_null(frame_problem(&out.frame), "%s is wrong", frame_problem(&out.frame));
	cr_assert(frame_has_source(&out.frame, IP, FRAME_HOST4));
	cr_assert(frame_has_target(&out.frame, QUOTE, FRAME_HOST4));
}
