/* SPDX-License-Identifier: Apache-2.0 */

/* One tap, up and down. */

#include "base/clock.h"
#include "base/text.h"
#include "tests/unit/link_bench.h"

TestSuite(link_up, .init = set_up);

static void check_failure(const LinkTap *tap, const char *first, const char *second)
{
	Error err = { 0 };
	uint32_t index = 4711;

	cr_assert_eq(link_up(&index, &config, tap, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_eq(index, 4711);
	cr_assert_not_null(strstr(err.what, tap->name), "%s", err.what);
	cr_assert_not_null(strstr(err.what, first), "%s", err.what);
	cr_assert_not_null(strstr(err.what, second), "%s", err.what);
}

Test(link_up, a_tap_is_configured_and_up)
{
	LinkTap tap = routed("ha0", "192.0.2.7");

	prepare();
	make("ha0");
	tap.mtu = 1380;

	cr_assert_eq(up(&tap), link_index("ha0"));

	check_says("ip link show ha0", "UP", "mtu 1380", "group 7700", "02:aa:00:00:00:01");
	check_says("tc qdisc show dev ha0", "clsact", BLOCKS);
	check_says("ip route show 192.0.2.7", "192.0.2.7 dev ha0", "scope link");
	check_says("ip neigh show dev ha0", "192.0.2.7 lladdr 06:00:00:00:00:02 PERMANENT");
	check_says("cat /proc/sys/net/ipv6/conf/ha0/disable_ipv6", "1");
	check_says("cat /proc/sys/net/ipv4/conf/ha0/rp_filter", "1");
}

Test(link_up, with_an_address_of_ipv6_the_tap_has_ipv6)
{
	LinkTap tap = routed("ha0", "192.0.2.7");

	prepare();
	make("ha0");
	tap.address6 = address("2001:db8::7");

	(void)up(&tap);

	check_says("ip -6 route show 2001:db8::7", "2001:db8::7 dev ha0");
	check_says("ip -6 neigh show dev ha0", "2001:db8::7 lladdr 06:00:00:00:00:02 PERMANENT");
	check_says("cat /proc/sys/net/ipv6/conf/ha0/disable_ipv6", "0");
	check_says("cat /proc/sys/net/ipv6/conf/ha0/accept_ra", "0");
	check_says("ip route show 192.0.2.7", "192.0.2.7 dev ha0");
}

Test(link_up, one_that_is_up_gets_what_it_lacks)
{
	LinkTap tap = routed("ha0", "192.0.2.7");

	prepare();
	make("ha0");
	tap.address6 = address("2001:db8::7");
	(void)up(&tap);
	net_run("ip route del 192.0.2.7; ip neigh del 192.0.2.7 dev ha0; "
		"ip -6 route del 2001:db8::7; tc qdisc del dev ha0 clsact; "
		"ip link set ha0 group 0");

	(void)up(&tap);
	(void)up(&tap);

	check_says("ip route show 192.0.2.7", "dev ha0");
	check_says("ip neigh show dev ha0", "192.0.2.7 lladdr", "2001:db8::7 lladdr");
	check_says("ip -6 route show 2001:db8::7", "dev ha0");
	check_says("tc qdisc show dev ha0", BLOCKS);
	check_says("ip link show ha0", "group 7700");
}

Test(link_up, an_address_moves_from_a_tap_left_behind)
{
	LinkTap old = routed("ha0", "192.0.2.7"), next = routed("hb0", "192.0.2.7");

	prepare();
	make("ha0");
	make("hb0");
	(void)up(&old);

	(void)up(&next);

	check_says("ip route show 192.0.2.7", "192.0.2.7 dev hb0");
	check_silent("ip route show 192.0.2.7 dev ha0");
}

Test(link_up, another_clsact_gives_way_to_the_blocks)
{
	const LinkTap tap = routed("ha0", "192.0.2.7");

	prepare();
	make("ha0");
	net_run("ip link set ha0 up; tc qdisc add dev ha0 clsact");

	(void)up(&tap);

	check_says("tc qdisc show dev ha0", BLOCKS);
	check_says("ip link show ha0", "UP");
}

Test(link_up, a_tap_that_is_not_to_be_filtered_is_on_no_block)
{
	LinkTap tap = routed("ha0", "192.0.2.7");

	prepare();
	make("ha0");
	(void)up(&tap);
	tap.filtered = false;

	(void)up(&tap);
	(void)up(&tap);

	check_silent("tc qdisc show dev ha0 clsact");
	check_says("ip link show ha0", "UP");
}

Test(link_up, down_takes_routes_and_neighbours_away)
{
	LinkTap tap = routed("ha0", "192.0.2.7");
	Error err = { 0 };

	prepare();
	make("ha0");
	tap.address6 = address("2001:db8::7");
	(void)up(&tap);

	cr_assert_eq(link_down("ha0", &err), 0, "%s", err.what);
	cr_assert_eq(link_down("ha0", &err), 0, "%s", err.what);
	cr_assert_eq(link_down("hnone", &err), 0, "%s", err.what);

	check_says("ip link show ha0", "state DOWN");
	check_silent("ip route show dev ha0; ip -6 route show dev ha0; ip neigh show dev ha0");
}

Test(link_up, other_peoples_links_are_not_taken_down)
{
	Error err = { 0 };

	cr_assert_eq(link_down("lo", &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_str_eq(err.what, "lo: is no tap");
	check_says("ip link show lo", "UP");
}

Test(link_up, a_bridged_tap_is_a_port_without_addresses_and_leaves_when_down)
{
	LinkTap tap = routed("ha0", "192.0.2.7");
	Error err = { 0 };

	prepare();
	make("ha0");
	net_run("ip link add br0 type bridge; ip link set br0 up");
	tap.bridge = "br0";
	tap.address6 = address("2001:db8::7");

	(void)up(&tap);
	(void)up(&tap);

	check_says("ip link show ha0", "master br0", "UP", "group 7700");
	check_says("tc qdisc show dev ha0", BLOCKS);
	check_says("bridge -d link show dev ha0", "isolated on", "learning off", "flood off");
	check_says("bridge fdb show dev ha0", "06:00:00:00:00:02", "sticky", "static");
	check_says("ip -d link show dev ha0", "mcast_router 2");
	check_silent("ip route show dev ha0; ip -6 route show dev ha0; ip neigh show dev ha0");
	check_says("cat /proc/sys/net/ipv6/conf/ha0/disable_ipv6", "1");
	cr_assert_eq(link_down("ha0", &err), 0, "%s", err.what);
	check_silent("ip link show master br0");
}

Test(link_up, what_is_no_bridge_takes_no_port)
{
	LinkTap tap = routed("ha0", "192.0.2.7");

	make("ha0");
	net_run("ip link add foreign type veth");

	tap.bridge = "nosuch";
	check_failure(&tap, "no bridge", "nosuch");
	tap.bridge = "foreign";
	check_failure(&tap, "no bridge", "foreign");

	check_says("ip link show ha0", "state DOWN");
}

Test(link_up, a_failure_says_which_step_in_the_kernels_words_and_leaves_it_down)
{
	LinkTap tap = routed("ha0", "192.0.2.7");

	prepare();
	make("ha0");
	(void)up(&tap);
	tap.mtu = 1000000;

	check_failure(&tap, "configure it", "mtu greater than device maximum");

	check_says("ip link show ha0", "state DOWN");
	check_silent("ip route show dev ha0; ip neigh show dev ha0");
}

Test(link_up, there_is_nothing_to_bring_up_without_a_tap)
{
	const LinkTap tap = routed("hnone", "192.0.2.7"), foreign = routed("lo", "192.0.2.7");
	const LinkTap nameless = routed("", "192.0.2.7");
	const LinkTap endless = routed("a-name-of-too-many-bytes", "192.0.2.7");

	check_failure(&tap, "hnone", "no such tap");
	check_failure(&nameless, "", "no such tap");
	check_failure(&endless, "too-many", "no such tap");
	check_failure(&foreign, "lo", "is no tap");
	check_says("ip link show lo", "UP");
}
/* Not judged here, but to be seen: what starting a VM spends on it. */
Test(link_up, bringing_up_one_after_another_works)
{
	int64_t least = INT64_MAX, sum = 0;

	prepare();
	for (uint8_t i = 0; i < 20; i++) {
		cleanup_free char *name = text_printf("h%u", i);
		LinkTap tap = routed(name, "192.0.2.7");
		int64_t start, took;

		tap.address4.address[3] = i;
		tap.address6 = address("2001:db8::7");
		tap.address6.address[15] = i;
		tap.mtu = 1400;
		make(name);
		start = clock_mono_us();
		(void)up(&tap);
		took = clock_mono_us() - start;
		sum += took;
		least = took < least ? took : least;
	}

	(void)fprintf(stderr, "link_up: %lld us at least, %lld us on average\n", (long long)least,
		      (long long)(sum / 20));
	check_says("ip -o link show group 7700 up | wc -l", "20");
}
