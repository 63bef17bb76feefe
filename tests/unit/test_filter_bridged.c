/* SPDX-License-Identifier: Apache-2.0 */

/* A VM on a bridge, whose neighbours are others than the host. */

#include "tests/unit/filter_fixture.h"

enum {
	TCP = 6,
	UDP = 17,
};

#define NEIGHBOUR4 "10.0.0.3"
#define NEIGHBOUR6 "2001:db8::3"
#define OWN_LOCAL6 "fe80::ff:fe00:2" /* made from frame_guest_mac */
#define ROUTER_LOCAL6 "fe80::1"

static void open_bridged(void)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	FilterVm vm;
	Error err = { 0 };

	open_bench();
	vm = filter_bench_vm(&bench, 0);
	vm.bridged = true;
	memset(vm.gateway4, 0, sizeof vm.gateway4);
	memset(vm.gateway6, 0, sizeof vm.gateway6);
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

TestSuite(filter_bridged, .init = open_bridged, .fini = close_bench);

/* From another MAC than a routed VM's gateway has. */
static Frame from_neighbour(Frame frame)
{
	memcpy(frame.bytes + 6, frame_other_mac, 6);
	return frame;
}

static Frame to_all(Frame frame)
{
	memset(frame.bytes, 0xff, 6);
	return frame;
}

Test(filter_bridged, it_asks_and_answers_its_neighbours_itself)
{
	static const struct {
		const char *what, *sender, *target;
		uint8_t operation;
		int verdict;
	} rows[] = {
		{ "a question", FRAME_GUEST4, NEIGHBOUR4, 1, FILTER_PASS_ARP },
		{ "an announcement", FRAME_GUEST4, FRAME_GUEST4, 1, FILTER_PASS_ARP },
		{ "a probe", "0.0.0.0", FRAME_GUEST4, 1, FILTER_PASS_ARP },
		{ "an answer", FRAME_GUEST4, NEIGHBOUR4, 2, FILTER_PASS_ARP },
		{ "another's answer", NEIGHBOUR4, FRAME_GUEST4, 2, FILTER_DROP_SOURCE },
		{ "another's question", NEIGHBOUR4, "10.0.0.4", 1, FILTER_DROP_SOURCE },
		{ "reverse ARP", FRAME_GUEST4, NEIGHBOUR4, 3, FILTER_DROP_ARP },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		Frame frame =
			to_all(frame_arp(false, rows[i].operation, rows[i].sender, rows[i].target));
		FilterOutcome outcome = expect(rows[i].what, &frame, false, rows[i].verdict);

		cr_expect_neq(outcome.action, FILTER_BENCH_ANSWERED, "%s", rows[i].what);
		frame.bytes[11] ^= 1;
		(void)expect("from another MAC", &frame, false, FILTER_DROP_MAC);
	}
}

Test(filter_bridged, its_neighbours_ask_and_answer_it)
{
	Frame question = from_neighbour(to_all(frame_arp(true, 1, NEIGHBOUR4, FRAME_GUEST4)));
	Frame answer = from_neighbour(frame_arp(true, 2, NEIGHBOUR4, FRAME_GUEST4));

	(void)expect("a question", &question, true, FILTER_PASS_ARP);
	(void)expect("an answer", &answer, true, FILTER_PASS_ARP);
}

Test(filter_bridged, the_same_by_neighbour_discovery)
{
	static const struct {
		const char *what, *source, *about;
		uint8_t type;
		bool to_vm;
		int verdict;
	} rows[] = {
		{ "a solicitation", FRAME_GUEST6, NEIGHBOUR6, 135, false, FILTER_PASS_ND },
		{ "an advertisement", FRAME_GUEST6, FRAME_GUEST6, 136, false, FILTER_PASS_ND },
		{ "of another", FRAME_GUEST6, NEIGHBOUR6, 136, false, FILTER_DROP_ND },
		{ "by another", NEIGHBOUR6, FRAME_GUEST6, 136, false, FILTER_DROP_SOURCE },
		{ "of its local address", OWN_LOCAL6, OWN_LOCAL6, 136, false, FILTER_PASS_ND },
		{ "is it mine alone?", "::", OWN_LOCAL6, 135, false, FILTER_PASS_ND },
		{ "of the router's", FRAME_GUEST6, ROUTER_LOCAL6, 136, false, FILTER_DROP_ND },
		{ "by the router's", ROUTER_LOCAL6, ROUTER_LOCAL6, 136, false, FILTER_DROP_SOURCE },
		{ "a question by the router's", ROUTER_LOCAL6, NEIGHBOUR6, 135, false,
		  FILTER_DROP_SOURCE },
		{ "as a router", OWN_LOCAL6, NULL, 134, false, FILTER_DROP_ND },
		{ "a neighbour's solicitation", NEIGHBOUR6, FRAME_GUEST6, 135, true,
		  FILTER_PASS_ND },
		{ "its advertisement", NEIGHBOUR6, NEIGHBOUR6, 136, true, FILTER_PASS_ND },
		{ "a redirection", NEIGHBOUR6, NULL, 137, true, FILTER_DROP_ND },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		Frame frame = frame_nd(rows[i].to_vm, rows[i].type, rows[i].source, rows[i].about);
		FilterOutcome outcome;

		if (rows[i].to_vm)
			frame = from_neighbour(frame);
		outcome = expect(rows[i].what, &frame, rows[i].to_vm, rows[i].verdict);
		cr_expect_neq(outcome.action, FILTER_BENCH_ANSWERED, "%s", rows[i].what);
	}
}

Test(filter_bridged, it_tells_of_no_mac_but_its_own)
{
	enum {
		OPTION_AT = 14 + 40 + 24, /* behind Ethernet, IPv6 and what is asked about */
	};
	Frame advert = frame_nd(false, 136, FRAME_GUEST6, FRAME_GUEST6);
	Frame question = frame_nd(false, 135, FRAME_GUEST6, NEIGHBOUR6);
	Frame bare = question, nonce = question, other = advert, two = question;

	bare.size -= 8;
	bare.bytes[19] = (uint8_t)(bare.bytes[19] - 8);
	nonce.bytes[OPTION_AT] = 14;
	memcpy(nonce.bytes + OPTION_AT + 2, frame_other_mac, 6);
	memcpy(other.bytes + OPTION_AT + 2, frame_other_mac, 6);
	memcpy(two.bytes + two.size, two.bytes + OPTION_AT, 8);
	two.size += 8;
	two.bytes[19] = (uint8_t)(two.bytes[19] + 8);

	(void)expect("its own", &advert, false, FILTER_PASS_ND);
	(void)expect("none", &bare, false, FILTER_PASS_ND);
	(void)expect("a nonce", &nonce, false, FILTER_PASS_ND);
	(void)expect("another's", &other, false, FILTER_DROP_ND);
	(void)expect("more than one", &two, false, FILTER_DROP_ND);
	memcpy(question.bytes + OPTION_AT + 2, frame_other_mac, 6);
	(void)expect("another's, asking", &question, false, FILTER_DROP_ND);
}

Test(filter_bridged, its_policy_holds_as_if_it_were_routed)
{
	const FrameSpec ask = { .target = "192.0.2.1",
				.protocol = TCP,
				.source_port = 1,
				.target_port = 80,
				.tcp = FRAME_TCP_SYN };
	const FrameSpec denied = {
		.target = NEIGHBOUR4, .protocol = TCP, .target_port = 80, .tcp = FRAME_TCP_SYN
	};
	const FrameSpec spoofed = {
		.source = NEIGHBOUR4, .target = "192.0.2.1", .protocol = TCP, .target_port = 80
	};
	const FrameSpec reply = { .to_vm = true,
				  .source = "192.0.2.1",
				  .protocol = TCP,
				  .source_port = 80,
				  .target_port = 1,
				  .tcp = FRAME_TCP_ACK };
	const FrameSpec unasked = { .to_vm = true,
				    .source = NEIGHBOUR4,
				    .protocol = TCP,
				    .target_port = 22,
				    .tcp = FRAME_TCP_SYN };
	const FrameSpec gateway = { .to_vm = true,
				    .source = FRAME_GATEWAY4,
				    .protocol = TCP,
				    .target_port = 22,
				    .tcp = FRAME_TCP_SYN };
	Frame answer = from_neighbour(frame_make(&reply));

	(void)expect_spec("allowed", &ask, FILTER_PASS_POLICY);
	(void)expect("its answer", &answer, true, FILTER_PASS_REPLY);
	(void)expect_spec("denied", &denied, FILTER_DROP_POLICY);
	(void)expect_spec("another's address", &spoofed, FILTER_DROP_SOURCE);
	(void)expect_spec("from a neighbour", &unasked, FILTER_DROP_UNSOLICITED);
	(void)expect_spec("from the router, who is not the host", &gateway,
			  FILTER_DROP_UNSOLICITED);
}

Test(filter_bridged, what_goes_to_all_does_not_pass)
{
	const FrameSpec out = { .target = "192.0.2.1", .protocol = UDP, .target_port = 53 };
	const FrameSpec in = {
		.to_vm = true, .source = "192.0.2.1", .protocol = UDP, .source_port = 53
	};
	Frame broadcast = to_all(frame_make(&out)), incoming = to_all(frame_make(&in));
	Frame multicast = frame_make(&out);

	multicast.bytes[0] = 0x01;
	(void)expect_spec("to one", &out, FILTER_PASS_POLICY);
	(void)expect("broadcast", &broadcast, false, FILTER_DROP_MULTICAST);
	(void)expect("multicast", &multicast, false, FILTER_DROP_MULTICAST);
	(void)expect("to it as well", &incoming, true, FILTER_DROP_MULTICAST);
}
