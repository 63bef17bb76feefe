/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Egress by iptables, with real packets: a guest behind a link that is routed, the host, and a
 * world behind that. Each test has network namespaces of its own.
 */

#include "base/text.h"
#include "netfw/iptables.h"
#include "tests/support/net_bench.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mount.h>

TestSuite(iptables, .init = net_bench_set_up);

static const char id[] = "vm-1";

static Prefix parse(const char *text)
{
	Prefix prefix;

	cr_assert_eq(prefix_parse(&prefix, text), 0, "%s", text);
	return prefix;
}

static IptablesVm guest(void)
{
	return (IptablesVm){ id, "tap0", parse("192.168.7.2/32"), parse("fc07::2/128") };
}

static void apply(const EgressRule *rules, size_t count)
{
	const EgressPolicy policy = { rules, count };
	const IptablesVm vm = guest();
	Error err = { 0 };

	cr_assert_eq(iptables_apply(&vm, &policy, NULL, 0, &err), 0, "%s", err.what);
}

static void allow(const char *cidr, const EgressPort *ports, size_t count)
{
	const EgressBlock to[] = { { parse(cidr), NULL, 0 } };
	const EgressRule rules[] = {
		{ .to = to, .to_count = 1, .ports = ports, .port_count = count }
	};

	apply(rules, 1);
}

static void remove_rules(void)
{
	Error err = { 0 };

	cr_assert_eq(iptables_remove(id, &err), 0, "%s", err.what);
}

/* What both tools have, without their remarks and counters. */
static char *tables(void)
{
	return net_bench_ask(NET_HOST, "for t in iptables ip6tables; do"
				       " $t-save | sed '/^#/d; s/ \\[[0-9:]*\\]$//'; done");
}

static size_t occurrences(const char *word)
{
	cleanup_free char *text = tables();
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
		count++;
	return count;
}

static bool connects(NetPlace place, const char *to, uint16_t port, bool wanted)
{
	cleanup_close int server = -1, client = -1;

	client = net_bench_tcp(place, to, port, &server, wanted);
	return client >= 0;
}

/* Both ends hear each other. */
static bool talk(int from, int to, int wait_ms)
{
	char byte;

	cr_assert_eq(send(from, "x", 1, MSG_NOSIGNAL), 1, "%s", strerror(errno));
	return net_bench_readable(to, wait_ms) && recv(to, &byte, 1, 0) == 1;
}

Test(iptables, chains_are_named_by_the_hash_of_the_id)
{
	char chain[IPTABLES_CHAIN_MAX];

	cr_assert_str_eq(iptables_chain("", chain), "HEARTH-cbf29ce484222325");
	cr_assert_str_eq(iptables_chain("a", chain), "HEARTH-af63dc4c8601ec8c");
	cr_assert_str_eq(iptables_chain("foobar", chain), "HEARTH-85944171f73967e8");
}

Test(iptables, the_probe_passes_and_leaves_nothing)
{
	Error err = { 0 };

	cr_assert_eq(iptables_probe(&err), 0, "%s", err.what);

	cr_assert_eq(occurrences("HEARTH"), 0);
}

Test(iptables, the_probe_says_what_is_missing)
{
	Error err = { 0 };

	(void)setenv("PATH", "/nowhere", 1);

	cr_assert_eq(iptables_probe(&err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_not_null(strstr(err.what, "iptables-save"), "%s", err.what);
}

Test(iptables, without_rules_nothing_leaves_the_guest)
{
	cr_assert(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 53, true));
	cr_assert(net_bench_udp(NULL, NET_WORLD, "fd01::3", 53, true));

	apply(NULL, 0);

	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 53, false));
	cr_assert_not(net_bench_udp(NULL, NET_HOST, "192.168.7.1", 53, false));
	cr_assert_not(net_bench_udp(NULL, NET_HOST, "192.168.9.1", 53, false));
	cr_assert_not(connects(NET_WORLD, "10.1.2.3", 80, false));
	cr_assert_not(net_bench_ping("10.1.2.3", false));
	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "fd01::3", 53, false));
	cr_assert_not(net_bench_udp(NULL, NET_HOST, "fc07::1", 53, false));
	cr_assert_not(net_bench_ping("fd01::3", false));
}

Test(iptables, what_is_allowed_is_reached_and_nothing_else)
{
	const EgressPort ports[] = { { EGRESS_TCP, 80, 81 },
				     { EGRESS_UDP, 53, 53 },
				     { EGRESS_ICMP, 0, UINT16_MAX } };

	allow("10.1.0.0/16", ports, 3);

	cr_assert(connects(NET_WORLD, "10.1.2.3", 80, true));
	cr_assert(connects(NET_WORLD, "10.1.2.3", 81, true));
	cr_assert_not(connects(NET_WORLD, "10.1.2.3", 82, false));
	cr_assert_not(connects(NET_WORLD, "10.2.2.3", 80, false));
	cr_assert(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 53, true));
	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 80, false));
	cr_assert(net_bench_ping("10.1.2.3", true));
	cr_assert_not(net_bench_ping("10.2.2.3", false));
	cr_assert_not(connects(NET_WORLD, "fd01::3", 80, false));
}

Test(iptables, ipv6_is_filtered_alike_and_finds_its_neighbours)
{
	const EgressPort ports[] = { { EGRESS_TCP, 80, 80 }, { EGRESS_ICMP, 0, UINT16_MAX } };

	allow("fd01::/16", ports, 2);
	net_bench_run(NET_HOST, "ip neigh flush dev tap0");
	net_bench_run(NET_GUEST, "ip neigh flush dev eth0");

	cr_assert(net_bench_ping("fd01::3", true));
	cr_assert(connects(NET_WORLD, "fd01::3", 80, true));
	cr_assert_not(connects(NET_WORLD, "fd01::3", 81, false));
	cr_assert_not(net_bench_ping("fd02::3", false));
	cr_assert_not(net_bench_ping("fc07::1", false));
}

Test(iptables, another_source_does_not_pass)
{
	apply(&(EgressRule){ 0 }, 1);

	cr_assert(net_bench_udp("192.168.7.2", NET_WORLD, "10.1.2.3", 53, true));
	cr_assert_not(net_bench_udp("192.168.7.3", NET_WORLD, "10.1.2.3", 53, false));
	cr_assert_not(net_bench_udp("192.168.7.3", NET_HOST, "192.168.7.1", 53, false));
	cr_assert(net_bench_udp("fc07::2", NET_WORLD, "fd01::3", 53, true));
	cr_assert_not(net_bench_udp("fc07::3", NET_WORLD, "fd01::3", 53, false));
}

Test(iptables, the_host_is_reached_by_a_rule_only)
{
	allow("192.168.7.1/32", NULL, 0);

	cr_assert(net_bench_udp(NULL, NET_HOST, "192.168.7.1", 53, true));
	cr_assert(connects(NET_HOST, "192.168.7.1", 80, true));
	cr_assert_not(net_bench_udp(NULL, NET_HOST, "192.168.9.1", 53, false));
}

Test(iptables, a_family_without_an_address_is_dropped_wholly)
{
	const EgressRule everything = { 0 };
	const EgressPolicy policy = { &everything, 1 };
	IptablesVm vm = guest();
	Error err = { 0 };

	vm.address6 = (Prefix){ 0 };
	cr_assert_eq(iptables_apply(&vm, &policy, NULL, 0, &err), 0, "%s", err.what);

	cr_assert(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 53, true));
	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "fd01::3", 53, false));
	cr_assert_not(net_bench_udp(NULL, NET_HOST, "fc07::1", 53, false));
}

Test(iptables, who_asks_the_guest_is_answered_without_a_rule)
{
	cleanup_close int listener = net_bench_server(NET_GUEST, SOCK_STREAM, "192.168.7.2", 80);
	cleanup_close int client = net_bench_socket(NET_WORLD, AF_INET, SOCK_STREAM, 0);
	cleanup_close int accepted = -1;
	struct sockaddr_storage address;
	socklen_t size = net_bench_address(&address, "192.168.7.2", 80);

	apply(NULL, 0);

	cr_assert_eq(connect(client, (struct sockaddr *)&address, size), 0, "%s", strerror(errno));
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert(talk(client, accepted, 5000));
	cr_assert(talk(accepted, client, 5000));
	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "192.168.9.2", 53, false));
}

Test(iptables, an_exchange_keeps_what_is_allowed_and_ends_what_is_revoked)
{
	const EgressPort both[] = { { EGRESS_TCP, 80, 80 }, { EGRESS_TCP, 90, 90 } };
	cleanup_close int kept = -1, kept_server = -1, cut = -1, cut_server = -1;

	allow("10.0.0.0/8", both, 2);
	kept = net_bench_tcp(NET_WORLD, "10.1.2.3", 80, &kept_server, true);
	cut = net_bench_tcp(NET_WORLD, "10.1.2.3", 90, &cut_server, true);
	cr_assert(talk(kept, kept_server, 5000));
	cr_assert(talk(cut, cut_server, 5000));

	allow("10.0.0.0/8", both, 1);

	cr_assert(talk(kept, kept_server, 5000));
	cr_assert(talk(kept_server, kept, 5000));
	cr_assert_not(talk(cut, cut_server, 500));
	cr_assert(connects(NET_WORLD, "10.1.2.4", 80, true));
	cr_assert_not(connects(NET_WORLD, "10.1.2.4", 90, false));
	cr_assert_eq(occurrences("-A FORWARD"), 2);
	cr_assert_eq(occurrences("-A INPUT"), 2);
}

static void add_foreign_rules(void)
{
	net_bench_run(NET_HOST,
		      "for t in iptables ip6tables; do $t -N OTHER; $t -A OTHER -j RETURN;"
		      "$t -A FORWARD -i tap0 -j OTHER; $t -N HEARTH-0123; $t -P FORWARD ACCEPT;"
		      "$t -A INPUT -m comment --comment 'x -j HEARTH-af63dc4c8601ec8c' -j OTHER;"
		      "$t -A OUTPUT -o lo -j ACCEPT; $t -t mangle -A FORWARD -j ACCEPT; done");
}

Test(iptables, removal_leaves_the_tables_as_they_were)
{
	const Prefix except = parse("10.1.0.0/16");
	const EgressBlock block = { parse("10.0.0.0/8"), &except, 1 };
	const EgressRule rule = { .to = &block, .to_count = 1 };
	cleanup_free char *before = NULL, *after = NULL, *again = NULL;

	add_foreign_rules();
	before = tables();
	apply(&rule, 1);
	cr_assert_eq(occurrences("-A FORWARD -i tap0 -j HEARTH-"), 2);

	remove_rules();

	after = tables();
	cr_assert_str_eq(after, before);
	remove_rules();
	again = tables();
	cr_assert_str_eq(again, before);
}

Test(iptables, what_is_missing_or_doubled_is_repaired)
{
	char chain[IPTABLES_CHAIN_MAX];
	cleanup_free char *damage = NULL, *wanted = NULL, *repaired = NULL;
	const EgressPort port = { EGRESS_UDP, 53, 53 };

	iptables_chain(id, chain);
	allow("10.1.0.0/16", &port, 1);
	wanted = tables();
	damage = text_printf("iptables -D FORWARD -i tap0 -j %s; iptables -A INPUT -i old -j %s;"
			     "iptables -I %s -j ACCEPT; iptables -N %s-0003;"
			     "ip6tables -A FORWARD -i tap0 -j %s; ip6tables -F %s",
			     chain, chain, chain, chain, chain, chain);
	net_bench_run(NET_HOST, damage);

	allow("10.1.0.0/16", &port, 1);

	repaired = tables();
	cr_assert_str_eq(repaired, wanted);
	net_bench_run(NET_HOST, damage);
	remove_rules();
	cr_assert_eq(occurrences("HEARTH"), 0);
}

Test(iptables, a_chain_that_is_another_vms_is_left_alone)
{
	char chain[IPTABLES_CHAIN_MAX];
	cleanup_free char *make = NULL, *before = NULL, *after = NULL;
	const EgressPolicy policy = { 0 };
	const IptablesVm vm = guest();
	Error err = { 0 };

	iptables_chain(id, chain);
	make = text_printf("iptables -N %s; iptables -A %s -m comment --comment vm-2;"
			   "iptables -A FORWARD -i tap9 -j %s; ip6tables -S",
			   chain, chain, chain);
	net_bench_run(NET_HOST, make);
	before = tables();

	cr_assert_eq(iptables_apply(&vm, &policy, NULL, 0, &err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_not_null(strstr(err.what, "vm-2"), "%s", err.what);
	remove_rules();
	after = tables();
	cr_assert_str_eq(after, before);
}

Test(iptables, chains_of_vms_that_are_no_more_are_collected)
{
	const Prefix except = parse("fd01::/16");
	const EgressBlock block = { parse("fd00::/8"), &except, 1 };
	const EgressRule rule = { .to = &block, .to_count = 1 };
	const EgressPolicy policy = { &rule, 1 };
	const char *const kept[] = { "vm-3", id, "never-seen" };
	cleanup_free char *before = NULL, *after = NULL;
	IptablesVm vm = guest();
	size_t removed = 0;
	Error err = { 0 };

	add_foreign_rules();
	apply(&rule, 1);
	before = tables();
	for (int i = 5; i < 8; i++) {
		cleanup_free char *name = text_printf("vm-%d", i);
		cleanup_free char *tap = text_printf("tap%d", i);

		vm.id = name;
		vm.tap = tap;
		cr_assert_eq(iptables_apply(&vm, &policy, NULL, 0, &err), 0, "%s", err.what);
	}

	cr_assert_eq(iptables_collect(kept, array_size(kept), &removed, &err), 0, "%s", err.what);

	cr_assert_eq(removed, 3);
	after = tables();
	cr_assert_str_eq(after, before);
	cr_assert_eq(iptables_collect(kept, array_size(kept), &removed, &err), 0);
	cr_assert_eq(removed, 0);
	cr_assert_eq(iptables_collect(NULL, 0, &removed, &err), 0);
	cr_assert_eq(removed, 1);
}

/* One that is refused is refused before anything runs: there are no tools. */
static void check_refused(const IptablesVm *vm, const EgressRule *rule, const Prefix *denied)
{
	const EgressPolicy policy = { rule, 1 };
	Error err = { 0 };

	(void)setenv("PATH", "/nowhere", 1);
	cr_assert_eq(iptables_apply(vm, &policy, denied, 1, &err), -1);
	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_eq(err.cause, CAUSE_INPUT, "%s", err.what);
}

Test(iptables, what_could_mean_something_else_to_a_tool_is_refused)
{
	static const char *const taps[] = { "",     "tap+",  "-j",
					    "a b",  "a\nb",  "sixteen-bytes-xx",
					    "!tap", "\"tap", NULL };
	static const char *const ids[] = { "", "A", "a b", "a\n-F", "-a", "a\"" };
	const EgressRule rule = { 0 };
	const Prefix denied = parse("10.0.0.0/8");
	IptablesVm vm = guest();

	for (size_t i = 0; i < array_size(taps); i++) {
		vm.tap = taps[i];
		check_refused(&vm, &rule, &denied);
	}
	vm = guest();
	for (size_t i = 0; i < array_size(ids); i++) {
		vm.id = ids[i];
		check_refused(&vm, &rule, &denied);
	}
}

Test(iptables, addresses_and_ports_that_are_none_are_refused)
{
	const Prefix good = parse("10.0.0.0/8"), outside = parse("11.0.0.0/8");
	const Prefix none = { .family = 5, .length = 8 }, long_one = { .family = 4, .length = 33 };
	const Prefix host_bits = { .family = 4, .length = 8, .address = { 10, 1 } };
	const EgressBlock blocks[] = { { none, NULL, 0 },
				       { long_one, NULL, 0 },
				       { host_bits, NULL, 0 },
				       { good, &outside, 1 } };
	const EgressPort ports[] = { { 47, 0, UINT16_MAX },
				     { EGRESS_TCP, 2, 1 },
				     { EGRESS_TCP, 0, 5 },
				     { EGRESS_ICMPV6, 0, UINT16_MAX } };
	IptablesVm vm = guest();

	for (size_t i = 0; i < array_size(blocks); i++)
		check_refused(&vm, &(EgressRule){ .to = &blocks[i], .to_count = 1 }, &good);
	for (size_t i = 0; i < array_size(ports); i++)
		check_refused(&vm, &(EgressRule){ .ports = &ports[i], .port_count = 1 }, &good);
	check_refused(&vm, &(EgressRule){ 0 }, &none);
	vm.address4 = parse("192.168.7.0/24");
	check_refused(&vm, &(EgressRule){ 0 }, &good);
	vm = guest();
	vm.address6 = vm.address4;
	check_refused(&vm, &(EgressRule){ 0 }, &good);
}

Test(iptables, more_rules_than_the_bound_are_refused)
{
	enum {
		COUNT = 33000
	};
	cleanup_free EgressBlock *blocks = new0_array(EgressBlock, COUNT);
	const EgressRule rule = { .to = blocks, .to_count = COUNT };
	const Prefix denied = parse("11.0.0.0/8");
	const IptablesVm vm = guest();

	for (size_t i = 0; i < COUNT; i++)
		blocks[i].cidr = (Prefix){ 4, 32, { 10, 1, (uint8_t)(i >> 8), (uint8_t)i } };

	check_refused(&vm, &rule, &denied);
}

Test(iptables, ten_thousand_blocks_are_installed_and_removed)
{
	enum {
		COUNT = 10000
	};
	cleanup_free EgressBlock *blocks = new0_array(EgressBlock, COUNT);
	const EgressPort ports[] = { { EGRESS_UDP, 53, 53 }, { EGRESS_TCP, 53, 53 } };
	const EgressRule rule = {
		.to = blocks, .to_count = COUNT, .ports = ports, .port_count = 2
	};

	for (size_t i = 0; i < COUNT; i++)
		blocks[i].cidr = (Prefix){ 4, 32, { 10, 1, (uint8_t)(i >> 8), (uint8_t)i } };
	apply(&rule, 1);

	cr_assert(net_bench_udp(NULL, NET_WORLD, "10.1.39.15", 53, true));
	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "10.1.39.16", 53, false));

	remove_rules();
	cr_assert_eq(occurrences("HEARTH"), 0);
}

Test(iptables, the_legacy_tools_do_as_well)
{
	const EgressPort port = { EGRESS_UDP, 53, 53 };
	cleanup_free char *before = NULL, *after = NULL;
	Error err = { 0 };

	if (access("/usr/sbin/xtables-legacy-multi", X_OK) < 0) {
		(void)fprintf(stderr, "skipped: no legacy iptables\n");
		cr_skip_test("no legacy iptables");
	}
	cr_assert_eq(mount("none", "/mnt", "tmpfs", 0, NULL), 0); /* seen by this test alone */
	net_bench_run(NET_HOST, "for t in iptables ip6tables; do for u in '' -save -restore; do "
				"ln -s /usr/sbin/xtables-legacy-multi /mnt/$t$u; done; done");
	(void)setenv("PATH", "/mnt:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	(void)setenv("XTABLES_LOCKFILE", "/mnt/lock", 1); /* not the host's */
	cr_assert_eq(iptables_probe(&err), 0, "%s", err.what);
	add_foreign_rules();
	before = tables();

	allow("10.1.0.0/16", NULL, 0);
	allow("10.1.0.0/16", &port, 1);

	cr_assert(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 53, true));
	cr_assert_not(net_bench_udp(NULL, NET_WORLD, "10.1.2.3", 54, false));
	cr_assert_eq(occurrences("-j HEARTH-"), 6); /* two of them in foreign comments */
	remove_rules();
	after = tables();
	cr_assert_str_eq(after, before);
}
