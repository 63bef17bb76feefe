/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * 1:1 NAT of IPv4: the guest's address is another inside than outside, so
 * that clones of one VM can all have the same. Ports stay.
 */

#include "netfw/filter_packet.bpf.h"

enum {
	IP_CHECKSUM_AT = offsetof(struct iphdr, check),
	IP_SOURCE_AT = offsetof(struct iphdr, saddr),
	IP_TARGET_AT = offsetof(struct iphdr, daddr),
	ICMP_CHECKSUM_AT = 2,
};

struct nat {
	__be32 from, to;
	__u32 at; /* of the address, in the IP header */
};

/* Where the checksum is that covers addresses too; 0: there is none. */
static __always_inline __u32 checksum_at(const struct packet *packet)
{
	if (packet->fragment == LATER_PART)
		return 0;
	if (packet->protocol == IPPROTO_TCP)
		return packet->transport + 16;
	return packet->protocol == IPPROTO_UDP ? packet->transport + 6 : 0;
}

static __always_inline int translate_header(struct __sk_buff *skb, const struct packet *packet,
					    const struct nat *nat)
{
	if (bpf_l3_csum_replace(skb, packet->network + IP_CHECKSUM_AT, nat->from, nat->to,
				sizeof(nat->to)))
		return -1;
	return (int)bpf_skb_store_bytes(skb, packet->network + nat->at, &nat->to, sizeof(nat->to),
					0);
}

/* BPF_F_PSEUDO_HDR looks after checksums that are to be completed by hardware, BPF_F_MARK_MANGLED_0
 * after those of UDP that are not there. */
static __noinline int translate(struct __sk_buff *skb, const struct packet *packet,
				const struct nat *nat)
{
	__u64 flags = BPF_F_PSEUDO_HDR | sizeof(nat->to);
	__u32 at = checksum_at(packet);

	if (packet->protocol == IPPROTO_UDP)
		flags |= BPF_F_MARK_MANGLED_0;
	if (at && bpf_l4_csum_replace(skb, at, nat->from, nat->to, flags))
		return -1;
	return translate_header(skb, packet, nat);
}

/*
 * The packet that the ICMP error at @icmp quotes. An IP header's sum is what it was, as its
 * checksum sees to that, so the error's own checksum only follows that of the quoted TCP or UDP, if
 * it is in the quote.
 */
static __noinline int translate_quote(struct __sk_buff *skb, __u32 icmp,
				      const struct packet *quoted, const struct nat *nat)
{
	__u32 at = checksum_at(quoted);
	__u16 before = 0, after = 0;

	if (at && bpf_skb_load_bytes(skb, at, &before, sizeof(before)) == 0 &&
	    (before || quoted->protocol == IPPROTO_TCP)) {
		if (bpf_l4_csum_replace(skb, at, nat->from, nat->to, sizeof(nat->to)) ||
		    bpf_skb_load_bytes(skb, at, &after, sizeof(after)) ||
		    bpf_l4_csum_replace(skb, icmp + ICMP_CHECKSUM_AT, before, after, sizeof(after)))
			return -1;
	}
	return translate_header(skb, quoted, nat);
}
