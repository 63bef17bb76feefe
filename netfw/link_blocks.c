/* SPDX-License-Identifier: Apache-2.0 */

/* The tc side of links: the qdisc that puts a tap on the blocks, and the programs on them. */

#include "netfw/link_parts.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <string.h>

enum {
	PRIORITY = 1, /* one filter each, at a place of its own, so that the next replaces it */
	HANDLE = 1,
};

/* The clsact of a link. */
typedef struct Qdisc {
	bool there, is_clsact;
	uint32_t from_vm, to_vm; /* blocks; 0: none */
} Qdisc;

static struct nlmsghdr *put_tc(struct nlmsghdr *message, const struct tcmsg *head)
{
	memcpy(mnl_nlmsg_put_extra_header(message, sizeof *head), head, sizeof *head);
	return message;
}

static struct nlmsghdr *about_qdisc(Netlink *netlink, const NetlinkStep *step, uint32_t index)
{
	const struct tcmsg head = { .tcm_ifindex = (int)index, .tcm_parent = TC_H_CLSACT };

	return put_tc(netlink_add(netlink, step), &head);
}

static void read_qdisc(void *user, const struct nlmsghdr *answer)
{
	const struct nlattr *attribute = NULL;
	Qdisc *qdisc = user;

	if (answer->nlmsg_type != RTM_NEWQDISC)
		return;
	qdisc->there = true;
	while ((attribute = netlink_attribute(answer, sizeof(struct tcmsg), attribute))) {
		uint16_t type = mnl_attr_get_type(attribute);

		if (type == TCA_KIND)
			qdisc->is_clsact = strcmp(mnl_attr_get_str(attribute), "clsact") == 0;
		else if (type == TCA_INGRESS_BLOCK)
			qdisc->from_vm = mnl_attr_get_u32(attribute);
		else if (type == TCA_EGRESS_BLOCK)
			qdisc->to_vm = mnl_attr_get_u32(attribute);
	}
}

/* The kernel answers this as it tells those who listen: the asker only with NLM_F_ECHO. */
static int look_at_qdisc(Netlink *netlink, Qdisc *ret, const LinkSeen *link, Error *err)
{
	static const NetlinkStep get = { RTM_GETQDISC, NLM_F_ECHO, "look at its clsact", ENOENT };

	*ret = (Qdisc){ 0 };
	(void)about_qdisc(netlink, &get, link->index);
	return netlink_run(netlink, link->name, read_qdisc, ret, err) < 0 ? -1 : 0;
}

/* 1: there is one already. */
static int add_clsact(Netlink *netlink, const LinkSeen *link, Error *err)
{
	static const NetlinkStep add = { RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
					 "put it on the filter's blocks", EEXIST };
	const struct tcmsg head = { .tcm_ifindex = (int)link->index,
				    .tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
				    .tcm_parent = TC_H_CLSACT };
	struct nlmsghdr *message = put_tc(netlink_add(netlink, &add), &head);

	mnl_attr_put_strz(message, TCA_KIND, "clsact");
	mnl_attr_put_u32(message, TCA_INGRESS_BLOCK, LINK_BLOCK_FROM_VM);
	mnl_attr_put_u32(message, TCA_EGRESS_BLOCK, LINK_BLOCK_TO_VM);
	return netlink_run(netlink, link->name, NULL, NULL, err);
}

int link_block(Netlink *netlink, const LinkSeen *link, Error *err)
{
	Qdisc qdisc;
	int r = add_clsact(netlink, link, err);

	if (r <= 0)
		return r;
	if (look_at_qdisc(netlink, &qdisc, link, err) < 0)
		return -1;
	if (qdisc.is_clsact && qdisc.from_vm == LINK_BLOCK_FROM_VM &&
	    qdisc.to_vm == LINK_BLOCK_TO_VM)
		return 0;
	if (link_take_down(netlink, link, err) < 0 || link_unblock(netlink, link, err) < 0)
		return -1;
	r = add_clsact(netlink, link, err);
	if (r > 0)
		return error_set(err, ERROR_NETWORK_SETUP, "%s: somebody else puts a clsact on it",
				 link->name);
	return r;
}

int link_unblock(Netlink *netlink, const LinkSeen *link, Error *err)
{
	static const NetlinkStep del = { RTM_DELQDISC, 0, "take its clsact away", ENOENT };
	Qdisc qdisc;

	if (look_at_qdisc(netlink, &qdisc, link, err) < 0)
		return -1;
	if (!qdisc.there)
		return 0;
	(void)about_qdisc(netlink, &del, link->index);
	return netlink_run(netlink, link->name, NULL, NULL, err) < 0 ? -1 : 0;
}

static void put_program(Netlink *netlink, const char *words, uint32_t block, int program)
{
	const NetlinkStep step = { RTM_NEWTFILTER, NLM_F_CREATE, words, 0 };
	const struct tcmsg head = {
		.tcm_ifindex = (int)TCM_IFINDEX_MAGIC_BLOCK,
		.tcm_block_index = block,
		.tcm_handle = HANDLE,
		.tcm_info = TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL)),
	};
	struct nlmsghdr *message = put_tc(netlink_add(netlink, &step), &head);
	struct nlattr *options;

	mnl_attr_put_strz(message, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(message, TCA_OPTIONS);
	mnl_attr_put_u32(message, TCA_BPF_FD, (uint32_t)program);
	mnl_attr_put_strz(message, TCA_BPF_NAME, "hearth");
	mnl_attr_put_u32(message, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(message, options);
}

int link_attach(int from_vm, int to_vm, Error *err)
{
	cleanup_(netlink_closep) Netlink *netlink = NULL;

	if (netlink_open(&netlink, err) < 0)
		return -1;
	put_program(netlink, "attach the program from VMs", LINK_BLOCK_FROM_VM, from_vm);
	put_program(netlink, "attach the program to VMs", LINK_BLOCK_TO_VM, to_vm);
	return netlink_run(netlink, "blocks", NULL, NULL, err) < 0 ? -1 : 0;
}
