/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * The programs on a VM's tap: from_vm on what the guest sends, to_vm on what
 * it gets. Whatever is not known to be right is dropped.
 *
 *   from the VM: its own MAC and addresses only; ARP and neighbour
 *   discovery, mostly answered here; a flow that is known; a new one that the
 *   policy allows, within the VM's budget; an ICMP error about a flow.
 *   to the VM: what answers a flow of its own, ICMP errors about one, flows
 *   that the gateway opens, the gateway's ARP and neighbour discovery.
 *
 * What passes from the VM gets a mark, without which the host's interlock lets
 * nothing through: if the program is missing, all is dropped.
 */

#include "netfw/filter_answer.bpf.h"
#include "netfw/filter_flow.bpf.h"
#include "netfw/filter_nat.bpf.h"

/* Of the kernel's helpers, some are for such programs alone: so these files are under either
 * licence. */
char LICENSE[] SEC("license") = "GPL";

/*
 * A copy, for the entry's memory may become another's while it is in use: it
 * is whole if it is still the interface's afterwards.
 */
static __always_inline bool find_vm(__u32 ifindex, struct filter_vm *ret)
{
	const struct filter_vm *vm;

	for (int i = 0; i < 2; i++) {
		vm = bpf_map_lookup_elem(&vms, &ifindex);
		if (!vm)
			return false;
		*ret = *vm;
		if (bpf_map_lookup_elem(&vms, &ifindex) == vm)
			return true;
	}
	return false;
}

static __always_inline void count(__u32 index, const struct packet *packet, int verdict)
{
	struct filter_counters *counted = bpf_map_lookup_elem(&counters, &index);

	if (!counted)
		return;
	__sync_fetch_and_add(&counted->packets[verdict & (FILTER_VERDICT_COUNT_ - 1)], 1);
	if (verdict < FILTER_FIRST_DROP)
		__sync_fetch_and_add(&counted->passed_bytes, packet->length);
	else
		__sync_fetch_and_add(&counted->dropped_bytes, packet->length);
}

static __noinline int tell(const struct filter_vm *vm, const struct packet *packet, int verdict)
{
	__u32 slot = vm->slot;
	struct bucket *bucket = bpf_map_lookup_elem(&event_budgets, &slot);
	struct filter_event *event = NULL;

	if (!bucket)
		return 0;
	if (take_token(bucket, FILTER_EVENTS_A_SECOND))
		event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&bucket->suppressed, 1);
		return 0;
	}
	event->time = bpf_ktime_get_ns();
	event->slot = slot;
	event->ifindex = packet->ifindex;
	event->suppressed = bucket->suppressed;
	__sync_fetch_and_add(&bucket->suppressed, -event->suppressed);
	event->length = packet->length > 0xffff ? 0xffff : (__u16)packet->length;
	event->ethertype = packet->ethertype;
	event->verdict = (__u8)verdict;
	event->to_vm = packet->to_vm;
	event->protocol = packet->protocol;
	event->family = packet->family;
	event->source_port = packet->source_port;
	event->target_port = packet->target_port;
	__builtin_memcpy(event->source, packet->source, sizeof(event->source));
	__builtin_memcpy(event->target, packet->target, sizeof(event->target));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

static __always_inline bool is_bridged(const struct filter_vm *vm)
{
	return vm->flags & FILTER_BRIDGED;
}

/* ARP from the VM: of its own address alone. */
static __always_inline int check_arp(struct __sk_buff *skb, const struct filter_vm *vm,
				     struct packet *packet)
{
	struct arp arp;
	bool own;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return FILTER_DROP_MALFORMED;
	if (arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_size != ETH_ALEN || arp.protocol_size != sizeof(arp.sender))
		return FILTER_DROP_ARP;
	__builtin_memcpy(packet->source, arp.sender, sizeof(arp.sender));
	__builtin_memcpy(packet->target, arp.target, sizeof(arp.target));
	packet->family = 4;
	own = same4(packet->target, vm->guest4);
	if (!same_mac(arp.sender_mac, vm->guest_mac))
		return FILTER_DROP_MAC;
	if (!same4(packet->source, vm->guest4))
		/* The probe before an address is used, RFC 5227. */
		return *(__u32 *)packet->source == 0 && own &&
				       arp.operation == bpf_htons(ARP_REQUEST)
			       ? FILTER_PASS_ARP
			       : FILTER_DROP_SOURCE;
	if (arp.operation == bpf_htons(ARP_ANSWER))
		return own || is_bridged(vm) || same4(packet->target, vm->gateway4)
			       ? FILTER_PASS_ARP
			       : FILTER_DROP_ARP;
	if (arp.operation != bpf_htons(ARP_REQUEST))
		return FILTER_DROP_ARP;
	if (own || is_bridged(vm))
		return FILTER_PASS_ARP;
	packet->answered = 1;
	return explain ? FILTER_PASS_ARP : answer_arp(skb, vm, &arp);
}

/* The one that is made from its MAC (RFC 4291, appendix A). */
static __always_inline bool is_made_from_mac(const struct filter_vm *vm, const __u8 *address)
{
	const __u8 *mac = vm->guest_mac;

	return address[8] == (mac[0] ^ 2) && address[9] == mac[1] && address[10] == mac[2] &&
	       address[11] == 0xff && address[12] == 0xfe && address[13] == mac[3] &&
	       address[14] == mac[4] && address[15] == mac[5];
}

/* A router on a bridge has a link-local address as well, which must not be a guest's to have. */
static __always_inline bool is_own6(const struct filter_vm *vm, const __u8 *address)
{
	if (same6(address, vm->guest6))
		return true;
	if (!is_link_local6(address) || same6(address, vm->gateway6))
		return false;
	return !is_bridged(vm) || is_made_from_mac(vm, address);
}

/* On a bridge others believe what an option says of a MAC: one at most, and of its own. */
static __always_inline bool has_own_option(struct __sk_buff *skb, const struct filter_vm *vm,
					   const struct packet *packet, __u32 at)
{
	__u8 option[ND_OPTION_BYTES];

	if (!is_bridged(vm) || at == packet->end)
		return true;
	if (at + sizeof(option) != packet->end ||
	    bpf_skb_load_bytes(skb, at, option, sizeof(option)) || option[1] != 1)
		return false;
	return option[0] == ND_OPTION_NONCE ||
	       ((option[0] == ND_OPTION_SOURCE || option[0] == ND_OPTION_TARGET) &&
		same_mac(option + 2, vm->guest_mac));
}

static __always_inline int check_nd_target(struct __sk_buff *skb, const struct filter_vm *vm,
					   struct packet *packet)
{
	__u8 target[16] __attribute__((aligned(8)));
	bool probe = is_unspecified6(packet->source);

	if (packet->transport + L4_HEAD + sizeof(target) > packet->end ||
	    bpf_skb_load_bytes(skb, packet->transport + L4_HEAD, target, sizeof(target)))
		return FILTER_DROP_MALFORMED;
	if (!has_own_option(skb, vm, packet, packet->transport + L4_HEAD + sizeof(target)))
		return FILTER_DROP_ND;
	if (packet->icmp_type == ND_ADVERT)
		return is_own6(vm, target) && !probe ? FILTER_PASS_ND : FILTER_DROP_ND;
	if (probe)
		return is_own6(vm, target) ? FILTER_PASS_ND : FILTER_DROP_ND;
	if (same6(target, vm->guest6) || is_bridged(vm))
		return FILTER_PASS_ND;
	packet->answered = 1;
	return explain ? FILTER_PASS_ND : answer_nd(skb, vm, packet, target);
}

/* Neighbour discovery from the VM: no router, no redirection, and of its own addresses. */
static __always_inline int check_nd(struct __sk_buff *skb, const struct filter_vm *vm,
				    struct packet *packet)
{
	if (packet->hop_limit != 255 || packet->icmp_code != 0 || packet->fragment != WHOLE)
		return FILTER_DROP_ND;
	if (packet->icmp_type == ND_ROUTER_SOLICIT)
		return has_own_option(skb, vm, packet, packet->transport + L4_HEAD)
			       ? FILTER_PASS_ND
			       : FILTER_DROP_ND;
	if (packet->icmp_type != ND_SOLICIT && packet->icmp_type != ND_ADVERT)
		return FILTER_DROP_ND;
	return check_nd_target(skb, vm, packet);
}

static __always_inline int check_source4(const struct filter_vm *vm, const struct packet *packet)
{
	if (!same4(packet->source, vm->guest4) || *(const __u32 *)vm->guest4 == 0)
		return FILTER_DROP_SOURCE;
	return UNDECIDED;
}

static __always_inline int check_source6(struct __sk_buff *skb, const struct filter_vm *vm,
					 struct packet *packet)
{
	bool own = same6(packet->source, vm->guest6);

	if (is_unspecified6(vm->guest6))
		return FILTER_DROP_SOURCE;
	if (is_nd(packet) &&
	    (own || is_unspecified6(packet->source) || is_own6(vm, packet->source)))
		return check_nd(skb, vm, packet);
	return own ? UNDECIDED : FILTER_DROP_SOURCE;
}

/* What the host sends: ARP and neighbour discovery of nobody else, who might pose as the gateway.
 */
static __always_inline int check_target6(const struct filter_vm *vm, const struct packet *packet,
					 bool from_gateway)
{
	if (is_nd(packet)) {
		bool wanted =
			packet->icmp_type >= ND_ROUTER_ADVERT && packet->icmp_type <= ND_ADVERT;

		return from_gateway && wanted && packet->hop_limit == 255 &&
				       packet->fragment == WHOLE
			       ? FILTER_PASS_ND
			       : FILTER_DROP_ND;
	}
	return same6(packet->target, vm->guest6) && !is_unspecified6(vm->guest6)
		       ? UNDECIDED
		       : FILTER_DROP_UNSOLICITED;
}

static __always_inline int check_target4(const struct filter_vm *vm, const struct packet *packet)
{
	return same4(packet->target, vm->host4) && *(const __u32 *)vm->host4
		       ? UNDECIDED
		       : FILTER_DROP_UNSOLICITED;
}

/* Is the packet that an error quotes one of the VM's, as the error's receiver or sender knows it?
 */
static __always_inline bool is_quote_own(const struct filter_vm *vm, const struct packet *packet,
					 const struct packet *quoted)
{
	if (packet->to_vm)
		return packet->family == 4 ? same4(quoted->source, vm->host4)
					   : same6(quoted->source, vm->guest6);
	/* The VM complains to the sender, not to others. */
	if (!same6(packet->target, quoted->source))
		return false;
	return packet->family == 4 ? same4(quoted->target, vm->guest4)
				   : same6(quoted->target, vm->guest6);
}

/* An ICMP error passes if it quotes a packet of a flow; the packet went the other way. */
static __noinline int check_error(struct __sk_buff *skb, const struct filter_vm *vm, void *table,
				  const struct packet *packet, struct packet *quoted)
{
	int denied = packet->to_vm ? FILTER_DROP_UNSOLICITED : FILTER_DROP_POLICY;
	struct filter_flow_key key;
	struct filter_flow *flow;

	quoted->ethertype = packet->ethertype;
	quoted->length = packet->length;
	quoted->network = packet->transport + L4_HEAD;
	quoted->to_vm = !packet->to_vm;
	quoted->quoted = 1;
	if (parse_ip(skb, quoted) != UNDECIDED || quoted->fragment == LATER_PART ||
	    (is_icmp(quoted) && !is_echo(quoted)) || !is_quote_own(vm, packet, quoted))
		return denied;
	make_key(quoted, &key);
	flow = find_flow(table, &key, bpf_ktime_get_coarse_ns());
	if (!flow || ask_flow(vm, table, &key, flow) >= FILTER_FIRST_DROP)
		return denied;
	return FILTER_PASS_ICMP_ERROR;
}

static __always_inline int translate_packet(struct __sk_buff *skb, const struct filter_vm *vm,
					    const struct packet *packet,
					    const struct packet *quoted)
{
	__be32 guest = *(const __u32 *)vm->guest4, host = *(const __u32 *)vm->host4;
	struct nat outer = { guest, host, IP_SOURCE_AT }, inner = { guest, host, IP_TARGET_AT };

	if (packet->to_vm) {
		outer = (struct nat){ host, guest, IP_TARGET_AT };
		inner = (struct nat){ host, guest, IP_SOURCE_AT };
	}
	if (quoted->quoted && translate_quote(skb, packet->transport, quoted, &inner))
		return -1;
	return translate(skb, packet, &outer);
}

/* A packet of the VM's own address, by its flow. */
static __always_inline int check_flow(struct __sk_buff *skb, const struct filter_vm *vm,
				      const struct packet *packet)
{
	struct packet quoted = { 0 };
	__u32 slot = vm->slot;
	void *table = bpf_map_lookup_elem(&flows, &slot);
	int verdict;

	if (!table)
		return FILTER_DROP_NO_POLICY;
	if (packet->fragment == LATER_PART)
		verdict = ask_fragment(vm, table, packet);
	else if (is_icmp(packet) && is_icmp_error(packet))
		verdict = check_error(skb, vm, table, packet, &quoted);
	else if (is_icmp(packet) && !is_echo(packet))
		verdict = FILTER_DROP_PROTOCOL;
	else
		verdict = track(vm, table, packet);
	if (verdict >= FILTER_FIRST_DROP || explain)
		return verdict;
	if (packet->fragment == FIRST_PART)
		remember_fragment(vm, table, packet, verdict);
	if (packet->family == 4 && (vm->flags & FILTER_NAT) &&
	    translate_packet(skb, vm, packet, &quoted))
		return FILTER_DROP_MALFORMED;
	return verdict;
}

static __always_inline int check_ethertype(const struct packet *packet)
{
	switch (packet->ethertype) {
	case ETH_P_IP:
	case ETH_P_IPV6:
	case ETH_P_ARP:
		return UNDECIDED;
	case ETH_P_8021Q:
	case ETH_P_8021AD:
		return FILTER_DROP_VLAN;
	default:
		return FILTER_DROP_ETHERTYPE;
	}
}

/* A flow goes to one: on a bridge all others would get what is for no one. */
static __always_inline int check_cast(const struct filter_vm *vm, const struct ethhdr *ethernet)
{
	return is_bridged(vm) && (ethernet->h_dest[0] & 1) ? FILTER_DROP_MULTICAST : UNDECIDED;
}

static __always_inline int check_from_vm(struct __sk_buff *skb, const struct filter_vm *vm,
					 struct packet *packet, const struct ethhdr *ethernet)
{
	int verdict;

	if (!same_mac(ethernet->h_source, vm->guest_mac))
		return FILTER_DROP_MAC;
	verdict = check_ethertype(packet);
	if (verdict != UNDECIDED)
		return verdict;
	if (packet->ethertype == ETH_P_ARP)
		return *(const __u32 *)vm->guest4 ? check_arp(skb, vm, packet) : FILTER_DROP_ARP;
	verdict = parse_ip(skb, packet);
	if (verdict != UNDECIDED)
		return verdict;
	verdict = packet->family == 4 ? check_source4(vm, packet) : check_source6(skb, vm, packet);
	if (verdict == UNDECIDED)
		verdict = check_cast(vm, ethernet);
	return verdict == UNDECIDED ? check_flow(skb, vm, packet) : verdict;
}

static __always_inline int check_to_vm(struct __sk_buff *skb, const struct filter_vm *vm,
				       struct packet *packet, const struct ethhdr *ethernet)
{
	bool from_gateway = is_bridged(vm) || same_mac(ethernet->h_source, vm->gateway_mac);
	int verdict = check_ethertype(packet);

	if (verdict != UNDECIDED)
		return verdict;
	if (packet->ethertype == ETH_P_ARP)
		return from_gateway ? FILTER_PASS_ARP : FILTER_DROP_ARP;
	verdict = parse_ip(skb, packet);
	if (verdict != UNDECIDED)
		return verdict;
	verdict = packet->family == 4 ? check_target4(vm, packet)
				      : check_target6(vm, packet, from_gateway);
	if (verdict == UNDECIDED)
		verdict = check_cast(vm, ethernet);
	return verdict == UNDECIDED ? check_flow(skb, vm, packet) : verdict;
}

static __always_inline int check(struct __sk_buff *skb, const struct filter_vm *vm,
				 struct packet *packet)
{
	struct ethhdr ethernet;

	packet->network = ETH_HLEN;
	if (bpf_skb_load_bytes(skb, 0, &ethernet, sizeof(ethernet)))
		return FILTER_DROP_MALFORMED;
	packet->ethertype = bpf_ntohs(ethernet.h_proto);
	if (skb->vlan_present)
		return FILTER_DROP_VLAN;
	return packet->to_vm ? check_to_vm(skb, vm, packet, &ethernet)
			     : check_from_vm(skb, vm, packet, &ethernet);
}

static __always_inline int settle(struct __sk_buff *skb, const struct filter_vm *vm,
				  const struct packet *packet, int verdict)
{
	if (explain) {
		skb->cb[0] = (__u32)verdict;
		return TC_ACT_SHOT;
	}
	count(2 * vm->slot + packet->to_vm, packet, verdict);
	if (verdict >= FILTER_FIRST_DROP) {
		if (vm->flags & FILTER_LOG)
			tell(vm, packet, verdict);
		return TC_ACT_SHOT;
	}
	if (packet->answered)
		return (int)bpf_redirect(packet->ifindex, 0);
	if (!packet->to_vm)
		skb->mark = FILTER_MARK | vm->slot;
	return TC_ACT_OK;
}

static __always_inline int filter(struct __sk_buff *skb, __u8 to_vm)
{
	struct packet packet = { .ifindex = skb->ifindex, .length = skb->len, .to_vm = to_vm };
	struct filter_vm vm;

	if (find_vm(packet.ifindex, &vm))
		return settle(skb, &vm, &packet, check(skb, &vm, &packet));
	if (explain)
		skb->cb[0] = FILTER_DROP_UNKNOWN;
	else
		count(2 * settings.max_vms + to_vm, &packet, FILTER_DROP_UNKNOWN);
	return TC_ACT_SHOT;
}

SEC("tc")
int from_vm(struct __sk_buff *skb)
{
	return filter(skb, 0);
}

SEC("tc")
int to_vm(struct __sk_buff *skb)
{
	return filter(skb, 1);
}
