/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/network.h"

#include "runtime/guest/netlink.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>

enum {
	STALE_MAX = 32
};

/* Addresses of an interface that are to go. */
typedef struct Stale {
	const GuestAddress *wanted;
	uint32_t interface;
	size_t count;
	struct {
		unsigned char prefix;
		unsigned char address[16];
	} all[STALE_MAX];
} Stale;

static int set_up(int fd, uint32_t interface, bool up)
{
	struct ifinfomsg header = { .ifi_index = (int)interface,
				    .ifi_flags = up ? IFF_UP : 0,
				    .ifi_change = IFF_UP };
	GuestNetlink message;

	guest_netlink_begin(&message, RTM_NEWLINK, 0, &header, sizeof header);
	return guest_netlink_call(fd, &message);
}

static int set_link(int fd, uint32_t interface, uint16_t type, const void *value, size_t size)
{
	struct ifinfomsg header = { .ifi_index = (int)interface };
	GuestNetlink message;

	guest_netlink_begin(&message, RTM_NEWLINK, 0, &header, sizeof header);
	guest_netlink_add(&message, type, value, size);
	return guest_netlink_call(fd, &message);
}

/* Some drivers change it only while the interface is down, which costs it its routes. */
static int set_mac(int fd, uint32_t interface, const unsigned char *mac)
{
	int r = set_link(fd, interface, IFLA_ADDRESS, mac, 6);

	if (r != -EBUSY)
		return r;
	r = set_up(fd, interface, false);
	return r < 0 ? r : set_link(fd, interface, IFLA_ADDRESS, mac, 6);
}

static int change_address(int fd, uint32_t interface, uint16_t type, int family,
			  const unsigned char *bytes, unsigned char prefix)
{
	struct ifaddrmsg header = { .ifa_family = (unsigned char)family,
				    .ifa_prefixlen = prefix,
				    .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0,
				    .ifa_index = interface };
	uint16_t flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0;
	size_t size = family == AF_INET ? 4 : 16;
	GuestNetlink message;

	guest_netlink_begin(&message, type, flags, &header, sizeof header);
	guest_netlink_add(&message, IFA_LOCAL, bytes, size);
	guest_netlink_add(&message, IFA_ADDRESS, bytes, size);
	return guest_netlink_call(fd, &message);
}

/* The address in what follows a message's header, or NULL. The local one counts, if there is one.
 */
static const char *find_address(const char *at, size_t left, size_t size)
{
	const char *address = NULL;
	struct rtattr attribute;

	while (left >= sizeof attribute) {
		size_t length;

		memcpy(&attribute, at, sizeof attribute);
		if (attribute.rta_len < sizeof attribute || attribute.rta_len > left)
			break;
		if (attribute.rta_len == sizeof attribute + size &&
		    (attribute.rta_type == IFA_LOCAL ||
		     (attribute.rta_type == IFA_ADDRESS && !address)))
			address = at + sizeof attribute;
		length = RTA_ALIGN(attribute.rta_len);
		if (length > left)
			break;
		at += length;
		left -= length;
	}
	return address;
}

/* The kernel's own link-local address of IPv6 stays: neighbours are found by it. */
static void find_stale(void *user, const struct nlmsghdr *one)
{
	Stale *stale = user;
	size_t size = guest_address_size(stale->wanted);
	size_t start = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct ifaddrmsg));
	struct ifaddrmsg header;
	const char *address;

	if (one->nlmsg_type != RTM_NEWADDR || one->nlmsg_len < start || stale->count == STALE_MAX)
		return;
	memcpy(&header, (const char *)one + NLMSG_HDRLEN, sizeof header);
	if (header.ifa_index != stale->interface || header.ifa_family != stale->wanted->family ||
	    (header.ifa_family == AF_INET6 && header.ifa_scope == RT_SCOPE_LINK))
		return;
	address = find_address((const char *)one + start, one->nlmsg_len - start, size);
	if (!address || (header.ifa_prefixlen == stale->wanted->prefix &&
			 memcmp(address, stale->wanted->address, size) == 0))
		return;
	stale->all[stale->count].prefix = header.ifa_prefixlen;
	memcpy(stale->all[stale->count++].address, address, size);
}

/* As many as there is room for. Return: how many, or -errno. */
static int remove_some(int fd, uint32_t interface, const GuestAddress *address)
{
	struct ifaddrmsg header = { .ifa_family = (unsigned char)address->family };
	Stale stale = { .wanted = address, .interface = interface };
	GuestNetlink message;
	int r;

	guest_netlink_begin(&message, RTM_GETADDR, NLM_F_DUMP, &header, sizeof header);
	r = guest_netlink_dump(fd, &message, find_stale, &stale);
	for (size_t i = 0; r == 0 && i < stale.count; i++) {
		r = change_address(fd, interface, RTM_DELADDR, address->family,
				   stale.all[i].address, stale.all[i].prefix);
		if (r == -EADDRNOTAVAIL) /* gone with the one before, of which it was a second */
			r = 0;
	}
	return r < 0 ? r : (int)stale.count;
}

static int remove_stale(int fd, uint32_t interface, const GuestAddress *address)
{
	int r;

	do
		r = remove_some(fd, interface, address);
	while (r == STALE_MAX);
	return r < 0 ? r : 0;
}

/* The gateway need be in no network of the interface: with a /32 it is in none. */
static int set_gateway(int fd, uint32_t interface, const GuestAddress *address)
{
	struct rtmsg header = { .rtm_family = (unsigned char)address->family,
				.rtm_table = RT_TABLE_MAIN,
				.rtm_protocol = RTPROT_STATIC,
				.rtm_scope = RT_SCOPE_UNIVERSE,
				.rtm_type = RTN_UNICAST,
				.rtm_flags = RTNH_F_ONLINK };
	GuestNetlink message;

	guest_netlink_begin(&message, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header,
			    sizeof header);
	guest_netlink_add(&message, RTA_GATEWAY, address->gateway, guest_address_size(address));
	guest_netlink_add(&message, RTA_OIF, &interface, sizeof interface);
	return guest_netlink_call(fd, &message);
}

static int set_family(int fd, uint32_t interface, const GuestAddress *address, const char **what)
{
	bool four = address->family == AF_INET;
	int r = 0;

	*what = four ? "ipv4" : "ipv6";
	/* Last, as a second address of a network goes with the first one. */
	if (address->set)
		r = remove_stale(fd, interface, address);
	if (r == 0 && address->set)
		r = change_address(fd, interface, RTM_NEWADDR, address->family, address->address,
				   address->prefix);
	if (r < 0 || !address->has_gateway)
		return r;
	*what = four ? "gateway4" : "gateway6";
	return set_gateway(fd, interface, address);
}

static int set_interface(int fd, const GuestNetworkSpec *spec, uint32_t interface,
			 const char **what)
{
	uint32_t mtu = (uint32_t)spec->mtu;
	int r = 0;

	*what = "mac";
	if (spec->has_mac)
		r = set_mac(fd, interface, spec->mac);
	if (r < 0)
		return r;
	*what = "mtu";
	if (mtu)
		r = set_link(fd, interface, IFLA_MTU, &mtu, sizeof mtu);
	if (r < 0)
		return r;
	*what = "interface";
	return set_up(fd, interface, true);
}

int guest_network_set(const GuestNetworkSpec *spec, const char **what)
{
	uint32_t interface = if_nametoindex(spec->interface);
	cleanup_close int fd = -1;
	int r;

	*what = "interface";
	if (!interface)
		return -errno;
	fd = guest_netlink_open();
	if (fd < 0)
		return fd;
	r = set_interface(fd, spec, interface, what);
	for (size_t i = 0; r == 0 && i < array_size(spec->addresses); i++)
		r = set_family(fd, interface, &spec->addresses[i], what);
	return r;
}
