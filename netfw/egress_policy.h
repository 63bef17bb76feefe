/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a VM may reach, as it is asked for: rules like those of a Kubernetes
 * NetworkPolicy. They only allow; what none of them allows is denied, and so
 * are the always-denied prefixes, unless a rule names a block inside of one.
 * Replies need no rule. A plain value; its owner says whose memory it is.
 */

#include "netfw/prefix.h"

enum {
	EGRESS_RULES_MAX = 1024,
	EGRESS_PREFIXES_MAX = 16384, /* blocks and exceptions, of all rules together */
	EGRESS_PORTS_MAX = 4096,     /* of all rules together */
	EGRESS_NAMES_MAX = 4096,     /* the same */
	EGRESS_NAME_MAX = 254,       /* the longest name as text, with its NUL */
};

enum {
	EGRESS_ANY = 0,  /* IP protocols have numbers of their own */
	EGRESS_ICMP = 1, /* ICMPv6, where the address is of family 6 */
	EGRESS_TCP = 6,
	EGRESS_UDP = 17,
	EGRESS_SCTP = 132,
	EGRESS_ICMPV6 = 58,
};

/* A block of addresses without the exceptions, which all lie in it. */
typedef struct EgressBlock {
	Prefix cidr;
	const Prefix *except;
	size_t except_count;
} EgressBlock;

typedef struct EgressPort {
	uint8_t protocol;
	uint16_t first,
		last; /* 0 to 65535: any port, as of EGRESS_ANY; else 1 to 65535, in order */
} EgressPort;

/* Allows its ports at its blocks, and where its names are. */
typedef struct EgressRule {
	const EgressBlock *to; /* none, and no names: everywhere */
	size_t to_count;
	const char *const *names; /* as egress_name_check() takes them, in lower case */
	size_t name_count;
	const EgressPort *ports; /* none: every protocol and port */
	size_t port_count;
} EgressRule;

typedef struct EgressPolicy {
	const EgressRule *rules;
	size_t count;
} EgressPolicy;

static inline bool egress_rule_is_everywhere(const EgressRule *rule)
{
	return rule->to_count == 0 && rule->name_count == 0;
}

/* What is wrong with @name, which is to be one of a rule's; NULL: nothing. A host's name (RFC 1123,
 * with "_"), or "*." and one: all that end with it, but not it itself. */
const char *egress_name_check(const char *name);

/* Does a rule have a name for @name, which is in lower case and without a dot at its end? */
bool egress_rule_names(const EgressRule *rule, const char *name);

/* Where a packet goes. */
typedef struct EgressTarget {
	Prefix address; /* of full length */
	uint8_t protocol;
	uint16_t port; /* 0 where the protocol has none */
} EgressTarget;

bool egress_policy_has_names(const EgressPolicy *policy);

/**
 * egress_policy_find() - which rule allows @target?
 * @denied:	the always-denied prefixes; @denied_count of them
 *
 * Return: the first one's index, or -1. Names are not looked at. For explanations and tests: it
 * looks through all rules.
 */
int egress_policy_find(const EgressPolicy *policy, const Prefix *denied, size_t denied_count,
		       const EgressTarget *target);

/* The first rule that has a name for @name, and @target's port if that is not NULL; or -1. */
int egress_policy_find_name(const EgressPolicy *policy, const char *name,
			    const EgressTarget *target);
