/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The static rules of nftables: loaded once, the same for any number of VMs.
 *
 * The interlock: what comes from a tap of ours and does not have the filter's
 * mark is dropped, in the inet family (forward and input) and in the bridge
 * family (prerouting, so that a bridge does not even learn from it, and input),
 * so that nothing passes when the programs are gone. It counts for ARP on a
 * bridge as well. Masquerading, by the mark as well, of what leaves by the
 * uplink. nft is run, not linked. Safe from any thread.
 */

#include "base/error.h"
#include "netfw/prefix.h"

typedef struct RulesConfig {
	const char *table;      /* name of the tables; [a-z0-9_]+ */
	const char *tap_prefix; /* of the names of our taps, and of nobody else's, such as "h" */
	const char *uplink;     /* interface; NULL or "": no masquerading */
	Prefix masquerade4;     /* sources; length 0: none */
	Prefix masquerade6;
} RulesConfig;

/**
 * rules_load() - put the tables in place, replacing ours that are there in one transaction
 * @err:	FIREWALL, with nft's words; CAUSE_INPUT before anything has run
 *
 * They begin to count anew.
 */
int rules_load(const RulesConfig *config, Error *err) must_check;

/* Are they in place? FIREWALL with what is missing. */
int rules_check(const RulesConfig *config, Error *err) must_check;

/* Packets that the interlock has dropped. */
int rules_dropped(const RulesConfig *config, uint64_t *ret, Error *err) must_check;

void rules_remove(const RulesConfig *config);

/* Forwarding of IPv4, and of IPv6 if wanted, by sysctl: FIREWALL. Interfaces that take their IPv6
 * routes from router advertisements go on to, which they else would not on a host that forwards. */
int rules_enable_forwarding(bool six, Error *err) must_check;
