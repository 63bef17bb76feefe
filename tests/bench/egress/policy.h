/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Policies of many rules, for the filter and for iptables. The last rule is the one that traffic
 * needs. */

#include "netfw/filter_table.h"

enum {
	POLICY_NOBODYS = -1, /* in place of a VM's number: what all have */
};

/* @rules prefixes are allowed, with TCP's port 443, the last one with UDP's port 53 at BED_TARGET.
 * Those of each @vm are its own. The caller's to free. */
FilterTable *policy_table(unsigned rules, int vm);

/*
 * Installs chains as netfw/iptables.h does, of @vms VMs with @rules each, in one run of
 * iptables-restore; the first is the guest's, which is looked at last.
 */
void policy_iptables(unsigned vms, unsigned rules);

/* Installs one VM more, of @rules, by netfw/iptables.h; and removes it. */
void policy_iptables_add(unsigned rules);
void policy_iptables_remove(void);
