/* SPDX-License-Identifier: Apache-2.0 */

/* What is written to a tool is checked before: see iptables_rules_check(). */

#include "base/text.h"
#include "netfw/iptables_rules.h"
#include "netfw/tap.h"

#include <string.h>

enum {
	BITS_4 = 32,
	BITS_6 = 128,
};

/* No wildcard, no option, nothing that is to be quoted. */
static const char tap_bytes[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

static bool is_tap(const char *name)
{
	size_t length = name ? strlen(name) : 0;

	return length > 0 && length < TAP_NAME_MAX && *name != '-' &&
	       strspn(name, tap_bytes) == length;
}

static bool is_prefix(const Prefix *prefix)
{
	if (prefix->family != 4 && prefix->family != 6)
		return false;
	/* One that has bits behind its length does not contain itself. */
	return prefix->length <= (prefix->family == 4 ? BITS_4 : BITS_6) &&
	       prefix_contains(prefix, prefix);
}

static bool is_address(const Prefix *address, uint8_t family)
{
	if (address->length == 0)
		return true;
	return is_prefix(address) && address->family == family &&
	       address->length == (family == 4 ? BITS_4 : BITS_6);
}

static bool is_port(const EgressPort *port)
{
	switch (port->protocol) {
	case EGRESS_ANY:
	case EGRESS_ICMP:
	case EGRESS_TCP:
	case EGRESS_UDP:
	case EGRESS_SCTP:
		break;
	default:
		return false;
	}
	return port->first <= port->last && (port->first > 0 || port->last == UINT16_MAX);
}

static bool is_block(const EgressBlock *block)
{
	if (!is_prefix(&block->cidr))
		return false;
	for (size_t i = 0; i < block->except_count; i++)
		if (!is_prefix(&block->except[i]) ||
		    !prefix_contains(&block->cidr, &block->except[i]))
			return false;
	return true;
}

static int refuse(Error *err, const char *id, const char *what)
{
	return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT, "VM \"%.63s\": %s", id, what);
}

static int check_rule(const char *id, const EgressRule *rule, Error *err)
{
	if (rule->name_count)
		return refuse(err, id, "a rule with names, which only the BPF filter has");
	for (size_t i = 0; i < rule->to_count; i++)
		if (!is_block(&rule->to[i]))
			return refuse(err, id, "not a block of addresses with exceptions in it");
	for (size_t i = 0; i < rule->port_count; i++)
		if (!is_port(&rule->ports[i]))
			return refuse(err, id, "not a protocol with a range of ports");
	return 0;
}

int iptables_rules_check(const IptablesInput *input, Error *err)
{
	const IptablesVm *vm = input->vm;

	if (!text_is_id(vm->id))
		return refuse(err, vm->id, "not an id");
	if (!is_tap(vm->tap))
		return refuse(err, vm->id, "not the name of a tap");
	if (!is_address(&vm->address4, 4) || !is_address(&vm->address6, 6))
		return refuse(err, vm->id, "not an address of its family");
	for (size_t i = 0; i < input->denied_count; i++)
		if (!is_prefix(&input->denied[i]))
			return refuse(err, vm->id, "not a prefix that is always denied");
	for (size_t i = 0; i < input->policy->count; i++)
		if (check_rule(vm->id, &input->policy->rules[i], err) < 0)
			return -1;
	return 0;
}
