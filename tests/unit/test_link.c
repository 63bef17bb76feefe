/* SPDX-License-Identifier: Apache-2.0 */

/* The anchor, the programs, and links as a whole. */

#include "base/clock.h"
#include "base/text.h"
#include "tests/unit/link_bench.h"

#include <fcntl.h>
#include <linux/pkt_cls.h>

enum {
	MANY = 200,
	PORT = 5353,
};

TestSuite(link, .init = set_up);

static void attach(uint32_t mark, int verdict)
{
	cleanup_close int from_vm = net_program(mark, verdict);
	cleanup_close int to_vm = net_program(0, TC_ACT_OK);
	Error err = { 0 };

	cr_assert_eq(link_attach(from_vm, to_vm, &err), 0, "%s", err.what);
}

Test(link, the_anchor_keeps_the_blocks_and_preparing_may_be_repeated)
{
	uint32_t index;

	prepare();
	index = link_index("hanchor");
	prepare();

	cr_assert_neq(index, 0);
	cr_assert_eq(link_index("hanchor"), index);
	check_says("tc qdisc show dev hanchor", "clsact", BLOCKS);
	check_says("ip link show hanchor", "state DOWN", "group 7700");
}

Test(link, an_anchor_that_is_no_tap_is_left_alone)
{
	Error err = { 0 };

	net_run("ip link add hanchor type veth");

	cr_assert_eq(link_prepare(&config, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_str_eq(err.what, "hanchor: is no tap");
	check_silent("tc qdisc show dev hanchor clsact");
}
typedef struct Seen {
	unsigned count;
	char last[IFNAMSIZ];
	uint32_t index;
} Seen;

static void see(void *user, const char *name, uint32_t index)
{
	Seen *seen = user;

	seen->count++;
	seen->index = index;
	text_copy(seen->last, sizeof seen->last, name);
}

Test(link, each_is_called_for_taps_of_the_group_alone)
{
	const LinkTap tap = routed("ha0", "192.0.2.7");
	Seen seen = { 0 };
	Error err = { 0 };
	uint32_t index;

	prepare();
	make("ha0");
	make("hb0");
	net_run("ip link add foreign group 7700 type veth");
	index = up(&tap);

	cr_assert_eq(link_each(&config, see, &seen, &err), 0, "%s", err.what);

	cr_assert_eq(seen.count, 1);
	cr_assert_str_eq(seen.last, "ha0");
	cr_assert_eq(seen.index, index);
}

Test(link, many_are_removed_at_once_and_nothing_else)
{
	const char *names[MANY + 1] = { [MANY] = "hnone" };
	char texts[MANY][IFNAMSIZ];
	Seen seen = { 0 };
	Error err = { 0 };
	int64_t start;

	prepare();
	make("mine");
	net_run("ip link add foreign type veth; ip link add br0 type bridge");
	for (unsigned i = 0; i < MANY; i++) {
		LinkTap tap = routed(texts[i], "192.0.2.7");

		(void)snprintf(texts[i], sizeof texts[i], "h%u", i);
		names[i] = texts[i];
		tap.address4.address[3] = (uint8_t)i;
		make(names[i]);
		(void)up(&tap);
	}

	start = clock_mono_us();
	cr_assert_eq(link_remove(&config, names, MANY + 1, &err), 0, "%s", err.what);
	(void)fprintf(stderr, "%u taps removed in %lld us\n", MANY,
		      (long long)(clock_mono_us() - start));

	cr_assert_eq(link_each(&config, see, &seen, &err), 0, "%s", err.what);
	cr_assert_eq(seen.count, 0);
	cr_assert_eq(link_index("h0"), 0);
	check_silent("ip route show 192.0.2.0/24");
	check_says("ip link show", "hanchor", "mine", "foreign", "br0", "lo");
	check_silent("ip -o link show group 1073749524"); /* that of the removal */
	check_silent("ip -o link | grep -E ' h[0-9]+:' || true");
	cr_assert_eq(link_remove(&config, names, MANY + 1, &err), 0, "%s", err.what);
}

static void check_stays(const char *name, const char *why)
{
	const char *const names[] = { "ha0", name };
	Error err = { 0 };

	cr_assert_eq(link_remove(&config, names, 2, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, why), "%s", err.what);
	cr_assert_neq(link_index(name), 0);
	cr_assert_neq(link_index("ha0"), 0);
}

Test(link, neither_the_anchor_nor_other_peoples_links_are_removed)
{
	prepare();
	make("ha0");
	net_run("ip link add foreign type veth");

	check_stays("hanchor", "hanchor: is the anchor");
	check_stays("foreign", "foreign: is no tap");
	check_stays("lo", "lo: is no tap");
}

Test(link, one_that_is_in_use_is_removed_as_well)
{
	const char *const names[] = { "ha0" };
	cleanup_close int fd = net_tap("ha0");
	Error err = { 0 };

	cr_assert_eq(link_remove(&config, names, 1, &err), 0, "%s", err.what);

	cr_assert_eq(link_index("ha0"), 0);
	cr_assert_lt(write(fd, "", 1), 0); /* nothing is behind it any more */
}

Test(link, programs_on_the_blocks_decide_and_are_replaced_in_place)
{
	const NetUdp udp = { .from = "192.0.2.7", .to = "192.0.2.8", .port = PORT };
	const LinkTap first = routed("ha0", "192.0.2.7"), second = routed("hb0", "192.0.2.8");
	cleanup_close int from = net_tap("ha0"), to = net_tap("hb0");
	NetUdp unicast = udp;
	char source[NET_ADDRESS_MAX] = "";

	unicast.to_mac = host_mac;
	prepare();
	attach(0, TC_ACT_SHOT);
	net_run("echo 1 > /proc/sys/net/ipv4/ip_forward");
	(void)up(&first);
	(void)up(&second);

	net_send(from, &unicast);
	cr_assert_eq(net_received(to, PORT, source), 0);

	attach(0, TC_ACT_OK);
	net_send(from, &unicast);
	cr_assert_eq(net_received(to, PORT, source), 1);
	cr_assert_str_eq(source, udp.from);

	attach(0, TC_ACT_SHOT);
	net_send(from, &unicast);
	cr_assert_eq(net_received(to, PORT, source), 0);
	check_says("tc filter show block 1752432641 | grep -c hearth", "1");
}

Test(link, the_program_to_vms_decides_as_well)
{
	const NetUdp udp = { "192.0.2.7", "192.0.2.8", PORT, host_mac };
	const LinkTap first = routed("ha0", "192.0.2.7"), second = routed("hb0", "192.0.2.8");
	cleanup_close int from = net_tap("ha0"), to = net_tap("hb0");
	cleanup_close int passes = net_program(0, TC_ACT_OK), drops = net_program(0, TC_ACT_SHOT);
	char source[NET_ADDRESS_MAX] = "";
	Error err = { 0 };

	prepare();
	net_run("echo 1 > /proc/sys/net/ipv4/ip_forward");
	(void)up(&first);
	(void)up(&second);

	cr_assert_eq(link_attach(passes, drops, &err), 0, "%s", err.what);
	net_send(from, &udp);

	cr_assert_eq(net_received(to, PORT, source), 0);
	cr_assert_eq(link_attach(passes, passes, &err), 0, "%s", err.what);
	net_send(from, &udp);
	cr_assert_eq(net_received(to, PORT, source), 1);
}

Test(link, what_is_no_program_is_not_attached)
{
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	Error err = { 0 };

	prepare();

	cr_assert_eq(link_attach(fd, fd, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, "attach the program from VMs"), "%s", err.what);
}

Test(link, programs_need_the_anchor)
{
	cleanup_close int fd = net_program(0, TC_ACT_OK);
	Error before = { 0 }, after = { 0 };

	cr_assert_eq(link_attach(fd, fd, &before), -1);
	cr_assert_eq(before.kind, ERROR_NETWORK_SETUP);
	prepare();
	link_unprepare(&config);
	link_unprepare(&config);

	cr_assert_eq(link_attach(fd, fd, &after), -1);

	cr_assert_eq(link_index("hanchor"), 0);
}

typedef struct Wanted {
	Prefix address;
	unsigned found;
} Wanted;

static void look_for(void *user, const Prefix *found)
{
	Wanted *wanted = user;

	wanted->found += prefix_compare(found, &wanted->address) == 0;
}

static unsigned count_address(const char *text)
{
	Wanted wanted = { address(text), 0 };
	Error err = { 0 };

	cr_assert_eq(link_each_address(look_for, &wanted, &err), 0, "%s", err.what);
	return wanted.found;
}

Test(link, an_address_is_there_once_however_often_it_is_added)
{
	const Prefix four = address("192.0.2.1"), six = address("2001:db8::1");
	Error err = { 0 };

	for (int i = 0; i < 2; i++) {
		cr_assert_eq(link_add_address("lo", &four, &err), 0, "%s", err.what);
		cr_assert_eq(link_add_address("lo", &six, &err), 0, "%s", err.what);
	}

	cr_assert_eq(count_address("192.0.2.1"), 1);
	cr_assert_eq(count_address("2001:db8::1"), 1);
	cr_assert_eq(count_address("192.0.2.2"), 0);
}

Test(link, an_address_of_ipv6_is_usable_at_once)
{
	LinkTap tap = routed("ha0", "192.0.2.7");
	const Prefix gateway = address("fe80::1");
	cleanup_close int fd = net_tap("ha0");
	Error err = { 0 };

	prepare();
	tap.address6 = address("2001:db8::7");
	(void)up(&tap);

	cr_assert_eq(link_add_address("ha0", &gateway, &err), 0, "%s", err.what);

	cr_assert_geq(fd, 0);
	check_says("ip -6 addr show dev ha0 to fe80::1", "fe80::1/128", "nodad");
	check_silent("ip -6 addr show dev ha0 to fe80::1 tentative");
}

Test(link, addresses_of_the_host_are_told_whole)
{
	net_run("ip link add foreign type veth; ip addr add 198.51.100.9/24 dev foreign; "
		"ip addr add 203.0.113.1 peer 203.0.113.2/32 dev foreign");

	cr_assert_eq(count_address("198.51.100.9"), 1);
	cr_assert_eq(count_address("203.0.113.1"), 1);
	cr_assert_eq(count_address("203.0.113.2"), 0);
	cr_assert_eq(count_address("127.0.0.1"), 1);
	cr_assert_eq(count_address("::1"), 1);
}

Test(link, no_address_without_an_interface)
{
	const Prefix four = address("192.0.2.1");
	Error err = { 0 };

	cr_assert_eq(link_add_address("nosuch", &four, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, "nosuch"), "%s", err.what);
	cr_assert_eq(link_index("nosuch"), 0);
}
