/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a policy allows by name: a copy of its rules with names, and of what no
 * name is to lead to. Immutable, and shared by reference. Safe from any thread.
 */

#include "netfw/port_ranges.h"

typedef struct NameRules NameRules;

/* NULL: no rule of @policy has a name. @denied: the always-denied prefixes. */
NameRules *name_rules_new(const EgressPolicy *policy, const Prefix *denied, size_t denied_count);
NameRules *name_rules_ref(NameRules *rules);
void name_rules_unref(NameRules *rules); /* accepts NULL */
DEFINE_CLEANUP(NameRules *, name_rules_unref);

/* Is there a rule for @name, in lower case? @rules may be NULL: no. */
bool name_rules_allow(const NameRules *rules, const char *name);

/* Adds to @ret what is allowed at addresses of @family that are @name's; port_ranges_unite() is yet
 * to come. */
void name_rules_ports(const NameRules *rules, const char *name, uint8_t family, PortRanges *ret);

/* All that any name allows, united. */
void name_rules_all_ports(const NameRules *rules, PortRanges *ret);

/*
 * Is @address always denied, or one of a network's own, so that a name must not lead to it? Those
 * of RFC 6890 that are not global, but for what documentation and benchmarks use.
 */
bool name_rules_deny(const NameRules *rules, const Prefix *address);
