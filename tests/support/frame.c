/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/frame.h"

#include <string.h>

enum {
	IP4 = 20,
	IP6 = 40,
	TCP = 6,
	UDP = 17,
	ICMP = 1,
	ICMPV6 = 58,
	SCTP = 132,
	FRAGMENT = 44,
};

const uint8_t frame_guest_mac[6] = { 2, 0, 0, 0, 0, 2 };
const uint8_t frame_gateway_mac[6] = { 2, 0, 0, 0, 0, 1 };
const uint8_t frame_other_mac[6] = { 2, 0, 0, 0, 0, 9 };

static void put16(uint8_t *at, size_t number)
{
	at[0] = (uint8_t)(number >> 8);
	at[1] = (uint8_t)number;
}

static size_t get16(const uint8_t *at)
{
	return (size_t)at[0] << 8 | at[1];
}

static uint32_t sum(const uint8_t *bytes, size_t size, uint32_t so_far)
{
	for (size_t i = 0; i < size; i++)
		so_far += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return so_far;
}

static uint16_t fold(uint32_t number)
{
	while (number >> 16)
		number = (number & 0xffff) + (number >> 16);
	return (uint16_t)number;
}

static Prefix address(const char *text)
{
	Prefix prefix = { 0 };

	if (prefix_parse_address(&prefix, text) < 0)
		abort();
	return prefix;
}

static uint32_t pseudo(const uint8_t *ip, uint8_t protocol, size_t size)
{
	if (ip[0] >> 4 == 4)
		return sum(ip + 12, 8, (uint32_t)size + protocol);
	return sum(ip + 8, 32, (uint32_t)size + protocol);
}

/* Where the checksum is, from the transport header on. */
static size_t checksum_at(uint8_t protocol)
{
	switch (protocol) {
	case TCP:
		return 16;
	case UDP:
		return 6;
	default:
		return 2;
	}
}

/* The sum over all that a transport's checksum covers, with the checksum: 0xffff if it is right. */
static uint16_t transport_sum(const uint8_t *ip, const uint8_t *transport, uint8_t protocol,
			      size_t size)
{
	uint32_t start = protocol == ICMP ? 0 : pseudo(ip, protocol, size);

	return fold(sum(transport, size, start));
}

static void seal_transport(const uint8_t *ip, uint8_t *transport, uint8_t protocol, size_t size)
{
	uint16_t checksum;

	if (protocol == SCTP)
		return;
	put16(transport + checksum_at(protocol), 0);
	checksum = (uint16_t)~transport_sum(ip, transport, protocol, size);
	put16(transport + checksum_at(protocol), checksum || protocol != UDP ? checksum : 0xffff);
}

static void add_ethernet(Frame *frame, bool to_vm, uint16_t type)
{
	memcpy(frame->bytes, to_vm ? frame_guest_mac : frame_gateway_mac, 6);
	memcpy(frame->bytes + 6, to_vm ? frame_gateway_mac : frame_guest_mac, 6);
	put16(frame->bytes + 12, type);
	frame->size = FRAME_ETHERNET;
}

static size_t write_transport(uint8_t *at, const FrameSpec *spec)
{
	size_t size = 8;

	if (spec->protocol == ICMP || spec->protocol == ICMPV6) {
		at[0] = spec->icmp_type;
		at[1] = spec->icmp_code;
		put16(at + 4, spec->source_port);
	} else {
		put16(at, spec->source_port);
		put16(at + 2, spec->target_port);
	}
	if (spec->protocol == TCP) {
		at[12] = 5 << 4;
		at[13] = spec->tcp;
		size = 20;
	}
	if (spec->protocol == SCTP)
		size = 12;
	if (spec->quoted) {
		memcpy(at + size, spec->quoted->bytes + FRAME_ETHERNET,
		       spec->quoted->size - FRAME_ETHERNET);
		size += spec->quoted->size - FRAME_ETHERNET;
	}
	for (size_t i = 0; i < spec->payload; i++)
		at[size + i] = (uint8_t)(i + 1);
	size += spec->payload;
	if (spec->protocol == UDP)
		put16(at + 4, size);
	return size;
}

static void write_ip4(uint8_t *ip, const FrameSpec *spec, size_t size)
{
	ip[0] = 0x45;
	put16(ip + 2, IP4 + size);
	put16(ip + 4, spec->id);
	put16(ip + 6, (size_t)(spec->fragment & FRAME_MORE ? 0x2000 : 0) | spec->fragment >> 3);
	ip[8] = spec->hop_limit ? spec->hop_limit : 64;
	ip[9] = spec->protocol;
	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~fold(sum(ip, IP4, 0)));
}

static void write_ip6(uint8_t *ip, const FrameSpec *spec, size_t size)
{
	ip[0] = 0x60;
	put16(ip + 4, size);
	ip[6] = spec->protocol;
	ip[7] = spec->hop_limit ? spec->hop_limit : 64;
}

static void insert_fragment6(Frame *frame, const FrameSpec *spec)
{
	uint8_t *at = frame->bytes + FRAME_ETHERNET + IP6;

	frame_insert_header(frame, FRAGMENT);
	at[1] = 0;
	put16(at + 2, spec->fragment);
	put16(at + 4, spec->id >> 16);
	put16(at + 6, spec->id);
}

Frame frame_make(const FrameSpec *spec)
{
	Frame frame = { 0 };
	const char *known = spec->source ? spec->source : spec->target;
	bool six = address(known).family == 6;
	const char *own = six ? FRAME_GUEST6 : FRAME_GUEST4;
	Prefix source = address(spec->source ? spec->source : own);
	Prefix target = address(spec->target ? spec->target : own);
	uint8_t *ip = frame.bytes + FRAME_ETHERNET, *transport = ip + (six ? IP6 : IP4);
	size_t size;

	add_ethernet(&frame, spec->to_vm, six ? 0x86dd : 0x0800);
	memcpy(ip + (six ? 8 : 12), source.address, six ? 16 : 4);
	memcpy(ip + (six ? 24 : 16), target.address, six ? 16 : 4);
	size = write_transport(transport, spec);
	(six ? write_ip6 : write_ip4)(ip, spec, size);
	if (!(spec->fragment & ~FRAME_MORE) && checksum_at(spec->protocol) + 2 <= size &&
	    (spec->protocol == TCP || spec->protocol == UDP || spec->protocol == ICMP ||
	     spec->protocol == ICMPV6))
		seal_transport(ip, transport, spec->protocol, size);
	if (spec->no_checksum)
		put16(transport + 6, 0);
	frame.size = (size_t)(transport - frame.bytes) + size;
	if (six && spec->fragment)
		insert_fragment6(&frame, spec);
	return frame;
}

Frame frame_arp(bool to_vm, uint8_t operation, const char *sender, const char *target)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0 };
	Frame frame = { 0 };
	uint8_t *arp = frame.bytes + FRAME_ETHERNET;

	add_ethernet(&frame, to_vm, 0x0806);
	memcpy(arp, head, sizeof head);
	arp[7] = operation;
	memcpy(arp + 8, to_vm ? frame_gateway_mac : frame_guest_mac, 6);
	memcpy(arp + 14, address(sender).address, 4);
	memcpy(arp + 24, address(target).address, 4);
	frame.size = FRAME_ETHERNET + 28;
	return frame;
}

Frame frame_nd(bool to_vm, uint8_t type, const char *source, const char *about)
{
	const FrameSpec spec = { .to_vm = to_vm,
				 .source = source,
				 .target = "ff02::1",
				 .protocol = ICMPV6,
				 .icmp_type = type,
				 .hop_limit = 255,
				 .payload = 24 };
	Frame frame = frame_make(&spec);
	uint8_t *ip = frame.bytes + FRAME_ETHERNET, *icmp = ip + IP6;

	memset(icmp + 8, 0, 24);
	if (about)
		memcpy(icmp + 8, address(about).address, 16);
	icmp[24] = type == 136 ? 2 : 1; /* the link-layer address: of the target, or the source */
	icmp[25] = 1;
	memcpy(icmp + 26, frame.bytes + 6, 6);
	seal_transport(ip, icmp, ICMPV6, 32);
	return frame;
}

void frame_insert_header(Frame *frame, uint8_t type)
{
	uint8_t *ip = frame->bytes + FRAME_ETHERNET, *at = ip + IP6;

	memmove(at + 8, at, frame->size - FRAME_ETHERNET - IP6);
	memset(at, 0, 8);
	at[0] = ip[6];
	ip[6] = type;
	put16(ip + 4, get16(ip + 4) + 8);
	frame->size += 8;
}

/* @ret: the bytes that an ICMP error quotes, of which there are @quoted; 0: it quotes nothing. */
static const char *ip_problem(const uint8_t *ip, size_t size, const uint8_t **ret, size_t *quoted)
{
	bool six = ip[0] >> 4 == 6;
	uint8_t protocol = six ? ip[6] : ip[9];
	size_t head = six ? IP6 : IP4, all = six ? get16(ip + 4) + IP6 : get16(ip + 2);
	const uint8_t *transport = ip + head;

	*quoted = 0;
	if (!six && fold(sum(ip, IP4, 0)) != 0xffff)
		return "the IP header's";
	if (all > size || (protocol == UDP && get16(transport + 6) == 0))
		return NULL;
	if ((protocol == TCP || protocol == UDP || protocol == ICMP || protocol == ICMPV6) &&
	    transport_sum(ip, transport, protocol, all - head) != 0xffff)
		return "the transport's";
	if (protocol == ICMP && (transport[0] == 3 || transport[0] == 11)) {
		*ret = transport + 8;
		*quoted = all - head - 8;
	}
	return NULL;
}

const char *frame_problem(const Frame *frame)
{
	const uint8_t *ip = frame->bytes + FRAME_ETHERNET, *quote = NULL;
	size_t size = frame->size - FRAME_ETHERNET, quoted;
	const char *problem = ip_problem(ip, size, &quote, &quoted);

	if (problem || !quoted)
		return problem;
	return ip_problem(quote, quoted, &quote, &quoted);
}

static bool has_address(const uint8_t *ip, bool target, const char *text)
{
	Prefix wanted = address(text);
	size_t size = wanted.family == 4 ? 4 : 16, at = wanted.family == 4 ? 12 : 8;

	return memcmp(ip + at + (target ? size : 0), wanted.address, size) == 0;
}

bool frame_has_source(const Frame *frame, size_t offset, const char *text)
{
	return has_address(frame->bytes + offset, false, text);
}

bool frame_has_target(const Frame *frame, size_t offset, const char *text)
{
	return has_address(frame->bytes + offset, true, text);
}
