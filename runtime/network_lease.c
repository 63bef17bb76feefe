/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/network.h"
#include "runtime/vm.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

/*
 * What a VM has of its network: a slot, and of its first interface a MAC and
 * addresses. Its record says which, so that they are as durable as the VM; the
 * pools only know which are out.
 */

enum {
	FULL_LENGTH_4 = 32,
	/* Of the addresses of a pool that the agent gives by itself. */
	LARGEST_POOL_BITS = 31,
	MAC_COUNT = 1 << 24,
	NOT_HOSTS =
		3, /* of a pool of IPv4: the network's, the gateway's and the broadcast address */
};

/* Locally administered; "hth". */
static const uint8_t mac_first[ADDRESS_BYTES] = { 0x02, 0x68, 0x74, 0x00, 0x00, 0x01 };

static int parse_ip(uint8_t ret[static ADDRESS_BYTES], const char *text)
{
	Prefix address;

	if (prefix_parse_address(&address, text) < 0)
		return -1;
	memcpy(ret, address.address, ADDRESS_BYTES);
	return 0;
}

static int parse_mac(uint8_t ret[static ADDRESS_BYTES], const char *text)
{
	memset(ret, 0, ADDRESS_BYTES);
	return network_parse_mac(ret, text);
}

static char *format_ipv4(const uint8_t *address)
{
	char text[INET6_ADDRSTRLEN];

	(void)inet_ntop(AF_INET, address, text, sizeof text);
	return text_dup(text);
}

static char *format_ipv6(const uint8_t *address)
{
	char text[INET6_ADDRSTRLEN];

	(void)inet_ntop(AF_INET6, address, text, sizeof text);
	return text_dup(text);
}

static char *format_mac(const uint8_t *address)
{
	return text_printf("%02x:%02x:%02x:%02x:%02x:%02x", address[0], address[1], address[2],
			   address[3], address[4], address[5]);
}

/* One of an interface's addresses: where it is asked for, and where it is shown. */
typedef struct Row {
	const char *field;    /* of the spec's interface */
	const char *resource; /* of which there are none left */
	size_t asked, held;
	int (*parse)(uint8_t ret[static ADDRESS_BYTES], const char *text);
	char *(*format)(const uint8_t *address);
} Row;

/* clang-format off */
static const Row rows[] = {
	[ADDRESS_IPV4] = { "ipv4_address", "ipv4_addresses", offsetof(VmInterface, ipv4_address),
	                   offsetof(VmResolvedInterface, ipv4_address), parse_ip, format_ipv4 },
	[ADDRESS_IPV6] = { "ipv6_address", "ipv6_addresses", offsetof(VmInterface, ipv6_address),
	                   offsetof(VmResolvedInterface, ipv6_address), parse_ip, format_ipv6 },
	[ADDRESS_MAC]  = { "guest_mac", "macs", offsetof(VmInterface, guest_mac),
	                   offsetof(VmResolvedInterface, guest_mac), parse_mac, format_mac },
};
/* clang-format on */
static_assert(array_size(rows) == ADDRESS_KIND_COUNT_, "a row for every kind");

static const char *asked_of(const Row *row, const VmInterface *interface)
{
	return *(char *const *)((const char *)interface + row->asked);
}

static char **held_of(const Row *row, VmResolvedInterface *interface)
{
	return (char **)(void *)((char *)interface + row->held);
}

/* The bytes of what @interface holds; false: nothing, or there is no @interface. */
static bool holds(const Row *row, VmResolvedInterface *interface, uint8_t ret[static ADDRESS_BYTES])
{
	const char *text = interface ? *held_of(row, interface) : NULL;

	return text && row->parse(ret, text) == 0;
}

static AddressRange range_of(const Prefix *pool)
{
	AddressRange range = { .count = 0 };
	unsigned bits;

	if (!pool->family)
		return range;
	bits = (pool->family == 4 ? FULL_LENGTH_4 : 8U * ADDRESS_BYTES) - pool->length;
	memcpy(range.first, pool->address, sizeof range.first);
	range.first[(pool->family == 4 ? FULL_LENGTH_4 / 8 : ADDRESS_BYTES) - 1] |= 2;
	if (bits > LARGEST_POOL_BITS)
		bits = LARGEST_POOL_BITS;
	range.count = bits < 2 ? 0 : (UINT64_C(1) << bits) - NOT_HOSTS;
	return range;
}

/* On a bridge there are those of other nodes as well: so they are numbered as the addresses of the
 * pool are, of which no other node has any. */
static AddressRange macs_of(const NetworkConfig *config, const AddressRange *pool4)
{
	AddressRange range = { .count = MAC_COUNT };

	memcpy(range.first, mac_first, sizeof mac_first);
	if (!config->bridge)
		return range;
	memcpy(range.first + 2, pool4->first, FULL_LENGTH_4 / 8);
	range.count = pool4->count;
	return range;
}

void runtime_open_leases(Runtime *runtime)
{
	const NetworkConfig *config = &runtime->config.network;
	AddressRange ranges[ADDRESS_KIND_COUNT_] = {
		[ADDRESS_IPV4] = range_of(&config->pool4),
		[ADDRESS_IPV6] = range_of(&config->pool6),
	};

	ranges[ADDRESS_MAC] = macs_of(config, &ranges[ADDRESS_IPV4]);
	runtime->addresses = address_book_new(ranges);
	runtime->slots = lease_pool_new(1, runtime->config.max_vms);
}

/* Are all bits of @address set that @pool leaves open? */
static bool is_last(const Prefix *pool, const Prefix *address)
{
	for (unsigned bit = pool->length; bit < FULL_LENGTH_4; bit++)
		if (!(address->address[bit / 8] & (0x80U >> bit % 8)))
			return false;
	return true;
}

/* Address @text is to be of @pool, and no other's than a VM's. */
static void check_address(const Prefix *pool, const char *text, const char *field, Error *err)
{
	Prefix address, first;
	char words[PREFIX_TEXT_MAX];

	if (text_equal(text, "") || prefix_parse_address(&address, text) < 0)
		return; /* what is none, spec_check() has told of */
	if (!pool->family) {
		(void)error_add_violation(err, field, "this node has no pool of its kind");
		return;
	}
	if (!prefix_contains(pool, &address)) {
		(void)error_add_violation(err, field, "is not in this node's pool, %s",
					  prefix_format(pool, words));
		return;
	}
	/* The first two, and of IPv4 the last. */
	first = network_first(pool);
	if (memcmp(address.address, pool->address, sizeof address.address) == 0 ||
	    memcmp(address.address, first.address, sizeof address.address) == 0 ||
	    (pool->family == 4 && is_last(pool, &address)))
		(void)error_add_violation(err, field,
					  "is not for VMs: the pool's network, gateway "
					  "or broadcast address");
}

void vm_check_addresses(const Runtime *runtime, const VmSpec *spec, Error *err)
{
	const NetworkConfig *config = &runtime->config.network;
	const VmInterface *first = spec->network_interfaces.items;

	if (!spec->network_interfaces.count)
		return;
	check_address(&config->pool4, first->ipv4_address,
		      "spec.network_interfaces[0].ipv4_address", err);
	check_address(&config->pool6, first->ipv6_address,
		      "spec.network_interfaces[0].ipv6_address", err);
}

static bool has_leases(const Backend *backend, const VmSpec *spec)
{
	return spec->network_interfaces.count && backend->network && backend->network->ops->leases;
}

void vm_check_address_room(Runtime *runtime, const Backend *backend, const VmSpec *spec, Error *err)
{
	if (!has_leases(backend, spec))
		return;
	for (AddressKind kind = 0; kind < ADDRESS_KIND_COUNT_; kind++) {
		bool wanted =
			!text_equal(asked_of(&rows[kind], spec->network_interfaces.items), "");
		uint64_t most, out;

		address_book_count(runtime->addresses, kind, &most, &out);
		if (most && !wanted && out >= most)
			(void)error_add_capacity(err, rows[kind].resource, 1, 0);
	}
}

/* Leases of one kind what @interface is to have: what is asked for, what it had (@before), or the
 * next. */
static int lease_one(Runtime *runtime, AddressKind kind, const VmInterface *interface,
		     VmResolvedInterface *before, VmResolvedInterface *ret, Error *err)
{
	const Row *row = &rows[kind];
	const char *asked = asked_of(row, interface);
	uint8_t address[ADDRESS_BYTES], had[ADDRESS_BYTES];
	bool has = holds(row, before, had), wanted = !text_equal(asked, "");

	if (wanted && row->parse(address, asked) < 0)
		return error_set(err, ERROR_NETWORK_CONFIG, "%s: %s", row->field, asked);
	if (wanted && !(has && memcmp(had, address, sizeof had) == 0) &&
	    address_claim(runtime->addresses, kind, address) < 0)
		return error_set(err, ERROR_NETWORK_CONFIG,
				 "spec.network_interfaces[0].%s: %s is another VM's", row->field,
				 asked);
	if (!wanted && has)
		memcpy(address, had, sizeof address);
	else if (!wanted && !address_book_gives(runtime->addresses, kind))
		return 0;
	else if (!wanted && address_take(runtime->addresses, kind, address) < 0)
		return error_add_capacity(err, row->resource, 1, 0);
	*held_of(row, ret) = row->format(address);
	return 0;
}

static void show_gateways(const NetworkConfig *config, VmResolvedInterface *interface)
{
	if (interface->ipv4_address && config->gateway4.family)
		interface->ipv4_gateway = format_ipv4(config->gateway4.address);
	if (interface->ipv6_address && config->gateway6.family)
		interface->ipv6_gateway = format_ipv6(config->gateway6.address);
}

static int lease_slot(Runtime *runtime, uint32_t before, uint32_t *ret, Error *err)
{
	*ret = before;
	if (!before && lease_take(runtime->slots, ret) < 0)
		return error_add_capacity(err, "network_slots", 1, 0);
	return 0;
}

/* Drops what @resolved shows of interfaces. */
static void clear_interfaces(VmResolved *resolved)
{
	FieldList *list = &resolved->network_interfaces;

	for (size_t i = 0; i < list->count; i++)
		fields_clear(&vm_resolved_interface_table, (VmResolvedInterface *)list->items + i);
	free(list->items);
	*list = (FieldList){ 0 };
	resolved->network_slot = 0;
}

int vm_lease_network(Runtime *runtime, const Backend *backend, const VmSpec *spec,
		     const VmResolved *before, VmResolved *ret, Error *err)
{
	const VmInterface *first = spec->network_interfaces.items;
	VmResolvedInterface *interface;
	int r;

	clear_interfaces(ret);
	if (!has_leases(backend, spec))
		return 0;
	interface = record_interface(ret, first->interface_id);
	r = lease_slot(runtime, before->network_slot, &ret->network_slot, err);
	for (AddressKind kind = 0; kind < ADDRESS_KIND_COUNT_ && r == 0; kind++)
		r = lease_one(runtime, kind, first, network_interface(before), interface, err);
	if (r == 0) {
		show_gateways(&runtime->config.network, interface);
		return 0;
	}
	vm_return_network(runtime, ret, before);
	clear_interfaces(ret);
	return -1;
}

void vm_return_network(Runtime *runtime, const VmResolved *had, const VmResolved *has)
{
	/* The first whole or half leased. */
	VmResolvedInterface *from = had->network_interfaces.items;
	VmResolvedInterface *to = has ? network_interface(has) : NULL;

	if (had->network_slot && !(has && has->network_slot == had->network_slot))
		lease_return(runtime->slots, had->network_slot);
	if (!had->network_interfaces.count)
		return;
	for (AddressKind kind = 0; kind < ADDRESS_KIND_COUNT_; kind++) {
		uint8_t old[ADDRESS_BYTES], kept[ADDRESS_BYTES];

		if (!holds(&rows[kind], from, old) ||
		    (holds(&rows[kind], to, kept) && memcmp(old, kept, sizeof old) == 0))
			continue;
		address_return(runtime->addresses, kind, old);
	}
}

void vm_copy_network(VmResolved *to, const VmResolved *from)
{
	VmResolvedInterface *interface = network_interface(from);

	clear_interfaces(to);
	to->network_slot = from->network_slot;
	if (interface)
		fields_copy(&vm_resolved_interface_table,
			    field_list_add(&to->network_interfaces, &vm_resolved_interface_table),
			    interface);
}

void vm_claim_network(Runtime *runtime, const VmResolved *resolved)
{
	VmResolvedInterface *interface = network_interface(resolved);

	if (resolved->network_slot) /* outside a range that has shrunk it is nobody else's */
		(void)!lease_claim(runtime->slots, resolved->network_slot);
	for (AddressKind kind = 0; kind < ADDRESS_KIND_COUNT_; kind++) {
		uint8_t address[ADDRESS_BYTES];

		if (holds(&rows[kind], interface, address))
			(void)!address_claim(runtime->addresses, kind, address);
	}
}
