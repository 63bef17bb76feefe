/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * Policies and flows. A flow that a policy has let through is remembered in
 * its VM's own table, so that the answers pass and the policy is looked up
 * once. A flow of an older generation of the policy is looked at anew, and one
 * unused for its protocol's time is as none.
 */

#include "netfw/filter_packet.bpf.h"

static __always_inline bool in_port_set(const struct filter_rule *rule,
					const struct filter_flow_key *key)
{
	struct filter_port_key port = {
		.length = BITS_OF_PORT_KEY,
		.set = { (__u8)(rule->range[0].last >> 8), (__u8)rule->range[0].last,
			 (__u8)(rule->range[0].first >> 8), (__u8)rule->range[0].first },
		.protocol = key->protocol,
		.port = { (__u8)(key->remote_port >> 8), (__u8)key->remote_port },
	};

	return bpf_map_lookup_elem(&ports, &port);
}

static __always_inline bool rule_allows(const struct filter_rule *rule,
					const struct filter_flow_key *key)
{
	if (rule->any)
		return true;
	if (rule->range_count == FILTER_PORTS)
		return in_port_set(rule, key);
	for (int i = 0; i < FILTER_RANGES; i++) {
		if (i >= rule->range_count)
			break;
		if (rule->protocol[i] == key->protocol &&
		    key->remote_port >= rule->range[i].first &&
		    key->remote_port <= rule->range[i].last)
			return true;
	}
	return false;
}

static __always_inline int rule_verdict(const struct filter_rule *rule,
					const struct filter_flow_key *key)
{
	return rule && rule_allows(rule, key) ? FILTER_PASS_POLICY : FILTER_DROP_POLICY;
}

static __noinline int ask_tries(__u32 policy, const struct filter_flow_key *key)
{
	struct filter_key4 key4 = { .length = 32 };
	struct filter_key6 key6 = { .length = 128 };
	void *trie = key->family == 4 ? bpf_map_lookup_elem(&policies4, &policy) : NULL;

	if (trie) {
		*(__u32 *)key4.address = *(const __u32 *)key->remote;
		return rule_verdict(bpf_map_lookup_elem(trie, &key4), key);
	}
	if (key->family == 4)
		return FILTER_DROP_NO_POLICY;
	trie = bpf_map_lookup_elem(&policies6, &policy);
	if (!trie)
		return FILTER_DROP_NO_POLICY;
	__builtin_memcpy(key6.address, key->remote, sizeof(key6.address));
	return rule_verdict(bpf_map_lookup_elem(trie, &key6), key);
}

/* An address that a name has led to, as long as that holds. */
static __noinline int ask_pins(__u32 slot, const struct filter_flow_key *key)
{
	struct filter_pin_key at = { .slot = slot, .family = key->family };
	const struct filter_pin *pin;

	__builtin_memcpy(at.address, key->remote, sizeof(at.address));
	for (int i = 0; i < FILTER_PIN_PARTS; i++) {
		at.part = (__u8)i;
		pin = bpf_map_lookup_elem(&pins, &at);
		if (!pin || pin->until < bpf_ktime_get_coarse_ns())
			break;
		if (rule_allows(&pin->rule, key))
			return FILTER_PASS_NAME;
		if (i == 0 && pin->parts < 2)
			break;
	}
	return FILTER_DROP_POLICY;
}

static __always_inline int ask_policy(const struct filter_vm *vm, const struct filter_flow_key *key)
{
	int verdict = ask_tries(vm->policy, key);

	if (verdict == FILTER_DROP_POLICY && (vm->flags & FILTER_NAMES))
		return ask_pins(vm->slot, key);
	return verdict;
}

/* Takes what one thing costs out of @bucket, which fills at @rate things a second. */
static __always_inline bool take_token(struct bucket *bucket, __u32 rate)
{
	__u64 now = bpf_ktime_get_ns(), elapsed, full = rate * SECOND;
	bool taken = false;

	bpf_spin_lock(&bucket->lock);
	elapsed = now - bucket->filled;
	if ((__s64)elapsed < 0)
		elapsed = 0;
	if (elapsed > SECOND)
		elapsed = SECOND;
	bucket->filled = now;
	bucket->tokens += elapsed * rate;
	if (bucket->tokens > full)
		bucket->tokens = full;
	if (bucket->tokens >= SECOND) {
		bucket->tokens -= SECOND;
		taken = true;
	}
	bpf_spin_unlock(&bucket->lock);
	return taken;
}

static __always_inline bool may_begin_flow(const struct filter_vm *vm)
{
	__u32 slot = vm->slot;
	struct bucket *bucket;

	if (explain || !vm->new_flows)
		return true;
	bucket = bpf_map_lookup_elem(&flow_budgets, &slot);
	return bucket && take_token(bucket, vm->new_flows);
}

static __always_inline void make_key(const struct packet *packet, struct filter_flow_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	__builtin_memcpy(key->remote, packet->to_vm ? packet->source : packet->target,
			 sizeof(key->remote));
	key->protocol = packet->protocol;
	key->family = packet->family;
	key->remote_port = packet->to_vm ? packet->source_port : packet->target_port;
	key->local_port = packet->to_vm ? packet->target_port : packet->source_port;
	if (is_icmp(packet)) {
		key->remote_port = (is_echo_reply(packet) ? 1 : 0) != packet->to_vm;
		key->local_port = packet->source_port;
	}
}

static __always_inline void make_fragment_key(const struct packet *packet,
					      struct filter_flow_key *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	__builtin_memcpy(key->remote, packet->to_vm ? packet->source : packet->target,
			 sizeof(key->remote));
	key->protocol = FILTER_FRAGMENT;
	key->family = packet->family;
	key->remote_port = (__u16)(packet->fragment_id >> 16);
	key->local_port = (__u16)packet->fragment_id;
	key->fragment_to_vm = packet->to_vm;
	/* A later part of IPv6 need not say which protocol the first part has. */
	key->fragment_protocol = packet->family == 4 ? packet->protocol : 0;
}

static __always_inline struct filter_flow *find_flow(void *table, const struct filter_flow_key *key,
						     __u64 now)
{
	struct filter_flow *flow = bpf_map_lookup_elem(table, key);

	if (!flow)
		return NULL;
	/* Signed: another CPU may have used it since. */
	if ((__s64)(now - flow->seen) >
	    (__s64)(filter_flow_seconds(key->protocol, flow->tcp) * SECOND))
		return NULL;
	return flow;
}

/* A later part passes if the first has, and if it leaves the headers in there alone. */
static __always_inline int ask_fragment(const struct filter_vm *vm, void *table,
					const struct packet *packet)
{
	struct filter_flow_key key;
	struct filter_flow *flow;

	make_fragment_key(packet, &key);
	flow = find_flow(table, &key, bpf_ktime_get_coarse_ns());
	if (!flow || packet->fragment_at < flow->header ||
	    (!flow->inbound && flow->generation != vm->generation))
		return FILTER_DROP_FRAGMENT;
	if (flow->inbound)
		return FILTER_PASS_GATEWAY;
	return packet->to_vm ? FILTER_PASS_REPLY : FILTER_PASS_FLOW;
}

static __always_inline void remember_fragment(const struct filter_vm *vm, void *table,
					      const struct packet *packet, int verdict)
{
	struct filter_flow flow = {
		.seen = bpf_ktime_get_coarse_ns(),
		.generation = vm->generation,
		.inbound = verdict == FILTER_PASS_GATEWAY,
		.header = (__u16)header_size(packet->protocol),
	};
	struct filter_flow_key key;

	make_fragment_key(packet, &key);
	bpf_map_update_elem(table, &key, &flow, BPF_ANY);
}

static __always_inline void use_flow(struct filter_flow *flow, const struct packet *packet,
				     __u64 now)
{
	__u8 tcp = flow->tcp;

	if (explain)
		return;
	if (flow->seen != now)
		flow->seen = now;
	if (packet->protocol != IPPROTO_TCP)
		return;
	if (packet->to_vm != flow->inbound)
		tcp |= FILTER_TCP_REPLIED;
	if (packet->tcp_flags & (TCP_FIN | TCP_RST))
		tcp |= FILTER_TCP_CLOSING;
	if (flow->tcp != tcp)
		flow->tcp = tcp;
}

/* Is it still allowed? Otherwise it ends. */
static __always_inline int ask_flow(const struct filter_vm *vm, void *table,
				    const struct filter_flow_key *key, struct filter_flow *flow)
{
	int verdict;

	if (flow->inbound)
		return FILTER_PASS_GATEWAY;
	if (flow->generation == vm->generation)
		return FILTER_PASS_FLOW;
	verdict = ask_policy(vm, key);
	if (verdict >= FILTER_FIRST_DROP) {
		if (!explain)
			bpf_map_delete_elem(table, key);
		return verdict;
	}
	if (!explain)
		flow->generation = vm->generation;
	return FILTER_PASS_FLOW;
}

static __always_inline bool is_gateway(const struct filter_vm *vm, const struct packet *packet)
{
	if (packet->family == 4)
		return same4(packet->source, vm->gateway4) && *(const __u32 *)vm->gateway4;
	return same6(packet->source, vm->gateway6) && !is_unspecified6(vm->gateway6);
}

/* May there be a flow that begins with @packet? */
static __always_inline int ask_new_flow(const struct filter_vm *vm, const struct packet *packet,
					const struct filter_flow_key *key)
{
	int verdict;

	if (packet->to_vm)
		return is_gateway(vm, packet) && !is_echo_reply(packet) ? FILTER_PASS_GATEWAY
									: FILTER_DROP_UNSOLICITED;
	if (is_echo_reply(packet))
		return FILTER_DROP_POLICY;
	verdict = ask_policy(vm, key);
	if (verdict < FILTER_FIRST_DROP && !may_begin_flow(vm))
		return FILTER_DROP_NEW_FLOWS;
	return verdict;
}

static __always_inline bool begins_anew(const struct packet *packet, const struct filter_flow *flow)
{
	return packet->protocol == IPPROTO_TCP && (flow->tcp & FILTER_TCP_CLOSING) &&
	       (packet->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __noinline int track(const struct filter_vm *vm, void *table, const struct packet *packet)
{
	struct filter_flow_key key;
	__u64 now = bpf_ktime_get_coarse_ns();
	struct filter_flow begun = { .seen = now, .generation = vm->generation }, *flow;
	int verdict;

	make_key(packet, &key);
	flow = find_flow(table, &key, now);
	if (flow && !begins_anew(packet, flow)) {
		verdict = ask_flow(vm, table, &key, flow);
		if (verdict < FILTER_FIRST_DROP)
			use_flow(flow, packet, now);
		if (packet->to_vm && verdict == FILTER_PASS_FLOW)
			return FILTER_PASS_REPLY;
		return packet->to_vm && verdict >= FILTER_FIRST_DROP ? FILTER_DROP_UNSOLICITED
								     : verdict;
	}
	verdict = ask_new_flow(vm, packet, &key);
	if (verdict >= FILTER_FIRST_DROP || explain)
		return verdict;
	begun.inbound = packet->to_vm;
	if (packet->protocol == IPPROTO_TCP && (packet->tcp_flags & (TCP_FIN | TCP_RST)))
		begun.tcp = FILTER_TCP_CLOSING;
	bpf_map_update_elem(table, &key, &begun, BPF_ANY);
	return verdict;
}
