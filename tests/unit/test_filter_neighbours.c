/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ARP and neighbour discovery: answered in the program, and never another's.
 */

#include "tests/unit/filter_fixture.h"

TestSuite(filter_neighbours, .init = open_bench, .fini = close_bench);

Test(filter_neighbours, arp_for_anyone_else_is_answered_with_the_gateways_mac)
{
	static const char *const targets[] = { FRAME_GATEWAY4, "10.0.0.3" };

	for (size_t i = 0; i < array_size(targets); i++) {
		Frame ask = frame_arp(false, 1, FRAME_GUEST4, targets[i]);
		Frame wanted = frame_arp(true, 2, targets[i], FRAME_GUEST4);

		FilterOutcome outcome = expect("ARP", &ask, false, FILTER_PASS_ARP);

		memcpy(wanted.bytes + 32, frame_guest_mac, 6);
		cr_assert_eq(outcome.action, FILTER_BENCH_ANSWERED);
		cr_assert_eq(outcome.frame.size, wanted.size);
		cr_assert_arr_eq(outcome.frame.bytes, wanted.bytes, wanted.size);
		(void)expect("the answer", &outcome.frame, true, FILTER_PASS_ARP);
	}
}

Test(filter_neighbours, arp_is_of_the_vms_own_address_and_mac)
{
	Frame announcement = frame_arp(false, 1, FRAME_GUEST4, FRAME_GUEST4);
	Frame probe = frame_arp(false, 1, "0.0.0.0", FRAME_GUEST4);
	Frame other_probe = frame_arp(false, 1, "0.0.0.0", "10.0.0.3");
	Frame answer = frame_arp(false, 2, FRAME_GUEST4, FRAME_GATEWAY4);
	Frame other_answer = frame_arp(false, 2, FRAME_GUEST4, "10.0.0.3");
	Frame spoofed = frame_arp(false, 1, "10.0.0.3", FRAME_GATEWAY4);
	Frame other_mac = announcement, rarp = announcement, token_ring = announcement;
	Frame stranger = frame_arp(true, 2, FRAME_GATEWAY4, FRAME_GUEST4);

	other_mac.bytes[27] = 9;
	rarp.bytes[21] = 3;
	token_ring.bytes[15] = 6;
	stranger.bytes[11] = 9;

	cr_expect_eq(expect("an announcement", &announcement, false, FILTER_PASS_ARP).action,
		     FILTER_BENCH_PASSED);
	(void)expect("a probe", &probe, false, FILTER_PASS_ARP);
	(void)expect("a probe of another address", &other_probe, false, FILTER_DROP_SOURCE);
	(void)expect("an answer to the gateway", &answer, false, FILTER_PASS_ARP);
	(void)expect("an answer to another", &other_answer, false, FILTER_DROP_ARP);
	(void)expect("another address", &spoofed, false, FILTER_DROP_SOURCE);
	(void)expect("another MAC", &other_mac, false, FILTER_DROP_MAC);
	(void)expect("reverse ARP", &rarp, false, FILTER_DROP_ARP);
	(void)expect("of another medium", &token_ring, false, FILTER_DROP_ARP);
	(void)expect("from another than the gateway", &stranger, true, FILTER_DROP_ARP);
	announcement.size -= 4;
	(void)expect("cut", &announcement, false, FILTER_DROP_MALFORMED);
}

Test(filter_neighbours, neighbour_solicitations_are_answered_with_the_gateways_mac)
{
	static const char *const sources[] = { FRAME_GUEST6, FRAME_LOCAL6 };

	for (size_t i = 0; i < array_size(sources); i++) {
		Frame ask = frame_nd(false, 135, sources[i], "2001:db8::1");

		ask.size -= i * 8; /* without its option, too */
		ask.bytes[19] = (uint8_t)(ask.bytes[19] - i * 8);
		FilterOutcome outcome = expect("a solicitation", &ask, false, FILTER_PASS_ND);

		cr_assert_eq(outcome.action, FILTER_BENCH_ANSWERED);
		cr_assert_eq(outcome.frame.size, 86);
		cr_assert_null(frame_problem(&outcome.frame));
		cr_assert(frame_has_source(&outcome.frame, 14, "2001:db8::1"));
		cr_assert(frame_has_target(&outcome.frame, 14, sources[i]));
		cr_assert_eq(outcome.frame.bytes[54], 136);
		cr_assert_arr_eq(outcome.frame.bytes, frame_guest_mac, 6);
		cr_assert_arr_eq(outcome.frame.bytes + 80, frame_gateway_mac, 6);
		(void)expect("the answer", &outcome.frame, true, FILTER_PASS_ND);
	}
}

Test(filter_neighbours, neighbour_discovery_is_of_the_vms_own_addresses)
{
	static const struct {
		const char *what, *source, *about;
		uint8_t type;
		bool to_vm;
		int verdict;
	} rows[] = {
		{ "a router's solicitation", FRAME_LOCAL6, NULL, 133, false, FILTER_PASS_ND },
		{ "is it mine alone?", "::", FRAME_GUEST6, 135, false, FILTER_PASS_ND },
		{ "and the link-local one?", "::", FRAME_LOCAL6, 135, false, FILTER_PASS_ND },
		{ "and another's?", "::", "2001:db8::3", 135, false, FILTER_DROP_ND },
		{ "an advertisement", FRAME_GUEST6, FRAME_GUEST6, 136, false, FILTER_PASS_ND },
		{ "of another", FRAME_GUEST6, "2001:db8::3", 136, false, FILTER_DROP_ND },
		{ "of the gateway", FRAME_GUEST6, FRAME_GATEWAY6, 136, false, FILTER_DROP_ND },
		{ "by another", "2001:db8::3", FRAME_GUEST6, 136, false, FILTER_DROP_SOURCE },
		{ "as a router", FRAME_LOCAL6, NULL, 134, false, FILTER_DROP_ND },
		{ "a redirection", FRAME_LOCAL6, NULL, 137, false, FILTER_DROP_ND },
		{ "by a router", "fe80::1", NULL, 134, true, FILTER_PASS_ND },
		{ "of the host", FRAME_GATEWAY6, FRAME_GATEWAY6, 136, true, FILTER_PASS_ND },
		{ "for the VM", FRAME_GATEWAY6, FRAME_GUEST6, 135, true, FILTER_PASS_ND },
		{ "a redirection to it", "fe80::1", NULL, 137, true, FILTER_DROP_ND },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		Frame frame = frame_nd(rows[i].to_vm, rows[i].type, rows[i].source, rows[i].about);

		(void)expect(rows[i].what, &frame, rows[i].to_vm, rows[i].verdict);
		frame.bytes[21] = 254; /* was forwarded */
		if (rows[i].verdict == FILTER_PASS_ND)
			(void)expect("from afar", &frame, rows[i].to_vm, FILTER_DROP_ND);
		frame.bytes[21] = 255;
		frame.bytes[11] = 9;
		(void)expect("from another MAC", &frame, rows[i].to_vm,
			     rows[i].to_vm ? FILTER_DROP_ND : FILTER_DROP_MAC);
	}
}
