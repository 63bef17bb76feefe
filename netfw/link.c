/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/link.h"

#include "base/text.h"
#include "netfw/link_parts.h"
#include "netfw/tap.h"

#include <string.h>

enum {
	REMOVED_AT_ONCE = 1024 /* fits what a socket may send */
};

/* Set in the group of those that are to go. */
static const uint32_t reap_group = 0x40000000U;

/* What link_each() is about. */
typedef struct Walk {
	const LinkConfig *config;
	void (*each)(void *user, const char *name, uint32_t ifindex);
	void *user;
} Walk;

typedef struct AddressWalk {
	void (*each)(void *user, const Prefix *address);
	void *user;
} AddressWalk;

static void read_kind(LinkSeen *ret, const struct nlattr *info)
{
	const struct nlattr *attribute = NULL;

	while ((attribute = netlink_nested(info, attribute))) {
		if (mnl_attr_get_type(attribute) != IFLA_INFO_KIND)
			continue;
		ret->is_tap = strcmp(mnl_attr_get_str(attribute), "tun") == 0;
		ret->is_bridge = strcmp(mnl_attr_get_str(attribute), "bridge") == 0;
	}
}

void link_read(LinkSeen *ret, const struct nlmsghdr *answer)
{
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(answer);
	const struct nlattr *attribute = NULL;

	*ret = (LinkSeen){ .index = (uint32_t)head->ifi_index };
	while ((attribute = netlink_attribute(answer, sizeof *head, attribute))) {
		uint16_t type = mnl_attr_get_type(attribute);

		if (type == IFLA_IFNAME)
			text_copy(ret->name, sizeof ret->name, mnl_attr_get_str(attribute));
		else if (type == IFLA_GROUP)
			ret->group = mnl_attr_get_u32(attribute);
		else if (type == IFLA_LINKINFO)
			read_kind(ret, attribute);
	}
}

static void keep_link(void *user, const struct nlmsghdr *answer)
{
	if (answer->nlmsg_type == RTM_NEWLINK)
		link_read(user, answer);
}

static struct nlmsghdr *query_links(Netlink *netlink, const NetlinkStep *step)
{
	struct nlmsghdr *message = netlink_add(netlink, step);

	(void)mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return message;
}

int link_look(Netlink *netlink, LinkSeen *ret, const char *name, Error *err)
{
	static const NetlinkStep look = { RTM_GETLINK, 0, "look it up", ENODEV };

	*ret = (LinkSeen){ 0 };
	if (*name == '\0' || strlen(name) >= IFNAMSIZ)
		return 0;
	mnl_attr_put_strz(query_links(netlink, &look), IFLA_IFNAME, name);
	return netlink_run(netlink, name, keep_link, ret, err) < 0 ? -1 : 0;
}

int link_look_tap(Netlink *netlink, LinkSeen *ret, const char *name, Error *err)
{
	if (link_look(netlink, ret, name, err) < 0)
		return -1;
	if (ret->index && !ret->is_tap)
		return error_set(err, ERROR_NETWORK_SETUP, "%s: is no tap", name);
	return 0;
}

struct nlmsghdr *link_change(Netlink *netlink, uint32_t index, const char *words)
{
	const NetlinkStep step = { RTM_SETLINK, 0, words, 0 };
	struct nlmsghdr *message = netlink_add(netlink, &step);
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(message, sizeof *head);

	head->ifi_index = (int)index;
	return message;
}

void link_flag_up(struct nlmsghdr *message, bool up)
{
	struct ifinfomsg *head = mnl_nlmsg_get_payload(message);

	head->ifi_change = IFF_UP;
	head->ifi_flags = up ? IFF_UP : 0;
}

int link_take_down(Netlink *netlink, const LinkSeen *link, Error *err)
{
	struct nlmsghdr *message = link_change(netlink, link->index, "take it down");

	link_flag_up(message, false);
	mnl_attr_put_u32(message, IFLA_MASTER, 0);
	return netlink_run(netlink, link->name, NULL, NULL, err) < 0 ? -1 : 0;
}

int link_prepare(const LinkConfig *config, Error *err)
{
	const TapConfig anchor = { .name = config->anchor, .owner = (uid_t)-1 };
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	LinkSeen seen;

	if (netlink_open(&netlink, err) < 0 ||
	    link_look_tap(netlink, &seen, config->anchor, err) < 0)
		return -1;
	if (!seen.index &&
	    (tap_add(&anchor, err) < 0 || link_look_tap(netlink, &seen, config->anchor, err) < 0))
		return -1;
	if (link_block(netlink, &seen, err) < 0)
		return -1;
	mnl_attr_put_u32(link_change(netlink, seen.index, "set its group"), IFLA_GROUP,
			 config->group);
	return netlink_run(netlink, config->anchor, NULL, NULL, err) < 0 ? -1 : 0;
}

int link_check_bridge(const char *name, Error *err)
{
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	LinkSeen seen = { 0 };

	if (netlink_open(&netlink, err) < 0 || link_look(netlink, &seen, name, err) < 0)
		return -1;
	return seen.is_bridge ? 0
			      : error_set(err, ERROR_NETWORK_SETUP, "there is no bridge %s", name);
}

int link_down(const char *name, Error *err)
{
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	LinkSeen seen;

	if (netlink_open(&netlink, err) < 0 || link_look_tap(netlink, &seen, name, err) < 0)
		return -1;
	return seen.index ? link_take_down(netlink, &seen, err) : 0;
}

/* Fills @indexes with those of @names that are there. */
static int look_for_all(Netlink *netlink, const LinkConfig *config, const char *const *names,
			size_t count, uint32_t *indexes, Error *err)
{
	for (size_t i = 0; i < count; i++) {
		LinkSeen seen;

		if (strcmp(names[i], config->anchor) == 0)
			return error_set(err, ERROR_NETWORK_SETUP, "%s: is the anchor", names[i]);
		if (link_look_tap(netlink, &seen, names[i], err) < 0)
			return -1;
		indexes[i] = seen.index;
	}
	return 0;
}

/* Of one that has gone meanwhile ENODEV is no failure; another thread may empty the group too. */
static int remove_some(Netlink *netlink, uint32_t group, const uint32_t *indexes, size_t count,
		       Error *err)
{
	static const NetlinkStep mark = { RTM_SETLINK, 0, "set the group of one", ENODEV };
	static const NetlinkStep reap = { RTM_DELLINK, 0, "remove all of the group", ENODEV };
	struct nlmsghdr *message;

	for (size_t i = 0; i < count; i++) {
		struct ifinfomsg *head;

		if (!indexes[i])
			continue;
		message = netlink_add(netlink, &mark);
		head = mnl_nlmsg_put_extra_header(message, sizeof *head);
		head->ifi_index = (int)indexes[i];
		mnl_attr_put_u32(message, IFLA_GROUP, group);
	}
	message = netlink_add(netlink, &reap);
	(void)mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(message, IFLA_GROUP, group);
	return netlink_run(netlink, "taps to be removed", NULL, NULL, err) < 0 ? -1 : 0;
}

int link_remove(const LinkConfig *config, const char *const *names, size_t count, Error *err)
{
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	cleanup_free uint32_t *indexes = new0_array(uint32_t, count);

	if (netlink_open(&netlink, err) < 0 ||
	    look_for_all(netlink, config, names, count, indexes, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i += REMOVED_AT_ONCE) {
		size_t some = count - i < REMOVED_AT_ONCE ? count - i : REMOVED_AT_ONCE;

		if (remove_some(netlink, config->group | reap_group, indexes + i, some, err) < 0)
			return -1;
	}
	return 0;
}

static void walk_link(void *user, const struct nlmsghdr *answer)
{
	const Walk *walk = user;
	LinkSeen seen;

	if (answer->nlmsg_type != RTM_NEWLINK)
		return;
	link_read(&seen, answer);
	if (seen.is_tap && seen.group == walk->config->group &&
	    strcmp(seen.name, walk->config->anchor) != 0)
		walk->each(walk->user, seen.name, seen.index);
}

int link_each(const LinkConfig *config,
	      void (*each)(void *user, const char *name, uint32_t ifindex), void *user, Error *err)
{
	static const NetlinkStep list = { RTM_GETLINK, NLM_F_DUMP, "list them", 0 };
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	Walk walk = { config, each, user };

	if (netlink_open(&netlink, err) < 0)
		return -1;
	(void)query_links(netlink, &list);
	return netlink_run(netlink, "links", walk_link, &walk, err) < 0 ? -1 : 0;
}

uint32_t link_index(const char *name)
{
	return if_nametoindex(name);
}

bool link_is(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return if_indextoname(ifindex, name);
}

int link_add_address(const char *name, const Prefix *address, Error *err)
{
	static const NetlinkStep add = { RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
					 "give it an address", 0 };
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	size_t size = address->family == 4 ? 4 : 16;
	struct nlmsghdr *message;
	struct ifaddrmsg *head;
	LinkSeen seen;

	if (netlink_open(&netlink, err) < 0 || link_look(netlink, &seen, name, err) < 0)
		return -1;
	if (!seen.index)
		return error_set(err, ERROR_NETWORK_SETUP, "%s: no such interface", name);
	message = netlink_add(netlink, &add);
	head = mnl_nlmsg_put_extra_header(message, sizeof *head);
	head->ifa_family = address->family == 4 ? AF_INET : AF_INET6;
	head->ifa_prefixlen = address->length;
	head->ifa_index = seen.index;
	mnl_attr_put(message, IFA_LOCAL, size, address->address);
	mnl_attr_put(message, IFA_ADDRESS, size, address->address);
	if (address->family ==
	    6) /* it is there at once, without asking others whether it is theirs */
		mnl_attr_put_u32(message, IFA_FLAGS, IFA_F_NODAD);
	return netlink_run(netlink, name, NULL, NULL, err) < 0 ? -1 : 0;
}

static void walk_address(void *user, const struct nlmsghdr *answer)
{
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(answer);
	const AddressWalk *walk = user;
	const struct nlattr *attribute = NULL;
	Prefix address = { .family = head->ifa_family == AF_INET ? 4 : 6 };
	size_t size = address.family == 4 ? 4 : 16;

	if (answer->nlmsg_type != RTM_NEWADDR)
		return;
	/* Of two ends of a line the local one is ours. */
	while ((attribute = netlink_attribute(answer, sizeof *head, attribute))) {
		uint16_t type = mnl_attr_get_type(attribute);

		if (mnl_attr_get_payload_len(attribute) < size ||
		    (type != IFA_LOCAL && (type != IFA_ADDRESS || address.length)))
			continue;
		memcpy(address.address, mnl_attr_get_payload(attribute), size);
		address.length = (uint8_t)(8 * size);
	}
	if (address.length)
		walk->each(walk->user, &address);
}

int link_each_address(void (*each)(void *user, const Prefix *address), void *user, Error *err)
{
	static const NetlinkStep list = { RTM_GETADDR, NLM_F_DUMP, "list them", 0 };
	cleanup_(netlink_closep) Netlink *netlink = NULL;
	AddressWalk walk = { each, user };

	if (netlink_open(&netlink, err) < 0)
		return -1;
	(void)mnl_nlmsg_put_extra_header(netlink_add(netlink, &list), sizeof(struct ifaddrmsg));
	return netlink_run(netlink, "addresses", walk_address, &walk, err) < 0 ? -1 : 0;
}

/* One that is in use or no tap is left alone. */
void link_unprepare(const LinkConfig *config)
{
	Error err = { 0 };

	if (tap_remove(config->anchor, &err) < 0)
		error_clear(&err);
}
