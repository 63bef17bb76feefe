/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Explanations: a frame such as the VM would send or get, for the instance of
 * the programs that only says what it would do. What verdicts are called.
 */

#include "netfw/filter_private.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <string.h>

enum {
	TRANSPORT_MAX = 20, /* TCP's header; that of others is shorter */
	FRAME_MAX = sizeof(struct ethhdr) + sizeof(struct ipv6hdr) + TRANSPORT_MAX,
	HOPS = 64,
	TCP_FLAGS_AT = 13,
	TCP_SYN = 2,
};

typedef struct Frame {
	uint8_t bytes[FRAME_MAX];
	size_t size;
} Frame;

static const struct {
	const char *name, *words;
} verdicts[FILTER_VERDICT_COUNT_] = {
#define X(name, number, words) [number] = { #name, words },
	FILTER_VERDICTS(X)
#undef X
};

const char *filter_verdict_words(int verdict)
{
	if (verdict < 0 || verdict >= FILTER_VERDICT_COUNT_ || !verdicts[verdict].words)
		return "unknown";
	return verdicts[verdict].words;
}

const char *filter_verdict_name(int verdict)
{
	if (verdict < 0 || verdict >= FILTER_VERDICT_COUNT_ || !verdicts[verdict].name)
		return "UNKNOWN";
	return verdicts[verdict].name;
}

static void add(Frame *frame, const void *bytes, size_t size)
{
	memcpy(frame->bytes + frame->size, bytes, size);
	frame->size += size;
}

static uint16_t big(uint16_t number)
{
	const uint8_t bytes[] = { (uint8_t)(number >> 8), (uint8_t)number };
	uint16_t ret;

	memcpy(&ret, bytes, sizeof ret);
	return ret;
}

/* The end of @probe that is the VM's may be left to us. */
static Prefix end_of(const Prefix *given, uint8_t family, const uint8_t *own4, const uint8_t *own6)
{
	Prefix end = *given;

	if (given->length)
		return end;
	end = (Prefix){ .family = family, .length = family == 4 ? 32 : 128 };
	memcpy(end.address, family == 4 ? own4 : own6, family == 4 ? 4 : 16);
	return end;
}

static void add_ip(Frame *frame, const Prefix *source, const Prefix *target, uint8_t protocol)
{
	struct iphdr ip4 = { .version = 4,
			     .ihl = 5,
			     .ttl = HOPS,
			     .protocol = protocol,
			     .tot_len = big(sizeof ip4 + TRANSPORT_MAX) };
	struct ipv6hdr ip6 = { .version = 6,
			       .nexthdr = protocol,
			       .hop_limit = HOPS,
			       .payload_len = big(TRANSPORT_MAX) };

	if (source->family == 4) {
		memcpy(&ip4.saddr, source->address, sizeof ip4.saddr);
		memcpy(&ip4.daddr, target->address, sizeof ip4.daddr);
		add(frame, &ip4, sizeof ip4);
		return;
	}
	memcpy(&ip6.saddr, source->address, sizeof ip6.saddr);
	memcpy(&ip6.daddr, target->address, sizeof ip6.daddr);
	add(frame, &ip6, sizeof ip6);
}

/* Only the gateway asks the VM; an echo from others answers it. */
static uint8_t echo_type(bool to_vm, const Prefix *source, const struct filter_vm *vm)
{
	bool six = source->family == 6;
	bool asks = !to_vm ||
		    memcmp(source->address, six ? vm->gateway6 : vm->gateway4, six ? 16 : 4) == 0;

	if (six)
		return asks ? 128 : 129;
	return asks ? 8 : 0;
}

static void add_transport(Frame *frame, const FilterProbe *probe, const Prefix *from,
			  const struct filter_vm *vm)
{
	uint16_t source = big(probe->source_port), target = big(probe->target_port);
	uint8_t head[TRANSPORT_MAX] = { 0 };

	if (probe->protocol == IPPROTO_ICMP || probe->protocol == IPPROTO_ICMPV6) {
		head[0] = echo_type(probe->to_vm, from, vm);
		memcpy(head + 4, &source, sizeof source);
	} else {
		memcpy(head, &source, sizeof source);
		memcpy(head + 2, &target, sizeof target);
	}
	if (probe->protocol == IPPROTO_TCP) {
		head[12] = TRANSPORT_MAX / 4 << 4;
		head[TCP_FLAGS_AT] = probe->to_vm ? 0 : TCP_SYN;
	}
	add(frame, head, sizeof head);
}

static int make_frame(Frame *ret, const FilterProbe *probe, const struct filter_vm *vm, Error *err)
{
	uint8_t family = probe->source.length ? probe->source.family : probe->target.family;
	Prefix source = end_of(&probe->source, family, vm->guest4, vm->guest6);
	Prefix target = end_of(&probe->target, family, vm->host4, vm->guest6);
	struct ethhdr ethernet = { .h_proto = big(family == 4 ? ETH_P_IP : ETH_P_IPV6) };

	if ((family != 4 && family != 6) || source.family != target.family ||
	    source.length != (family == 4 ? 32 : 128) || source.length != target.length)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "a packet goes from one address to one of the same family");
	memcpy(ethernet.h_source, probe->to_vm ? vm->gateway_mac : vm->guest_mac, ETH_ALEN);
	memcpy(ethernet.h_dest, probe->to_vm ? vm->guest_mac : vm->gateway_mac, ETH_ALEN);
	*ret = (Frame){ 0 };
	add(ret, &ethernet, sizeof ethernet);
	add_ip(ret, &source, &target, probe->protocol);
	add_transport(ret, probe, &source, vm);
	return 0;
}

static int run(const Filter *filter, uint32_t ifindex, bool to_vm, const Frame *frame, int *ret)
{
	struct __sk_buff context = { .ifindex = ifindex };
	struct bpf_program *program =
		bpf_object__find_program_by_name(filter->explainer, to_vm ? "to_vm" : "from_vm");
	struct bpf_test_run_opts options = { .sz = FILTER_OPTIONS_SIZE(bpf_test_run_opts),
					     .data_in = frame->bytes,
					     .data_size_in = (uint32_t)frame->size,
					     .ctx_in = &context,
					     .ctx_size_in = sizeof context,
					     .ctx_out = &context,
					     .ctx_size_out = sizeof context,
					     .repeat = 1 };
	int r = bpf_prog_test_run_opts(bpf_program__fd(program), &options);

	if (r < 0)
		return r;
	*ret = (int)context.cb[0];
	return 0;
}

static int find_explainer(Filter *filter, Error *err)
{
	int r;

	filter_claim(filter);
	r = filter_load_explainer(filter, err);
	filter_release(filter);
	return r;
}

int filter_explain(Filter *filter, uint32_t ifindex, const FilterProbe *probe, int *ret, Error *err)
{
	struct filter_vm vm = { 0 };
	Frame frame;
	int r;

	if (filter_find_vm(filter, ifindex, &vm, err) < 0 ||
	    make_frame(&frame, probe, &vm, err) < 0 || find_explainer(filter, err) < 0)
		return -1;
	r = run(filter, ifindex, probe->to_vm, &frame, ret);
	return r < 0 ? error_set_errno(err, ERROR_FIREWALL, -r, "run the program on a packet") : 0;
}
