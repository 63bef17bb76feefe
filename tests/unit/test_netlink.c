/* SPDX-License-Identifier: Apache-2.0 */

/* With the loopback interface of a network namespace of each test's own. */

#include "netfw/netlink.h"
#include "tests/support/net.h"

#include <criterion/criterion.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <string.h>

enum {
	NOBODY = 4711, /* index of no link */
	MANY = 3000,
};

static void set_up(void)
{
	if (!net_available()) {
		(void)fprintf(stderr, "skipped: netlink needs root\n");
		cr_skip_test("netlink needs root");
	}
	net_enter();
}

TestSuite(netlink, .init = set_up);

static Netlink *open_netlink(void)
{
	Netlink *netlink = NULL;
	Error err = { 0 };

	cr_assert_eq(netlink_open(&netlink, &err), 0, "%s", err.what);
	return netlink;
}

/* To give the link at @index @mtu. */
static void add_mtu(Netlink *netlink, int index, uint32_t mtu, const char *words, int passed_over)
{
	const NetlinkStep step = { RTM_SETLINK, 0, words, passed_over };
	struct nlmsghdr *message = netlink_add(netlink, &step);
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(message, sizeof *head);

	head->ifi_index = index;
	mnl_attr_put_u32(message, IFLA_MTU, mtu);
}

static void check_mtu(const char *wanted)
{
	cleanup_free char *said = net_says("ip link show lo");

	cr_assert_not_null(strstr(said, wanted), "no '%s' in: %s", wanted, said);
}

Test(netlink, nothing_to_say_is_no_failure)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 };

	cr_assert_eq(netlink_run(netlink, "nobody", NULL, NULL, &err), 0, "%s", err.what);
}

Test(netlink, the_first_failure_is_told_and_the_others_are_tried)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 };

	add_mtu(netlink, 1, 40000, "the first", 0);
	add_mtu(netlink, NOBODY, 40000, "the second", 0);
	add_mtu(netlink, NOBODY, 40000, "the third", 0);
	add_mtu(netlink, 1, 30000, "the last", 0);

	cr_assert_eq(netlink_run(netlink, "them", NULL, NULL, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_str_eq(err.what, "them: the second: No such device");
	check_mtu("mtu 30000");
}

Test(netlink, a_failure_of_the_last_is_told_as_well)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 };

	add_mtu(netlink, 1, 40000, "the first", 0);
	add_mtu(netlink, NOBODY, 40000, "the last", 0);

	cr_assert_eq(netlink_run(netlink, "them", NULL, NULL, &err), -1);

	cr_assert_str_eq(err.what, "them: the last: No such device");
	check_mtu("mtu 40000");
}

Test(netlink, the_error_has_the_kernels_words)
{
	static const NetlinkStep step = { RTM_NEWQDISC, NLM_F_CREATE, "give it a qdisc", 0 };
	const struct tcmsg head = { .tcm_ifindex = 1, .tcm_parent = TC_H_ROOT };
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	struct nlmsghdr *message = netlink_add(netlink, &step);
	Error err = { 0 };

	memcpy(mnl_nlmsg_put_extra_header(message, sizeof head), &head, sizeof head);
	mnl_attr_put_strz(message, TCA_KIND, "nosuch");

	cr_assert_eq(netlink_run(netlink, "lo", NULL, NULL, &err), -1);

	cr_assert_not_null(strstr(err.what, "lo: give it a qdisc ("), "%s", err.what);
	cr_assert_not_null(strstr(err.what, "qdisc kind"), "%s", err.what);
}

Test(netlink, what_is_passed_over_is_counted)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 };

	add_mtu(netlink, NOBODY, 40000, "the first", ENODEV);
	add_mtu(netlink, 1, 40000, "the second", ENODEV);
	add_mtu(netlink, NOBODY, 40000, "the last", ENODEV);

	cr_assert_eq(netlink_run(netlink, "them", NULL, NULL, &err), 2, "%s", err.what);

	check_mtu("mtu 40000");
}

Test(netlink, after_a_failure_the_next_run_is_a_new_one)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 }, none = { 0 };

	add_mtu(netlink, NOBODY, 40000, "the first", 0);
	cr_assert_eq(netlink_run(netlink, "them", NULL, NULL, &err), -1);
	add_mtu(netlink, 1, 40000, "the next", 0);

	cr_assert_eq(netlink_run(netlink, "them", NULL, NULL, &none), 0, "%s", none.what);

	check_mtu("mtu 40000");
}

/* Three thousand acknowledgements would not fit what a socket holds back. */
Test(netlink, thousands_of_messages_go_in_one)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 };

	for (uint32_t i = 0; i < MANY; i++)
		add_mtu(netlink, 1, 40000 + i, "one of many", 0);

	cr_assert_eq(netlink_run(netlink, "lo", NULL, NULL, &err), 0, "%s", err.what);

	check_mtu("mtu 42999");
}

Test(netlink, too_much_for_a_socket_is_an_error)
{
	cleanup_(netlink_closep) Netlink *netlink = open_netlink();
	Error err = { 0 };

	for (uint32_t i = 0; i < 10 * MANY; i++)
		add_mtu(netlink, 1, 40000, "one of far too many", 0);

	cr_assert_eq(netlink_run(netlink, "lo", NULL, NULL, &err), -1);

	cr_assert_eq(err.kind, ERROR_NETWORK_SETUP);
	cr_assert_not_null(strstr(err.what, "Message too long"), "%s", err.what);
}
