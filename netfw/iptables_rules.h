/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The rules of a VM's chain, as iptables-restore reads them.
 *
 * A block of a policy is one rule that accepts. If something is excluded from
 * it, exceptions or always-denied prefixes, it is a jump to a chain of the
 * block's own: there what is excluded returns, which leaves it to the blocks
 * that follow. Ports that need more than one match are a chain for the whole
 * rule of the policy. So the number of rules is that of blocks, exclusions and
 * ports, not their product.
 */

#include "base/error.h"
#include "netfw/iptables.h"

enum {
	IPTABLES_RULES_MAX = 32768, /* of a VM, for each family */
};

typedef struct IptablesRules {
	char *text;    /* lines "-A ..." */
	size_t chains; /* besides the VM's own, numbered from 0 */
} IptablesRules;

/* What iptables_apply() is given. */
typedef struct IptablesInput {
	const IptablesVm *vm;
	const EgressPolicy *policy;
	const Prefix *denied;
	size_t denied_count;
} IptablesInput;

/* Is all of it what may be written to a tool? FIREWALL, CAUSE_INPUT. */
int iptables_rules_check(const IptablesInput *input, Error *err) must_check;

/**
 * iptables_rules_write() - for @family, 4 or 6, of what has been checked
 * @err:	FIREWALL, CAUSE_INPUT: more than IPTABLES_RULES_MAX
 */
int iptables_rules_write(IptablesRules *ret, uint8_t family, const IptablesInput *input, Error *err)
	must_check;
void iptables_rules_clear(IptablesRules *rules);

/* The chain numbered @number of the VM's chain @root; @ret is returned. */
const char *iptables_rules_chain(const char *root, size_t number,
				 char ret[static IPTABLES_CHAIN_MAX]);
