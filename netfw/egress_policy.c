/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/egress_policy.h"

static bool is_excepted(const EgressBlock *block, const Prefix *address)
{
	for (size_t i = 0; i < block->except_count; i++)
		if (prefix_contains(&block->except[i], address))
			return true;
	return false;
}

/* A block reaches into an always-denied prefix only if it lies in it. */
static bool is_denied(const Prefix *cidr, const Prefix *denied, size_t denied_count,
		      const Prefix *address)
{
	for (size_t i = 0; i < denied_count; i++)
		if (prefix_contains(&denied[i], address) &&
		    !(cidr && prefix_contains(&denied[i], cidr)))
			return true;
	return false;
}

static bool has_address(const EgressRule *rule, const Prefix *denied, size_t denied_count,
			const Prefix *address)
{
	if (rule->to_count == 0)
		return !is_denied(NULL, denied, denied_count, address);
	for (size_t i = 0; i < rule->to_count; i++) {
		const EgressBlock *block = &rule->to[i];

		if (prefix_contains(&block->cidr, address) && !is_excepted(block, address) &&
		    !is_denied(&block->cidr, denied, denied_count, address))
			return true;
	}
	return false;
}

static bool has_port(const EgressRule *rule, const EgressTarget *target)
{
	uint8_t protocol = target->protocol;

	if (protocol == EGRESS_ICMPV6 && target->address.family == 6)
		protocol = EGRESS_ICMP;
	for (size_t i = 0; i < rule->port_count; i++) {
		const EgressPort *port = &rule->ports[i];

		if ((port->protocol == EGRESS_ANY || port->protocol == protocol) &&
		    target->port >= port->first && target->port <= port->last)
			return true;
	}
	return rule->port_count == 0;
}

int egress_policy_find(const EgressPolicy *policy, const Prefix *denied, size_t denied_count,
		       const EgressTarget *target)
{
	for (size_t i = 0; i < policy->count; i++) {
		const EgressRule *rule = &policy->rules[i];

		if (has_address(rule, denied, denied_count, &target->address) &&
		    has_port(rule, target))
			return (int)i;
	}
	return -1;
}
