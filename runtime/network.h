/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the first network interfaces of VMs are part of: one table of functions
 * a kind of network.
 *
 * What a VM has of a network (its slot, its MAC, its addresses) is leased by
 * the runtime and stands in its record; a network is given that, and makes it
 * true on the host. attach() gets an operation's Job: the VM is claimed, no
 * lock held, it may block. The rest may come from any thread, for a VM whose
 * VMM may end meanwhile, and may block too.
 */

#include "netfw/egress_policy.h"
#include "netfw/filter_maps.h"
#include "runtime/backend.h"

enum {
	NETWORK_DENIED_MAX = 128, /* always-denied prefixes */
	NETWORK_RESOLVERS_MAX = 3,
	NETWORK_ADDRESS_MAX = 46, /* the longest address as text, with its NUL */
	NETWORK_MAC_BYTES = 6,
};

/* The node's network, as it is configured. A prefix of family 0 is none. */
typedef struct NetworkConfig {
	Prefix pool4, pool6;
	const char *bridge;                /* that taps are ports of; NULL: they are routed */
	Prefix gateway4, gateway6;         /* of full length. Routed, the pools' first addresses */
	uint8_t length4;                   /* of the guests' netmask */
	const char *uplink;                /* interface; NULL or "": no masquerading */
	VmEnforcement enforcement;         /* wanted; UNSET: BPF, or iptables where there is none */
	Prefix denied[NETWORK_DENIED_MAX]; /* with those of network_deny_builtin() */
	size_t denied_count;
	Prefix resolvers[NETWORK_RESOLVERS_MAX]; /* asked for what guests ask; none: no names */
	size_t resolver_count;
	bool host_resolvers; /* those of /etc/resolv.conf instead, as they are at the start */
	uint32_t new_flows;  /* of one VM, a second; 0: no limit */
	uint32_t max_vms;
} NetworkConfig;

/* A packet to be asked about. */
typedef struct NetworkProbe {
	bool to_vm;
	uint8_t protocol;
	Prefix address; /* the other side's, of full length */
	uint16_t port;  /* where it goes; 0 where the protocol has none */
} NetworkProbe;

/* From the VM, and to it. */
typedef struct NetworkCounters {
	struct filter_counters from_vm, to_vm;
} NetworkCounters;

/* Where a name has led a VM. */
typedef struct NetworkLead {
	char *name; /* its own */
	Prefix address;
	int64_t seconds; /* for which flows may begin */
} NetworkLead;

void network_leads_free(NetworkLead *leads, size_t count);

/* Verdicts of queries for names, behind those of the filter. */
enum {
	NETWORK_DROP_NAME = FILTER_VERDICT_COUNT_,
	NETWORK_DROP_LEAD,
};

/* A denied packet or query for a name; its time is of the wall clock, usec. */
typedef struct NetworkEvent {
	int64_t time;
	uint32_t slot;   /* as in the record: from 1 */
	uint8_t verdict; /* FILTER_DROP_*, NETWORK_DROP_* */
	bool to_vm;
	uint8_t protocol;
	uint16_t ethertype;
	Prefix source, target; /* of full length; family 0: no IP packet */
	uint16_t source_port, target_port;
	uint32_t length, suppressed;
	char name[EGRESS_NAME_MAX]; /* of NETWORK_DROP_*; else "" */
} NetworkEvent;

/* Takes one event; must not block. */
typedef void NetworkSink(void *user, const NetworkEvent *event);

/* What is on the host says whose it is: @mark is the instance id, or the first digits of it, as
 * many as there are in the name of a tap. */
typedef void NetworkFound(void *user, const char *mark);

/* What egress enforced by iptables lacks, for conditions and the Doctor. */
#define NETWORK_IPTABLES_LACKS \
	"without checks of MACs and ARP, counters, denied flows or masquerading"

typedef struct NetworkOps {
	bool leases;               /* VMs get a slot, a MAC and addresses */
	VmEnforcement enforcement; /* of their policies */

	/* Can this network carry @spec out on this host? FIREWALL, UNSUPPORTED, INVALID_REQUEST
	 * with every bad field. Touches nothing. NULL: it can. */
	int (*check)(Network *network, const VmSpec *spec, Error *err);

	/* The taps of job->resolved's interfaces are there, and down: makes the first part of the
	 * network, held to job->spec's policy, and sets its enforcement. Of a VM that an earlier
	 * agent attached, and that runs: takes it up again, flows go on. NETWORK_SETUP, FIREWALL:
	 * nothing passes then. */
	int (*attach)(Network *network, Job *job, Error *err);

	/* Nothing passes any more, before the taps of @instance_id go. Absent is success. NULL:
	 * there is never anything. */
	int (*detach)(Network *network, const char *instance_id, Error *err);

	/* Calls @found for every VM of which there is something on the host. NULL: there is never
	 * anything that is not there for as long as the VM's tap. */
	void (*find)(Network *network, NetworkFound *found, void *user);

	/* Removes what find() has found of a VM that is none any more, once its taps are gone;
	 * absent is success. NULL: taps are all there is. FIREWALL. */
	int (*remove)(Network *network, const char *mark, Error *err);

	/* Exchanges the policy of an attached VM for @to's in one step: after a failure the old one
	 * is in force. FIREWALL. */
	int (*set_policy)(Network *network, const VmResolved *resolved, const VmSpec *to,
			  Error *err);

	/* FILTER_* of a packet of an attached VM: asks what enforces it. NULL: nothing does. */
	int (*explain)(Network *network, const VmResolved *resolved, const NetworkProbe *probe,
		       int *ret, Error *err);

	/* NULL: nothing is counted. */
	int (*counters)(Network *network, const VmResolved *resolved, NetworkCounters *ret,
			Error *err);

	/* How many addresses names of an attached VM's policy have led to; @ret is the caller's for
	 * network_leads_free(). NULL: there are no names. */
	size_t (*leads)(Network *network, const VmResolved *resolved, NetworkLead **ret);

	/* From now on @sink gets every denied packet; NULL: none any more, and it is not running.
	 * NULL function: there are no events. */
	void (*watch)(Network *network, NetworkSink *sink, void *user);

	/* Does all that VMs have in common stand? 0, or 1 if it is less than it could be, with what
	 * there is, in words, in @ret of @size bytes. FIREWALL, NETWORK_SETUP: what is missing.
	 * NULL: there is nothing. */
	int (*look)(Network *network, char *ret, size_t size, Error *err);

	void (*free)(Network *network);
} NetworkOps;

struct Network {
	const NetworkOps *ops;
	uint8_t length4; /* of the guests' netmask */
	bool names;      /* policies may have names: there is a resolver at the gateway's address */
};

/**
 * network_open() - the one that @config asks for, or the best that this host can have
 * @on:		false: off
 * @err:	FIREWALL, NETWORK_SETUP, UNSUPPORTED
 */
int network_open(Network **ret, bool on, const NetworkConfig *config, Error *err) must_check;
/* None: interfaces stay down, whatever needs more is UNSUPPORTED. */
Network *network_off_new(void);
/* In the mind only, for VMs that are in memory only: everything succeeds, no packet passes. @denied
 * is copied. */
Network *network_software_new(const NetworkConfig *config);
void network_free(Network *network); /* accepts NULL */

/* Adds what no VM reaches unless a rule names it: loopback, link-local, the metadata service, and
 * the pools. */
void network_deny_builtin(NetworkConfig *config);

/* One address, as text: 0 or -EINVAL; and back, "" of family 0. */
int network_parse_address(Prefix *ret, const char *text) must_check;
void network_address_text(char ret[static NETWORK_ADDRESS_MAX], const Prefix *address);

/* From six pairs of digits, with colons between: 0 or -EINVAL. */
int network_parse_mac(uint8_t ret[static NETWORK_MAC_BYTES], const char *text) must_check;

/* The host is the gateway, at the pools' first addresses: sets those and the netmask. */
void network_own_gateways(NetworkConfig *config);

/* Address 1 of @pool, which is never a VM's; family 0: there is none. */
Prefix network_first(const Prefix *pool);

/* For backends: as the functions of the same name, which see to what is in common. @network NULL,
 * or a VM without interfaces: success. */
int network_attach(Network *network, Job *job, Error *err) must_check;
int network_detach(Network *network, const char *instance_id, Error *err) must_check;
int network_remove(Network *network, const char *mark, Error *err) must_check;
int network_set_policy(Network *network, const VmResolved *resolved, const VmSpec *to, Error *err)
	must_check;

/* The first interface of @resolved if the network leased it; else NULL. */
VmResolvedInterface *network_interface(const VmResolved *resolved);

/* "DROP_POLICY", and "no rule allows it"; of a number that is none "UNKNOWN" and "unknown". */
const char *network_verdict_name(int verdict);
const char *network_verdict_words(int verdict);
