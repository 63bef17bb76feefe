/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/network_spec.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <string.h>

enum {
	MTU_MOST = 65535
};

size_t guest_address_size(const GuestAddress *address)
{
	return address->family == AF_INET ? 4 : 16;
}

/* Return: 0 to 15, or -1. */
static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *digit = c ? strchr(digits, c) : NULL;

	return digit ? (int)((digit - digits) & 15) : -1;
}

static bool parse_mac(unsigned char ret[static 6], const char *text)
{
	if (strlen(text) != 17)
		return false;
	for (size_t i = 0; i < 6; i++, text += 3) {
		int high = hex_digit(text[0]), low = hex_digit(text[1]);

		if (high < 0 || low < 0 || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		ret[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool parse_cidr(GuestAddress *ret, const char *text)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	long prefix = 0, most = ret->family == AF_INET ? 32 : 128;

	if (!slash || (size_t)(slash - text) >= sizeof address)
		return false;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	for (const char *at = slash + 1; *at; at++) {
		if (*at < '0' || *at > '9' || prefix > most)
			return false;
		prefix = prefix * 10 + (*at - '0');
	}
	ret->prefix = (unsigned char)prefix;
	ret->set = true;
	return slash[1] && prefix >= 1 && prefix <= most &&
	       inet_pton(ret->family, address, ret->address) == 1;
}

static int read_address(GuestAddress *ret, const GuestRequest *request, const char *name,
			const char *gateway_name)
{
	const char *cidr = NULL, *gateway = NULL;

	if (guest_request_text(request, name, GUEST_OPTIONAL, &cidr) < 0 ||
	    guest_request_text(request, gateway_name, GUEST_OPTIONAL, &gateway) < 0)
		return -1;
	if (cidr && !parse_cidr(ret, cidr))
		return guest_request_bad(request, name);
	ret->has_gateway = gateway;
	if (gateway && inet_pton(ret->family, gateway, ret->gateway) != 1)
		return guest_request_bad(request, gateway_name);
	return 0;
}

int guest_network_spec_read(GuestNetworkSpec *ret, const GuestRequest *request)
{
	const char *mac = NULL;

	*ret = (GuestNetworkSpec){ .addresses = { { .family = AF_INET }, { .family = AF_INET6 } } };
	if (guest_request_text(request, "interface", GUEST_REQUIRED, &ret->interface) < 0 ||
	    guest_request_text(request, "mac", GUEST_OPTIONAL, &mac) < 0 ||
	    guest_request_number(request, "mtu", GUEST_OPTIONAL, MTU_MOST, &ret->mtu) < 0)
		return -1;
	if (!*ret->interface || strlen(ret->interface) >= IF_NAMESIZE)
		return guest_request_bad(request, "interface");
	if (mac && !parse_mac(ret->mac, mac))
		return guest_request_bad(request, "mac");
	ret->has_mac = mac;
	if (read_address(&ret->addresses[0], request, "ipv4", "gateway4") < 0)
		return -1;
	return read_address(&ret->addresses[1], request, "ipv6", "gateway6");
}
