/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * What the filter's programs and their user share: keys and values of the maps,
 * verdicts and flags. Layouts are fixed: maps outlive the agent that made them.
 * FILTER_LAYOUT changes with any of them.
 *
 * Numbers are in the host's byte order, addresses and MACs as in a packet. For
 * C and for BPF, so nothing is included but the fixed-size types.
 */

#include <linux/types.h>

enum {
	FILTER_LAYOUT = 1,
	FILTER_RANGES = 6,    /* of ports, in a rule itself */
	FILTER_PORTS = 255,   /* a rule's range_count: they are in the table of ports */
	FILTER_PIN_PARTS = 4, /* rules of an address that a name has led to */
	FILTER_NAME_MAX = 256,
	FILTER_FLOWS = 512,          /* of one VM; the one unused for longest makes room */
	FILTER_EVENTS_A_SECOND = 50, /* of one VM; others are counted as suppressed */
};

/* What the interlock asks of a packet's mark; the other bits are the VM's slot. */
#define FILTER_MARK 0x5e000000U
#define FILTER_MARK_MASK 0xff000000U

/* The key of an LPM trie of addresses. */
struct filter_key4 {
	__u32 length;
	__u8 address[4];
};

struct filter_key6 {
	__u32 length;
	__u8 address[16];
};

struct filter_range {
	__u16 first, last;
};

/* What may be reached in a prefix: the union of all rules that apply to it. */
struct filter_rule {
	__u8 range_count; /* FILTER_PORTS: instead of ranges, range[0] holds a set's number */
	__u8 any;         /* whatever the protocol */
	__u8 protocol[FILTER_RANGES];
	struct filter_range range[FILTER_RANGES];
};

/* The key of the LPM trie of ports: 32 bits of set, 8 of protocol, the first ones of the port. */
struct filter_port_key {
	__u32 length;
	__u8 set[4]; /* the highest byte first */
	__u8 protocol;
	__u8 port[2];
	__u8 unused;
};

/* clang-format off */
/* What becomes of a packet: the counters' index, and why in events and explanations. */
#define FILTER_VERDICTS(X) \
	X(PASS_FLOW,         0, "a flow that was allowed") \
	X(PASS_POLICY,       1, "a rule allows it") \
	X(PASS_REPLY,        2, "a reply to a flow of the VM") \
	X(PASS_ARP,          3, "ARP for the gateway") \
	X(PASS_ND,           4, "neighbour discovery") \
	X(PASS_GATEWAY,      5, "with the gateway itself") \
	X(PASS_ICMP_ERROR,   6, "an ICMP error about a flow of the VM") \
	X(PASS_NAME,         7, "a rule allows it by a name that has led there") \
	X(DROP_UNKNOWN,     16, "the interface is no VM's") \
	X(DROP_MAC,         17, "the source MAC is not the VM's") \
	X(DROP_SOURCE,      18, "the source address is not the VM's") \
	X(DROP_ARP,         19, "ARP that is not a VM's to send") \
	X(DROP_ND,          20, "neighbour discovery that is not a VM's to send") \
	X(DROP_VLAN,        21, "a VLAN tag") \
	X(DROP_ETHERTYPE,   22, "neither IPv4, IPv6 nor ARP") \
	X(DROP_MALFORMED,   23, "malformed") \
	X(DROP_FRAGMENT,    24, "a fragment whose first part was not let through") \
	X(DROP_HEADER,      25, "an IP option or extension header") \
	X(DROP_PROTOCOL,    26, "a protocol that no rule can name") \
	X(DROP_POLICY,      27, "no rule allows it") \
	X(DROP_NO_POLICY,   28, "the VM has no policy yet") \
	X(DROP_NEW_FLOWS,   29, "too many new flows a second") \
	X(DROP_UNSOLICITED, 30, "to the VM, and no reply to anything") \
	X(DROP_MULTICAST,   31, "to all on a bridge, and neither ARP nor neighbour discovery")
/* clang-format on */

enum {
#define X(name, number, words) FILTER_##name = (number),
	FILTER_VERDICTS(X)
#undef X
	FILTER_FIRST_DROP = 16,
	FILTER_VERDICT_COUNT_ = 32,
};

enum {
	FILTER_LOG = 1,     /* denied packets become events, within FILTER_EVENTS_A_SECOND */
	FILTER_NAT = 2,     /* the guest's IPv4 address is another than the host's for it */
	FILTER_NAMES = 4,   /* what the policy's tries deny the pins may allow */
	FILTER_BRIDGED = 8, /* there are others beside the host: it answers nobody for them */
};

/*
 * An address that a name has led to, for the VM of @slot. What is allowed there is one rule, or,
 * with more ranges of ports, several parts, from 0 on.
 */
struct filter_pin_key {
	__u32 slot;
	__u8 family, part, unused[2];
	__u8 address[16]; /* the first four of IPv4 */
};

struct filter_pin {
	__u64 until; /* monotonic ns */
	struct filter_rule rule;
	__u8 parts; /* of part 0: how many there are */
	__u8 unused[7];
};

/* Which name it was: for whoever keeps the pins, not for the programs. The pin's part is 0. */
struct filter_name_key {
	struct filter_pin_key pin;
	__u64 hash; /* of the name: FNV-1a */
};

struct filter_name {
	__u64 until;
	char name[FILTER_NAME_MAX];
};

/* A VM; the key is the index of its tap. */
struct filter_vm {
	__u32 slot;       /* of counters, flows and budgets: below max_vms */
	__u32 policy;     /* slot of the tries: below 2 * max_vms */
	__u32 generation; /* of the policy: flows of an older one are looked at anew */
	__u32 flags;
	__u32 new_flows; /* a second, and as many at once; 0: no limit */
	__u8 guest4[4];  /* as the guest has it; all 0: no IPv4 */
	__u8 host4[4];   /* as the host has it: without FILTER_NAT the same */
	__u8 gateway4[4];
	__u8 guest6[16]; /* all 0: no IPv6 */
	__u8 gateway6[16];
	__u8 guest_mac[6];
	__u8 gateway_mac[6];
};

/*
 * A flow, seen from its VM. ICMP echo has its identifier as local_port; remote_port is 1 if the
 * other side asks, else 0. A fragmented packet whose first part has passed is one of
 * FILTER_FRAGMENT, with its identification as ports.
 */
struct filter_flow_key {
	__u8 remote[16]; /* the first four of IPv4 */
	__u16 remote_port, local_port;
	__u8 protocol, family;                  /* 4 or 6 */
	__u8 fragment_to_vm, fragment_protocol; /* of FILTER_FRAGMENT; else 0 */
};

struct filter_flow {
	__u64 seen;       /* monotonic ns */
	__u32 generation; /* of the policy that last allowed it */
	__u8 inbound;     /* opened by the gateway: no policy applies */
	__u8 tcp;         /* FILTER_TCP_* seen so far */
	__u16 header;     /* of FILTER_FRAGMENT: bytes that no later part may overwrite */
};

enum {
	FILTER_FRAGMENT = 44, /* in place of a protocol: no packet has it */
	FILTER_TCP_REPLIED = 1,
	FILTER_TCP_CLOSING = 2, /* a FIN or RST has passed */
};

/* clang-format off */
/* For how long a flow may be unused, in seconds; past it, it is as none. */
enum {
	FILTER_SECONDS_TCP         = 7440, /* RFC 5382: two hours and four minutes at least */
	FILTER_SECONDS_TCP_OPENING = 240,  /* RFC 5382: four minutes */
	FILTER_SECONDS_TCP_CLOSING = 240,
	FILTER_SECONDS_UDP         = 300,  /* RFC 4787: five minutes are recommended */
	FILTER_SECONDS_SCTP        = 300,  /* ten of RFC 9260's heartbeats */
	FILTER_SECONDS_ICMP        = 60,   /* RFC 5508: a minute */
	FILTER_SECONDS_FRAGMENT    = 60,   /* RFC 8200: a minute to reassemble */
	FILTER_SECONDS_OTHER       = 600,
};
/* clang-format on */

static inline __u32 filter_tcp_seconds(__u8 tcp)
{
	if (tcp & FILTER_TCP_CLOSING)
		return FILTER_SECONDS_TCP_CLOSING;
	return tcp & FILTER_TCP_REPLIED ? FILTER_SECONDS_TCP : FILTER_SECONDS_TCP_OPENING;
}

static inline __u32 filter_flow_seconds(__u8 protocol, __u8 tcp)
{
	switch (protocol) {
	case 1: /* ICMP */
	case 58:
		return FILTER_SECONDS_ICMP;
	case 6:
		return filter_tcp_seconds(tcp);
	case 17:
		return FILTER_SECONDS_UDP;
	case 132:
		return FILTER_SECONDS_SCTP;
	case FILTER_FRAGMENT:
		return FILTER_SECONDS_FRAGMENT;
	default:
		return FILTER_SECONDS_OTHER;
	}
}

/*
 * Two for each slot: 2 * slot from the VM, 2 * slot + 1 to it. Two more behind the last slot's are
 * for packets of interfaces that are no VM's.
 */
struct filter_counters {
	__u64 packets[FILTER_VERDICT_COUNT_];
	__u64 passed_bytes, dropped_bytes;
};

/* A budget of one VM: a billion tokens for each thing, and they come in at so many things a second.
 */
struct filter_bucket {
	__u32 lock;       /* the programs' */
	__u32 suppressed; /* events since the last one */
	__u64 filled;     /* monotonic ns */
	__u64 tokens;
};

/* What the programs are told when they are loaded. */
struct filter_settings {
	__u32 explain; /* only say what would become of a packet, in cb[0] */
	__u32 max_vms;
};

/* A denied packet. */
struct filter_event {
	__u64 time; /* monotonic ns */
	__u32 slot, ifindex;
	__u32 suppressed; /* of this VM since the event before */
	__u16 length, ethertype;
	__u8 verdict, to_vm, protocol, family; /* family 0: neither IPv4 nor IPv6 */
	__u16 source_port, target_port;
	__u8 source[16], target[16];
};
