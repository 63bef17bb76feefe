/* SPDX-License-Identifier: Apache-2.0 */

/* The rules in a network namespace of each test's own, and packets that meet them. */

#include "base/process.h"
#include "netfw/filter_maps.h"
#include "netfw/rules.h"
#include "tests/unit/link_bench.h"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <sys/socket.h>

enum {
	PORT = 5353,
	OUTSIDE = 5354,
};

static const char from[] = "192.0.2.7", to[] = "192.0.2.8";
static const char from6[] = "2001:db8::7", to6[] = "2001:db8::8";

static void set_up_rules(void)
{
	cleanup_free char *nft = NULL;

	set_up();
	nft = process_find("nft");
	cr_assert_not_null(nft, "nft is not installed");
}

TestSuite(rules, .init = set_up_rules);

static const RulesConfig standard = {
	.table = "hearth_test",
	.tap_prefix = "h",
	.uplink = "up0",
	.masquerade4 = { .family = 4, .length = 24, .address = { 192, 0, 2, 0 } },
	.masquerade6 = { .family = 6, .length = 32, .address = { 0x20, 0x01, 0x0d, 0xb8 } },
};

static void load(const RulesConfig *rules)
{
	Error err = { 0 };

	cr_assert_eq(rules_load(rules, &err), 0, "%s", err.what);
}

static uint64_t dropped(void)
{
	uint64_t count = UINT64_MAX;
	Error err = { 0 };

	cr_assert_eq(rules_dropped(&standard, &count, &err), 0, "%s", err.what);
	return count;
}

static void forward(void)
{
	Error err = { 0 };

	cr_assert_eq(rules_enable_forwarding(false, &err), 0, "%s", err.what);
}

/* From now on every packet from a VM has @mark. */
static void mark(uint32_t value)
{
	cleanup_close int from_vm = net_program(value, TC_ACT_OK);
	cleanup_close int to_vm = net_program(0, TC_ACT_OK);
	Error err = { 0 };

	cr_assert_eq(link_attach(from_vm, to_vm, &err), 0, "%s", err.what);
}

/* Two taps with a VM behind each. */
typedef struct Pair {
	int from, to;
} Pair;

static Pair make_pair(const char *first, const char *second, const char *bridge)
{
	Pair pair = { net_tap(first), net_tap(second) };
	LinkTap a = routed(first, from), b = routed(second, to);

	prepare();
	a.bridge = b.bridge = bridge;
	a.address6 = address(from6);
	b.address6 = address(to6);
	(void)up(&a);
	(void)up(&b);
	return pair;
}

static void pair_clear(const Pair *pair)
{
	(void)close(pair->from);
	(void)close(pair->to);
}

/* How much of one datagram arrives, which is sent to @mac. */
static unsigned pass(const Pair *pair, const uint8_t *mac)
{
	const NetUdp udp = { from, to, PORT, mac };
	char source[NET_ADDRESS_MAX] = "";

	net_send(pair->from, &udp);
	return net_received(pair->to, PORT, source);
}

/* The same by IPv6. */
static unsigned pass6(const Pair *pair)
{
	const NetUdp udp = { from6, to6, PORT, host_mac };
	char source[NET_ADDRESS_MAX] = "";

	net_send(pair->from, &udp);
	return net_received(pair->to, PORT, source);
}

/* A socket of the host's that gets what is sent to @address. */
static int listen_at(const char *text)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert_eq(inet_pton(AF_INET, text, &own.sin_addr), 1);
	cr_assert_eq(bind(fd, (const struct sockaddr *)&own, sizeof own), 0);
	return fd;
}

static unsigned heard(int fd)
{
	unsigned count = 0;
	char bytes[64];

	while (recv(fd, bytes, sizeof bytes, 0) > 0)
		count++;
	return count;
}

static void check_missing(const RulesConfig *rules, const char *what)
{
	Error err = { 0 };

	cr_assert_eq(rules_check(rules, &err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_not_null(strstr(err.what, what), "no '%s' in: %s", what, err.what);
}

Test(rules, loaded_twice_they_are_there_once)
{
	cleanup_free char *first = NULL;
	cleanup_free char *second = NULL;
	Error err = { 0 };

	load(&standard);
	first = net_says("nft list ruleset");
	load(&standard);
	second = net_says("nft list ruleset");

	cr_assert_str_eq(first, second);
	cr_assert_eq(rules_check(&standard, &err), 0, "%s", err.what);
	check_says("nft list ruleset | grep -c 'drop comment'", "4");
	check_says("nft list ruleset | grep -c 'masquerade comment'", "2");
}

Test(rules, other_configuration_replaces_them)
{
	RulesConfig other = standard;
	Error err = { 0 };

	load(&standard);
	other.tap_prefix = "x-";
	other.uplink = NULL;
	check_missing(&other, "interlock x-*");

	load(&other);

	cr_assert_eq(rules_check(&other, &err), 0, "%s", err.what);
	check_missing(&standard, "interlock h*");
	check_silent("nft list ruleset | grep masquerade || true");
}

Test(rules, tables_of_others_are_left_alone)
{
	net_run("nft add table inet theirs; nft add chain inet theirs c; "
		"nft add rule inet theirs c udp dport 9 counter drop; nft add table ip "
		"hearth_test");

	load(&standard);
	check_says("nft list ruleset", "table inet theirs", "udp dport 9", "table ip hearth_test",
		   "table inet hearth_test", "table bridge hearth_test");
	rules_remove(&standard);
	rules_remove(&standard);

	check_says("nft list ruleset", "table inet theirs", "udp dport 9", "table ip hearth_test");
	check_silent("nft list ruleset | grep -E '(inet|bridge) hearth_test' || true");
}

Test(rules, the_check_says_what_is_missing)
{
	Error err = { 0 };

	check_missing(&standard, "list table inet hearth_test");
	cr_assert_eq(rules_dropped(&standard, &(uint64_t){ 0 }, &err), -1);
	cr_assert_eq(err.kind, ERROR_FIREWALL);
	load(&standard);
	net_run("nft flush chain inet hearth_test input");
	check_missing(&standard, "chain input: no rule 'interlock h* 0x5e000000'");
	load(&standard);
	net_run("nft flush chain inet hearth_test postrouting");
	check_missing(&standard, "no rule 'masquerade 192.0.2.0/24 by up0'");
	load(&standard);
	net_run("nft delete chain inet hearth_test forward; nft add chain inet hearth_test "
		"forward; "
		"nft add rule inet hearth_test forward drop comment "
		"'\"interlock h* 0x5e000000\"'");
	check_missing(&standard, "chain forward: no rule"); /* the kernel never comes to it */
	load(&standard);
	net_run("nft delete table bridge hearth_test");

	check_missing(&standard, "list table bridge hearth_test");
}

Test(rules, what_would_mean_something_in_nfts_language_is_refused)
{
	static const RulesConfig bad[] = {
		{ .table = "", .tap_prefix = "h" },
		{ .table = "a b", .tap_prefix = "h" },
		{ .table = "a;flush ruleset", .tap_prefix = "h" },
		{ .table = "hearth", .tap_prefix = "" },
		{ .table = "hearth", .tap_prefix = "h\"" },
		{ .table = "hearth", .tap_prefix = "h*" },
		{ .table = "hearth", .tap_prefix = "fifteen-bytes-x" },
		{ .table = "hearth", .tap_prefix = "h", .uplink = "up\"0" },
		{ .table = "hearth", .tap_prefix = "h", .uplink = "up*" },
		{ .table = "hearth", .tap_prefix = "h", .uplink = "sixteen-bytes-xx" },
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		Error err = { 0 };

		cr_assert_eq(rules_load(&bad[i], &err), -1, "%zu", i);

		cr_assert_eq(err.kind, ERROR_FIREWALL, "%s", err.what);
		cr_assert_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	}
	check_silent("nft list ruleset");
}

Test(rules, a_failure_has_nfts_words_and_changes_nothing)
{
	RulesConfig bad = standard;
	Error err = { 0 };

	load(&standard);
	bad.table = "0";

	cr_assert_eq(rules_load(&bad, &err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_not_null(strstr(err.what, "load the rules: nft: "), "%s", err.what);
	cr_assert_not_null(strstr(err.what, "syntax error"), "%s", err.what);
	cr_assert_eq(rules_check(&standard, &(Error){ 0 }), 0);
}

Test(rules, without_nft_the_error_says_so)
{
	Error err = { 0 };

	cr_assert_eq(setenv("PATH", "/nonexistent", 1), 0);

	cr_assert_eq(rules_load(&standard, &err), -1);

	cr_assert_str_eq(err.what, "load the rules: run nft: No such file or directory");
}

Test(rules, what_is_forwarded_without_the_mark_is_dropped)
{
	cleanup_(pair_clear) Pair pair = make_pair("ha0", "hb0", NULL);

	forward();
	cr_assert_eq(pass(&pair, host_mac), 1);

	load(&standard);
	cr_assert_eq(pass(&pair, host_mac), 0);
	mark(FILTER_MARK | 7);
	cr_assert_eq(pass(&pair, host_mac), 1);
	mark(0x5f000007);
	cr_assert_eq(pass(&pair, host_mac), 0);
	net_run("tc qdisc del dev ha0 clsact");
	cr_assert_eq(pass(&pair, host_mac), 0);

	cr_assert_eq(dropped(), 3);
}

Test(rules, it_is_the_same_with_ipv6)
{
	cleanup_(pair_clear) Pair pair = make_pair("ha0", "hb0", NULL);
	Error err = { 0 };

	cr_assert_eq(rules_enable_forwarding(true, &err), 0, "%s", err.what);
	cr_assert_eq(pass6(&pair), 1);

	load(&standard);
	cr_assert_eq(pass6(&pair), 0);
	mark(FILTER_MARK | 7);
	cr_assert_eq(pass6(&pair), 1);
	net_run("tc qdisc del dev ha0 clsact");
	cr_assert_eq(pass6(&pair), 0);

	cr_assert_eq(dropped(), 2);
}

Test(rules, what_the_host_would_get_without_the_mark_is_dropped)
{
	cleanup_(pair_clear) Pair pair = make_pair("ha0", "hb0", NULL);
	const NetUdp udp = { from, "192.0.2.1", PORT, host_mac };
	const Prefix gateway = address("192.0.2.1");
	cleanup_close int host = -1;
	Error err = { 0 };

	cr_assert_eq(link_add_address("lo", &gateway, &err), 0, "%s", err.what);
	host = listen_at("192.0.2.1");
	net_send(pair.from, &udp);
	cr_assert_eq(heard(host), 1);

	load(&standard);
	net_send(pair.from, &udp);
	cr_assert_eq(heard(host), 0);
	mark(FILTER_MARK);
	net_send(pair.from, &udp);
	cr_assert_eq(heard(host), 1);

	cr_assert_eq(dropped(), 1);
}

Test(rules, what_is_bridged_without_the_mark_is_dropped)
{
	cleanup_(pair_clear) Pair pair = { -1, -1 };

	net_run("ip link add br0 type bridge; ip link set br0 up");
	pair = make_pair("ha0", "hb0", "br0");
	cr_assert_eq(pass(&pair, NULL), 0, "VMs on one bridge are apart");
	net_run("bridge link set dev hb0 isolated off");
	cr_assert_eq(pass(&pair, NULL), 1);

	load(&standard);
	cr_assert_eq(pass(&pair, NULL), 0);
	mark(FILTER_MARK | 7);
	cr_assert_eq(pass(&pair, NULL), 1);

	cr_assert_eq(dropped(), 1);
}

Test(rules, what_a_bridge_would_give_to_the_host_without_the_mark_is_dropped)
{
	static const uint8_t bridge_mac[] = { 0x02, 0xbb, 0, 0, 0, 1 };
	const NetUdp udp = { from, "192.0.2.1", PORT, bridge_mac };
	cleanup_(pair_clear) Pair pair = { -1, -1 };
	cleanup_close int host = -1;

	net_run("ip link add br0 address 02:bb:00:00:00:01 type bridge; ip link set br0 up; "
		"ip addr add 192.0.2.1/24 dev br0");
	pair = make_pair("ha0", "hb0", "br0");
	host = listen_at("192.0.2.1");
	net_send(pair.from, &udp);
	cr_assert_eq(heard(host), 1);

	load(&standard);
	net_send(pair.from, &udp);
	cr_assert_eq(heard(host), 0);
	mark(FILTER_MARK);
	net_send(pair.from, &udp);
	cr_assert_eq(heard(host), 1);

	cr_assert_eq(dropped(), 1);
}

Test(rules, interfaces_of_other_names_do_without_the_mark)
{
	cleanup_(pair_clear) Pair pair = make_pair("other", "hb0", NULL);

	forward();
	load(&standard);

	cr_assert_eq(pass(&pair, host_mac), 1);
	cr_assert_eq(dropped(), 0);
}

/* Sends to a tap that plays the uplink; where it came from. */
static void pass_uplink(const Pair *pair, char source[static NET_ADDRESS_MAX])
{
	const NetUdp udp = { from, "198.51.100.9", OUTSIDE, host_mac };

	net_send(pair->from, &udp);
	cr_assert_eq(net_received(pair->to, OUTSIDE, source), 1);
}

/* A tap that plays the uplink, with what is behind it. */
static Pair make_uplink(void)
{
	Pair pair = make_pair("ha0", "up0", NULL);

	forward();
	net_run("ip addr add 203.0.113.5/24 dev up0; "
		"ip neigh add 203.0.113.1 lladdr 06:00:00:00:00:09 dev up0; "
		"ip route add default via 203.0.113.1");
	return pair;
}

Test(rules, what_leaves_by_the_uplink_with_the_mark_has_its_address)
{
	cleanup_(pair_clear) Pair pair = make_uplink();
	char source[NET_ADDRESS_MAX] = "";

	mark(FILTER_MARK | 7);
	load(&standard);

	pass_uplink(&pair, source);

	cr_assert_str_eq(source, "203.0.113.5");
}

Test(rules, by_ipv6_it_has_its_address_as_well)
{
	cleanup_(pair_clear) Pair pair = make_uplink();
	const NetUdp udp = { from6, "2001:db8:ffff::9", OUTSIDE, host_mac };
	char source[NET_ADDRESS_MAX] = "";
	Error err = { 0 };

	cr_assert_eq(rules_enable_forwarding(true, &err), 0, "%s", err.what);
	net_run("ip addr add 2001:db8:fffe::5/64 dev up0 nodad; "
		"ip neigh add 2001:db8:fffe::1 lladdr 06:00:00:00:00:09 dev up0; "
		"ip route add default via 2001:db8:fffe::1");
	mark(FILTER_MARK | 7);
	load(&standard);

	net_send(pair.from, &udp);

	cr_assert_eq(net_received(pair.to, OUTSIDE, source), 1);
	cr_assert_str_eq(source, "2001:db8:fffe::5");
}

Test(rules, other_sources_and_uplinks_keep_their_addresses)
{
	cleanup_(pair_clear) Pair pair = make_uplink();
	RulesConfig elsewhere = standard, others = standard;
	char source[NET_ADDRESS_MAX] = "";

	mark(FILTER_MARK | 7);
	elsewhere.uplink = "up1";
	others.masquerade4.address[0] = 10;

	load(&elsewhere);
	pass_uplink(&pair, source);
	cr_assert_str_eq(source, from);
	load(&others);
	pass_uplink(&pair, source);
	cr_assert_str_eq(source, from);
}

Test(rules, forwarding_is_enabled_and_routers_are_still_heard)
{
	Error err = { 0 };

	net_run("ip link add foreign0 type veth peer name foreign1; "
		"echo 0 > /proc/sys/net/ipv6/conf/foreign1/accept_ra");
	check_says("cat /proc/sys/net/ipv6/conf/foreign0/accept_ra", "1");

	for (int i = 0; i < 2; i++)
		cr_assert_eq(rules_enable_forwarding(true, &err), 0, "%s", err.what);

	check_says("cat /proc/sys/net/ipv4/ip_forward", "1");
	check_says("cat /proc/sys/net/ipv6/conf/all/forwarding", "1");
	check_says("cat /proc/sys/net/ipv6/conf/foreign0/accept_ra", "2");
	check_says("cat /proc/sys/net/ipv6/conf/foreign1/accept_ra", "0");
}

Test(rules, forwarding_of_ipv6_is_not_enabled_unasked)
{
	forward();

	check_says("cat /proc/sys/net/ipv4/ip_forward", "1");
	check_says("cat /proc/sys/net/ipv6/conf/all/forwarding", "0");
}
