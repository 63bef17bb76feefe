/* SPDX-License-Identifier: Apache-2.0 */

/* A tap becomes part of a network. */

#include "base/text.h"
#include "netfw/link_parts.h"

#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/ip.h>
#include <string.h>

enum {
	MAC_SIZE = 6
};

static int sysfamily(const Prefix *address)
{
	return address->family == 4 ? AF_INET : AF_INET6;
}

static size_t address_size(const Prefix *address)
{
	return address->family == 4 ? 4 : 16;
}

static bool has_ipv6(const LinkTap *tap)
{
	return tap->address6.length && !tap->bridge;
}

/* Without IPv6 in the kernel there is nothing to turn off. */
static int set_ipv6(const LinkTap *tap, const char *key, const char *value, Error *err)
{
	cleanup_free char *path = text_printf("/proc/sys/net/ipv6/conf/%s/%s", tap->name, key);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && !has_ipv6(tap))
		return 0;
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return error_set_errno(err, ERROR_NETWORK_SETUP, errno, "%s: set %s to %s",
				       tap->name, path, value);
	return 0;
}

/* Before it is up; by netlink it cannot be said. A guest's router advertisements are nothing to us.
 */
static int prepare_ipv6(const LinkTap *tap, Error *err)
{
	if (has_ipv6(tap) && set_ipv6(tap, "accept_ra", "0", err) < 0)
		return -1;
	return set_ipv6(tap, "disable_ipv6", has_ipv6(tap) ? "0" : "1", err);
}

/* What the host would not route to the tap does not come from it. */
static void put_reverse_path(struct nlmsghdr *message)
{
	struct nlattr *families = mnl_attr_nest_start(message, IFLA_AF_SPEC);
	struct nlattr *ipv4 = mnl_attr_nest_start(message, AF_INET);
	struct nlattr *settings = mnl_attr_nest_start(message, IFLA_INET_CONF);

	mnl_attr_put_u32(message, IPV4_DEVCONF_RP_FILTER, 1);
	mnl_attr_nest_end(message, settings);
	mnl_attr_nest_end(message, ipv4);
	mnl_attr_nest_end(message, families);
}

static void put_link(Netlink *netlink, const LinkConfig *config, const LinkTap *tap,
		     const LinkSeen *seen, uint32_t bridge)
{
	struct nlmsghdr *message = link_change(netlink, seen->index, "configure it");

	if (tap->mac)
		mnl_attr_put(message, IFLA_ADDRESS, MAC_SIZE, tap->mac);
	if (tap->mtu)
		mnl_attr_put_u32(message, IFLA_MTU, tap->mtu);
	mnl_attr_put_u32(message, IFLA_GROUP, config->group);
	if (!tap->bridge)
		put_reverse_path(message);
	message = link_change(netlink, seen->index, "bring it up");
	mnl_attr_put_u32(message, IFLA_MASTER, bridge);
	link_flag_up(message, true);
}

/* Leased to this VM alone: a route there is, is one that an earlier VM has left. */
static void put_route(Netlink *netlink, uint32_t index, const Prefix *address)
{
	static const NetlinkStep add = { RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
					 "route the address", 0 };
	struct nlmsghdr *message = netlink_add(netlink, &add);
	struct rtmsg *head = mnl_nlmsg_put_extra_header(message, sizeof *head);

	head->rtm_family = (uint8_t)sysfamily(address);
	head->rtm_dst_len = address->length;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = RTPROT_STATIC;
	head->rtm_scope = address->family == 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	head->rtm_type = RTN_UNICAST;
	mnl_attr_put(message, RTA_DST, address_size(address), address->address);
	mnl_attr_put_u32(message, RTA_OIF, index);
}

static void put_neighbour(Netlink *netlink, uint32_t index, const Prefix *address,
			  const uint8_t *mac)
{
	static const NetlinkStep add = { RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
					 "tell the guest's MAC", 0 };
	struct nlmsghdr *message = netlink_add(netlink, &add);
	struct ndmsg *head = mnl_nlmsg_put_extra_header(message, sizeof *head);

	head->ndm_family = (uint8_t)sysfamily(address);
	head->ndm_ifindex = (int)index;
	head->ndm_state = NUD_PERMANENT;
	mnl_attr_put(message, NDA_DST, address_size(address), address->address);
	mnl_attr_put(message, NDA_LLADDR, MAC_SIZE, mac);
}

/*
 * A port for one MAC, which is told and not learned; ports of VMs do not reach each other. What is
 * for MACs that the bridge does not know is not for a VM.
 */
static void put_port(Netlink *netlink, uint32_t index, const LinkTap *tap)
{
	static const struct {
		uint16_t attribute;
		uint8_t value;
	} settings[] = {
		{ IFLA_BRPORT_ISOLATED, 1 },
		{ IFLA_BRPORT_LEARNING, 0 },
		{ IFLA_BRPORT_UNICAST_FLOOD, 0 },
		/* Whatever snooping makes of it, neighbour discovery reaches the guest. */
		{ IFLA_BRPORT_MULTICAST_ROUTER, MDB_RTR_TYPE_PERM },
	};
	static const NetlinkStep add = { RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
					 "tell the bridge the guest's MAC", 0 };
	struct nlmsghdr *message = link_change(netlink, index, "set up its port");
	struct ifinfomsg *link = mnl_nlmsg_get_payload(message);
	struct nlattr *port = mnl_attr_nest_start(message, IFLA_PROTINFO);
	struct ndmsg *head;

	link->ifi_family = AF_BRIDGE;
	for (size_t i = 0; i < array_size(settings); i++)
		mnl_attr_put_u8(message, settings[i].attribute, settings[i].value);
	mnl_attr_nest_end(message, port);
	if (!tap->guest_mac)
		return;
	message = netlink_add(netlink, &add);
	head = mnl_nlmsg_put_extra_header(message, sizeof *head);
	head->ndm_family = AF_BRIDGE;
	head->ndm_ifindex = (int)index;
	head->ndm_state = NUD_NOARP; /* static; a permanent one would be the bridge's own */
	head->ndm_flags = NTF_MASTER | NTF_STICKY; /* nobody else's frame moves it elsewhere */
	mnl_attr_put(message, NDA_LLADDR, MAC_SIZE, tap->guest_mac);
}

static void put_address(Netlink *netlink, uint32_t index, const LinkTap *tap, const Prefix *address)
{
	if (!address->length || tap->bridge)
		return;
	put_route(netlink, index, address);
	if (tap->guest_mac)
		put_neighbour(netlink, index, address, tap->guest_mac);
}

static int look_for_bridge(Netlink *netlink, uint32_t *ret, const LinkTap *tap, Error *err)
{
	LinkSeen bridge = { 0 };

	if (tap->bridge && link_look(netlink, &bridge, tap->bridge, err) < 0)
		return -1;
	if (tap->bridge && !bridge.is_bridge)
		return error_set(err, ERROR_NETWORK_SETUP, "%s: there is no bridge %s", tap->name,
				 tap->bridge);
	*ret = bridge.index;
	return 0;
}

static int bring_up(Netlink *netlink, const LinkConfig *config, const LinkTap *tap,
		    const LinkSeen *seen, Error *err)
{
	uint32_t bridge;

	if (look_for_bridge(netlink, &bridge, tap, err) < 0 || prepare_ipv6(tap, err) < 0 ||
	    (tap->filtered ? link_block : link_unblock)(netlink, seen, err) < 0)
		return -1;
	put_link(netlink, config, tap, seen, bridge);
	put_address(netlink, seen->index, tap, &tap->address4);
	put_address(netlink, seen->index, tap, &tap->address6);
	if (tap->bridge)
		put_port(netlink, seen->index, tap);
	return netlink_run(netlink, tap->name, NULL, NULL, err) < 0 ? -1 : 0;
}

int link_up(uint32_t *ret, const LinkConfig *config, const LinkTap *tap, Error *err)
{
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	Error ignored = { 0 };
	LinkSeen seen;

	if (netlink_open(&netlink, err) < 0 || link_look_tap(netlink, &seen, tap->name, err) < 0)
		return -1;
	if (!seen.index)
		return error_set(err, ERROR_NETWORK_SETUP, "%s: there is no such tap", tap->name);
	if (bring_up(netlink, config, tap, &seen, err) < 0) {
		if (link_take_down(netlink, &seen, &ignored) < 0)
			error_clear(&ignored);
		return -1;
	}
	*ret = seen.index;
	return 0;
}
