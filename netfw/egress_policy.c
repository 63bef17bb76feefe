/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/egress_policy.h"

#include <ctype.h>
#include <string.h>

enum {
	LABEL_MAX = 63,
};

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
	if (egress_rule_is_everywhere(rule))
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

static bool is_name_letter(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

static const char *check_label(const char *label, size_t length)
{
	if (length == 0)
		return "has an empty label";
	if (length > LABEL_MAX)
		return "has a label of more than 63 characters";
	if (label[0] == '-' || label[length - 1] == '-')
		return "has a label that begins or ends with '-'";
	for (size_t i = 0; i < length; i++)
		if (!is_name_letter(label[i]))
			return label[i] == '*' ? "has '*' elsewhere than as its first label"
					       : "has other characters than letters of ASCII, "
						 "digits, '-', '_' and '.'";
	return NULL;
}

const char *egress_name_check(const char *name)
{
	const char *problem = NULL, *at = name;
	Prefix address;

	if (strlen(name) >= EGRESS_NAME_MAX)
		return "is longer than 253 characters";
	if (prefix_parse_address(&address, name) == 0)
		return "is an address: it belongs into a block";
	if (strncmp(name, "*.", 2) == 0)
		at += 2;
	for (bool last = false; !last && !problem;) {
		size_t length = strcspn(at, ".");

		problem = check_label(at, length);
		last = at[length] == '\0';
		at += length + 1;
	}
	return problem;
}

static bool name_matches(const char *pattern, const char *name)
{
	size_t whole = strlen(name), end;

	if (pattern[0] != '*')
		return strcmp(pattern, name) == 0;
	end = strlen(pattern) - 1; /* with its dot */
	return whole > end && strcmp(name + whole - end, pattern + 1) == 0;
}

bool egress_rule_names(const EgressRule *rule, const char *name)
{
	for (size_t i = 0; i < rule->name_count; i++)
		if (name_matches(rule->names[i], name))
			return true;
	return false;
}

bool egress_policy_has_names(const EgressPolicy *policy)
{
	for (size_t i = 0; i < policy->count; i++)
		if (policy->rules[i].name_count)
			return true;
	return false;
}

int egress_policy_find_name(const EgressPolicy *policy, const char *name,
			    const EgressTarget *target)
{
	for (size_t i = 0; i < policy->count; i++)
		if (egress_rule_names(&policy->rules[i], name) &&
		    (!target || has_port(&policy->rules[i], target)))
			return (int)i;
	return -1;
}
