/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * The host's answers to a VM that asks for a neighbour, made in the program:
 * everyone is at the gateway's MAC. So VMs that believe to be on one link
 * reach each other through the host only, and their policies.
 */

#include "netfw/filter_packet.bpf.h"

enum {
	ARP_ETHERNET = 1,
	ARP_REQUEST = 1,
	ARP_ANSWER = 2,
	ND_FLAGS_SOLICITED = 0x60, /* and override */
};

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_size, protocol_size;
	__be16 operation;
	__u8 sender_mac[6], sender[4];
	__u8 target_mac[6], target[4];
} __attribute__((packed));

/* An advertisement, with what its checksum covers besides. */
struct advert {
	__u8 type, code;
	__u16 checksum;
	__u8 flags, reserved[3];
	__u8 target[16];
	__u8 option, option_words;
	__u8 mac[6];
};

struct advert_checked {
	__u8 source[16], target[16];
	__be32 length;
	__u8 zero[3], next;
	struct advert advert;
};

static __always_inline void head_answer(const struct filter_vm *vm, __u16 type, struct ethhdr *ret)
{
	__builtin_memcpy(ret->h_dest, vm->guest_mac, ETH_ALEN);
	__builtin_memcpy(ret->h_source, vm->gateway_mac, ETH_ALEN);
	ret->h_proto = bpf_htons(type);
}

static __noinline int answer_arp(struct __sk_buff *skb, const struct filter_vm *vm,
				 const struct arp *request)
{
	struct ethhdr ethernet;
	struct arp answer = *request;

	head_answer(vm, ETH_P_ARP, &ethernet);
	answer.operation = bpf_htons(ARP_ANSWER);
	__builtin_memcpy(answer.sender_mac, vm->gateway_mac, ETH_ALEN);
	__builtin_memcpy(answer.sender, request->target, sizeof(answer.sender));
	__builtin_memcpy(answer.target_mac, vm->guest_mac, ETH_ALEN);
	__builtin_memcpy(answer.target, request->sender, sizeof(answer.target));
	if (bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof(answer), 0))
		return FILTER_DROP_MALFORMED;
	return FILTER_PASS_ARP;
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* To @packet's source, which asks for @target. */
static __noinline int answer_nd(struct __sk_buff *skb, const struct filter_vm *vm,
				const struct packet *packet, const __u8 *target)
{
	struct ethhdr ethernet;
	struct ipv6hdr ip = { .version = 6, .nexthdr = IPPROTO_ICMPV6, .hop_limit = 255 };
	struct advert_checked checked = {
		.length = bpf_htonl(sizeof(struct advert)),
		.next = IPPROTO_ICMPV6,
		.advert = { .type = ND_ADVERT,
			    .flags = ND_FLAGS_SOLICITED,
			    .option = ND_OPTION_TARGET,
			    .option_words = 1 },
	};

	head_answer(vm, ETH_P_IPV6, &ethernet);
	__builtin_memcpy(checked.source, target, sizeof(checked.source));
	__builtin_memcpy(checked.target, packet->source, sizeof(checked.target));
	__builtin_memcpy(checked.advert.target, target, sizeof(checked.advert.target));
	__builtin_memcpy(checked.advert.mac, vm->gateway_mac, ETH_ALEN);
	checked.advert.checksum =
		fold((__u64)bpf_csum_diff(NULL, 0, (__be32 *)(void *)&checked, sizeof(checked), 0));
	ip.payload_len = bpf_htons(sizeof(struct advert));
	__builtin_memcpy(&ip.saddr, checked.source, sizeof(ip.saddr));
	__builtin_memcpy(&ip.daddr, checked.target, sizeof(ip.daddr));

	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(ip) + sizeof(checked.advert), 0) ||
	    bpf_skb_store_bytes(skb, 0, &ethernet, sizeof(ethernet), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(ip), &checked.advert, sizeof(checked.advert),
				0))
		return FILTER_DROP_MALFORMED;
	return FILTER_PASS_ND;
}
