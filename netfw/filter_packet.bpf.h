/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * Reading a packet. Headers are copied out of it, for it need not be in one
 * piece: the guest chooses how much of it is.
 *
 * Functions return a verdict, or UNDECIDED to go on. An IP header has to be
 * the simplest: options and extension headers are dropped, other than the one
 * for fragments, since none of them is needed and some of them say that the
 * packet comes from or goes to somewhere else than its addresses do.
 */

#include "netfw/filter_maps.bpf.h"

enum {
	WHOLE,
	FIRST_PART, /* of a fragmented packet */
	LATER_PART,
};

enum {
	ICMP_ECHO_REPLY = 0,
	ICMP_ECHO = 8,
	ICMPV6_ECHO = 128,
	ICMPV6_ECHO_REPLY = 129,
	ND_ROUTER_SOLICIT = 133,
	ND_ROUTER_ADVERT = 134,
	ND_SOLICIT = 135,
	ND_ADVERT = 136,
	ND_REDIRECT = 137,
	ND_OPTION_SOURCE = 1, /* its sender's MAC */
	ND_OPTION_TARGET = 2,
	ND_OPTION_NONCE = 14, /* RFC 7527 */
	ND_OPTION_BYTES = 8,

	IP_FRAGMENT_MORE = 0x2000,
	IP_FRAGMENT_OFFSET = 0x1fff,
	IP6_FRAGMENT_MORE = 1,
	IP6_FRAGMENT_OFFSET = 0xfff8,
	IPPROTO_SHIM6 = 140,
	IPPROTO_HIP = 139,

	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_ACK = 16,

	L4_HEAD = 8, /* what is read of any of them, and what an ICMP error quotes at least */
};

struct packet {
	__u8 source[16] __attribute__((aligned(8))); /* the first four of IPv4 */
	__u8 target[16] __attribute__((aligned(8)));
	__u32 ifindex, length;
	__u32 network, transport, end; /* where its headers begin, and where IP says it ends */
	__u32 fragment_id;
	__u16 ethertype, fragment_at;
	__u16 source_port, target_port; /* ICMP: the identifier of an echo, and 0 */
	__u8 family, protocol, to_vm, fragment;
	__u8 hop_limit, icmp_type, icmp_code, tcp_flags;
	__u8 quoted; /* what an ICMP error has of another packet: it may be cut */
	__u8 answered;
};

struct fragment_header {
	__u8 next, reserved;
	__be16 offset;
	__be32 id;
};

/* __builtin_memcmp() would become a call. */
static __always_inline bool same_mac(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]));
}

static __always_inline bool same4(const void *a, const void *b)
{
	return *(const __u32 *)a == *(const __u32 *)b;
}

static __always_inline bool same6(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]));
}

static __always_inline bool is_unspecified6(const void *address)
{
	const __u32 *x = address;

	return !(x[0] | x[1] | x[2] | x[3]);
}

static __always_inline bool is_link_local6(const __u8 *address)
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

/* Of the headers that ports are read from; 0: has no ports. */
static __always_inline __u32 header_size(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return 20;
	case IPPROTO_SCTP:
		return 12;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 8;
	default:
		return 0;
	}
}

static __always_inline bool is_icmp(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMP || packet->protocol == IPPROTO_ICMPV6;
}

static __always_inline bool is_echo_reply(const struct packet *packet)
{
	return is_icmp(packet) &&
	       packet->icmp_type ==
		       (packet->family == 4 ? (int)ICMP_ECHO_REPLY : (int)ICMPV6_ECHO_REPLY);
}

static __always_inline bool is_echo(const struct packet *packet)
{
	return is_echo_reply(packet) ||
	       packet->icmp_type == (packet->family == 4 ? (int)ICMP_ECHO : (int)ICMPV6_ECHO);
}

/* Unreachable (with "too big"), time exceeded, parameter problem; not the deprecated ones. */
static __always_inline bool is_icmp_error(const struct packet *packet)
{
	__u8 type = packet->icmp_type;

	if (packet->family == 4)
		return packet->protocol == IPPROTO_ICMP && (type == 3 || type == 11 || type == 12);
	return packet->protocol == IPPROTO_ICMPV6 && type >= 1 && type <= 4;
}

static __always_inline bool is_nd(const struct packet *packet)
{
	return packet->protocol == IPPROTO_ICMPV6 && packet->family == 6 &&
	       packet->fragment != LATER_PART && packet->icmp_type >= ND_ROUTER_SOLICIT &&
	       packet->icmp_type <= ND_REDIRECT;
}

static __always_inline int parse_tcp(struct __sk_buff *skb, struct packet *packet)
{
	__u8 words[2]; /* the header's length in its upper half, flags */

	if (packet->quoted)
		return UNDECIDED;
	if (bpf_skb_load_bytes(skb, packet->transport + 12, words, sizeof(words)) ||
	    words[0] >> 4 < 5)
		return FILTER_DROP_MALFORMED;
	packet->tcp_flags = words[1];
	return UNDECIDED;
}

static __always_inline int parse_transport(struct __sk_buff *skb, struct packet *packet)
{
	__u8 head[L4_HEAD];
	__u32 size = header_size(packet->protocol);

	if (size == 0 || packet->fragment == LATER_PART)
		return UNDECIDED;
	if (packet->quoted)
		size = L4_HEAD;
	if (packet->transport + size > packet->end)
		return packet->fragment == FIRST_PART ? FILTER_DROP_FRAGMENT
						      : FILTER_DROP_MALFORMED;
	if (bpf_skb_load_bytes(skb, packet->transport, head, sizeof(head)))
		return FILTER_DROP_MALFORMED;
	if (!is_icmp(packet)) {
		packet->source_port = (__u16)(head[0] << 8 | head[1]);
		packet->target_port = (__u16)(head[2] << 8 | head[3]);
		return packet->protocol == IPPROTO_TCP ? parse_tcp(skb, packet) : UNDECIDED;
	}
	packet->icmp_type = head[0];
	packet->icmp_code = head[1];
	if (is_echo(packet))
		packet->source_port = (__u16)(head[4] << 8 | head[5]);
	return UNDECIDED;
}

static __always_inline void note_fragment(struct packet *packet, __u32 at, bool more, __u32 id)
{
	packet->fragment_id = id;
	packet->fragment_at = (__u16)at;
	packet->fragment = at ? LATER_PART : more ? FIRST_PART : WHOLE;
}

/* IP's own length against the frame's, which Ethernet may have padded. */
static __always_inline bool ends_well(struct packet *packet)
{
	if (packet->quoted)
		packet->end = packet->length;
	return packet->end <= packet->length && packet->end >= packet->transport;
}

static __always_inline int parse4(struct __sk_buff *skb, struct packet *packet)
{
	struct iphdr ip;
	__u16 fragment;

	if (bpf_skb_load_bytes(skb, packet->network, &ip, sizeof(ip)) || ip.version != 4 ||
	    ip.ihl < 5)
		return FILTER_DROP_MALFORMED;
	packet->family = 4;
	packet->protocol = ip.protocol;
	*(__u32 *)packet->source = ip.saddr;
	*(__u32 *)packet->target = ip.daddr;
	packet->transport = packet->network + sizeof(ip);
	packet->end = packet->network + bpf_ntohs(ip.tot_len);
	if (ip.ihl > 5)
		return FILTER_DROP_HEADER;
	if (!ends_well(packet))
		return FILTER_DROP_MALFORMED;
	if (packet->protocol == IPPROTO_ICMPV6 || packet->protocol == FILTER_FRAGMENT)
		return FILTER_DROP_PROTOCOL;

	fragment = bpf_ntohs(ip.frag_off);
	note_fragment(packet, (fragment & IP_FRAGMENT_OFFSET) * 8, fragment & IP_FRAGMENT_MORE,
		      bpf_ntohs(ip.id));
	return UNDECIDED;
}

static __always_inline bool is_extension(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case IPPROTO_HIP:
	case IPPROTO_SHIM6:
		return true;
	default:
		return false;
	}
}

static __always_inline int parse_fragment6(struct __sk_buff *skb, struct packet *packet)
{
	struct fragment_header fragment;
	__u16 offset;

	if (packet->transport + sizeof(fragment) > packet->end ||
	    bpf_skb_load_bytes(skb, packet->transport, &fragment, sizeof(fragment)))
		return FILTER_DROP_MALFORMED;
	offset = bpf_ntohs(fragment.offset);
	packet->protocol = fragment.next;
	packet->transport += sizeof(fragment);
	note_fragment(packet, offset & IP6_FRAGMENT_OFFSET, offset & IP6_FRAGMENT_MORE,
		      bpf_ntohl(fragment.id));
	return UNDECIDED;
}

static __always_inline int parse6(struct __sk_buff *skb, struct packet *packet)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, packet->network, &ip, sizeof(ip)) || ip.version != 6)
		return FILTER_DROP_MALFORMED;
	packet->family = 6;
	packet->protocol = ip.nexthdr;
	packet->hop_limit = ip.hop_limit;
	__builtin_memcpy(packet->source, &ip.saddr, sizeof(packet->source));
	__builtin_memcpy(packet->target, &ip.daddr, sizeof(packet->target));
	packet->transport = packet->network + sizeof(ip);
	packet->end = packet->transport + bpf_ntohs(ip.payload_len);
	if (!ends_well(packet))
		return FILTER_DROP_MALFORMED;
	if (packet->protocol == IPPROTO_FRAGMENT && parse_fragment6(skb, packet) != UNDECIDED)
		return FILTER_DROP_MALFORMED;
	if (is_extension(packet->protocol))
		return FILTER_DROP_HEADER;
	if (packet->protocol == IPPROTO_NONE || packet->protocol == IPPROTO_ICMP)
		return FILTER_DROP_PROTOCOL;
	return UNDECIDED;
}

/* Reads the headers from packet->network on; what was read is there even if the verdict is drop. */
static __noinline int parse_ip(struct __sk_buff *skb, struct packet *packet)
{
	int verdict = packet->ethertype == ETH_P_IP ? parse4(skb, packet) : parse6(skb, packet);

	return verdict == UNDECIDED ? parse_transport(skb, packet) : verdict;
}
