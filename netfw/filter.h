/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The egress filter: two BPF programs on all taps, and their maps.
 *
 * The programs are attached once, to a pair of tc blocks that taps share
 * (netfw/link.h); a VM is an entry of a map, keyed by its tap's index. A tap
 * that is no VM's passes nothing. Maps are pinned, and the blocks keep the
 * programs: they go on while no agent runs, and the next one adopts the maps,
 * with all flows, and replaces the programs in place (link_attach()).
 *
 * Policies are in tries of their own, in slots made ahead, because putting a
 * trie into its slot takes the kernel milliseconds: a new policy is written
 * into a free slot, then the VM's entry is changed, which is atomic. The old
 * slot is emptied a second later. VMs whose policies are equal share a slot;
 * so for a second after its exchange a policy still takes one.
 *
 * Routed, the host is everyone's neighbour: ARP and neighbour discovery for any
 * address but the guest's own are answered by the program with the gateway's
 * MAC, and what is not from that MAC does not reach the guest. Bridged, a guest
 * asks and answers its neighbours itself; what goes to all of them beyond that
 * does not pass. Of extension headers the one for fragments passes, of ICMP echo
 * and errors.
 *
 * Safe from any thread.
 */

#include "base/error.h"
#include "netfw/filter_table.h"
#include "netfw/name_lead.h"

typedef struct Filter Filter;

#define FILTER_NO_VM UINT32_MAX /* in place of a slot: interfaces that are no VM's */

typedef struct FilterConfig {
	const char *pin_dir; /* on a BPF file system; made if missing */
	uint32_t max_vms;    /* 1 to 65535; pinned maps of another size are made anew if no VM is in
				them, else kept */
} FilterConfig;

/**
 * filter_open() - load the programs, make or adopt the maps
 * @err:	FIREWALL: what the kernel lacks or refuses; nothing is left then
 */
int filter_open(Filter **ret, const FilterConfig *config, Error *err) must_check;
/* Nothing pinned changes: filtering goes on. */
void filter_close(Filter *filter);
DEFINE_CLEANUP(Filter *, filter_close);
/* Removes all that is pinned in @pin_dir. For uninstalling, and tests. */
void filter_unpin(const char *pin_dir);

/* The programs, for link_attach(); the filter's to close. */
int filter_from_vm_fd(const Filter *filter);
int filter_to_vm_fd(const Filter *filter);

typedef struct FilterVm {
	uint32_t ifindex, slot;
	bool log, has4, has6;
	bool bridged; /* others than the host are its neighbours; it has no gateway of the host's */
	uint32_t new_flows;                       /* a second; 0: no limit */
	uint8_t guest4[4], host4[4], gateway4[4]; /* guest4 other than host4: 1:1 NAT */
	uint8_t guest6[16], gateway6[16];
	uint8_t guest_mac[6], gateway_mac[6];
} FilterVm;

/**
 * filter_add_vm() - make @vm known, with @table as its policy
 *
 * Its slot's flows and counters are cleared first. Known already: replaced, flows and counters
 * stay. @err: FIREWALL, CAUSE_EXHAUSTED when there is no slot for one more policy.
 */
int filter_add_vm(Filter *filter, const FilterVm *vm, const FilterTable *table, Error *err)
	must_check;

/**
 * filter_set_policy() - exchange the policy of the VM at @ifindex
 *
 * Atomic: each packet meets the old one or the new. Flows that the new one allows go on; others end
 * with their next packet. @err: FIREWALL; the old policy stays.
 */
int filter_set_policy(Filter *filter, uint32_t ifindex, const FilterTable *table, Error *err)
	must_check;

/**
 * filter_pin() - from now on what rules allow by @lead's name is allowed at its addresses
 * @err:	FIREWALL, CAUSE_INPUT: an address is always denied or internal, and no block of the
 *		policy has it, or no rule has the name; CAUSE_EXHAUSTED: all VMs together have
 *		too many
 *
 * A pin there is already is never shortened. Of one VM the FILTER_VM_PINS that last longest are
 * kept. They outlive the agent, and a change of the policy as far as that has the name. Internal
 * addresses that a block of the policy has are left to it.
 */
int filter_pin(Filter *filter, uint32_t ifindex, const NameLead *lead, Error *err) must_check;

enum {
	FILTER_VM_PINS = 1024,
};

/* Calls @each with every address that a name has led the VM at @ifindex to, and for how many
 * seconds from now on. */
void filter_each_pin(Filter *filter, uint32_t ifindex,
		     void (*each)(void *user, const char *name, const Prefix *address,
				  int64_t seconds),
		     void *user);

/* Forgets the VM at @ifindex: nothing passes its tap any more. Absent is success. */
int filter_remove_vm(Filter *filter, uint32_t ifindex, Error *err) must_check;

/* Calls @each with the tap's index and slot of every VM known. */
int filter_each_vm(Filter *filter, void (*each)(void *user, uint32_t ifindex, uint32_t slot),
		   void *user) must_check;

/* A packet to be asked about. */
typedef struct FilterProbe {
	bool to_vm;
	uint8_t protocol;
	Prefix source, target;             /* of full length; of length 0: the VM's own address */
	uint16_t source_port, target_port; /* ICMP: the first one is an echo's identifier */
} FilterProbe;

/**
 * filter_explain() - what would become of @probe's packet, by the live maps
 * @ret:	FILTER_PASS_* or FILTER_DROP_*
 *
 * Runs the program itself, without counting, events or flows.
 */
int filter_explain(Filter *filter, uint32_t ifindex, const FilterProbe *probe, int *ret, Error *err)
	must_check;

/* "a rule allows it"; of a number that is no verdict "unknown". */
const char *filter_verdict_words(int verdict);
/* "PASS_POLICY". */
const char *filter_verdict_name(int verdict);

/* From the VM and to it; of FILTER_NO_VM: what came from interfaces that are no VM's, and to them.
 */
int filter_counters(Filter *filter, uint32_t slot, struct filter_counters *from_vm,
		    struct filter_counters *to_vm, Error *err) must_check;

/* Becomes readable when there are events. The filter's to close. */
int filter_events_fd(const Filter *filter);
/* Calls @each for every event there is; one caller at a time. */
int filter_events_read(Filter *filter, void (*each)(void *user, const struct filter_event *event),
		       void *user) must_check;

/* Ends flows that nothing has used for their protocol's time and pins that are past, empties slots
 * of policies that nobody has used for a second, and makes slots ahead: to be called every few
 * seconds. */
void filter_tend(Filter *filter);
