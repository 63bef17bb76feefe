/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Egress by iptables, where there is no BPF: routed taps only.
 *
 * A chain for each VM, named by a prefix and the 16 digits of FNV-1a-64 of its
 * id, is jumped to from the top of FORWARD and INPUT for what comes from its
 * tap: what has another source is dropped, replies are accepted, then what the
 * rules allow, the rest is dropped. The VM's own flows are asked for packet by
 * packet, so that one whose permission has been revoked ends. Of ICMPv6, a VM
 * that has IPv6 may always do neighbour discovery.
 *
 * IPv4 and IPv6, each in one run of iptables-restore --noflush -w, so that a
 * change is seen whole or not at all. Inputs are checked before anything runs.
 * The tools are run, not linked. Calls are serialised by the tools' own lock;
 * safe from any thread, but not two at once for one VM.
 *
 * Without its rules a tap is not filtered: they are there before the tap is up,
 * and go after it.
 *
 * It lacks, against the filter: source MAC, ARP and ND checks, flows of the
 * VM's own, events, explanations, 1:1 NAT, bridged taps.
 */

#include "base/error.h"
#include "netfw/egress_policy.h"

enum {
	IPTABLES_CHAIN_MAX = 29, /* with its NUL, as the kernel's */
};

typedef struct IptablesVm {
	const char *id;  /* of the VM, as text_is_id() has it */
	const char *tap; /* its interface */
	Prefix address4; /* the only source that passes; length 0: no IPv4 */
	Prefix address6;
} IptablesVm;

/* The chain's name; @ret is returned. */
const char *iptables_chain(const char *id, char ret[static IPTABLES_CHAIN_MAX]);

/*
 * Do the tools work here? A chain with all that is needed is made and removed.
 * FIREWALL with what is missing, or their words.
 */
int iptables_probe(Error *err) must_check;

/**
 * iptables_apply() - install or replace @vm's rules
 * @denied:	always-denied prefixes
 * @err:	FIREWALL; CAUSE_INPUT before anything has run; else each family has its old
 *		rules or its new ones, and the call may be repeated
 */
int iptables_apply(const IptablesVm *vm, const EgressPolicy *policy, const Prefix *denied,
		   size_t denied_count, Error *err) must_check;

/* Removes the rules of the VM called @id and all jumps to them; absent is success. */
int iptables_remove(const char *id, Error *err) must_check;

/* Calls @each with the id of every VM that has a chain; with IPv4 and IPv6 twice. */
int iptables_each(void (*each)(void *user, const char *id), void *user, Error *err) must_check;

/* Removes every chain of ours that is none of @ids, and the jumps to it; of how many VMs in
 * @removed. */
int iptables_collect(const char *const *ids, size_t count, size_t *removed, Error *err) must_check;
