/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ethernet frames as tests need them: built with all checksums right, patched
 * afterwards, and their checksums recomputed. Of a VM whose addresses are:
 */

#include "netfw/prefix.h"

#define FRAME_GUEST4 "10.0.0.2"
#define FRAME_HOST4 "198.18.0.7" /* in place of it outside, under NAT */
#define FRAME_GATEWAY4 "10.0.0.1"
#define FRAME_GUEST6 "2001:db8::2"
#define FRAME_GATEWAY6 "2001:db8::1"
#define FRAME_LOCAL6 "fe80::2"

enum {
	FRAME_MAX_SIZE = 1600,
	FRAME_ETHERNET = 14,
	FRAME_TCP_FIN = 1,
	FRAME_TCP_SYN = 2,
	FRAME_TCP_RST = 4,
	FRAME_TCP_ACK = 16,
	FRAME_MORE = 1, /* or-ed to FrameSpec.fragment */
};

extern const uint8_t frame_guest_mac[6], frame_gateway_mac[6], frame_other_mac[6];

typedef struct Frame {
	uint8_t bytes[FRAME_MAX_SIZE];
	size_t size;
} Frame;

typedef struct FrameSpec {
	bool to_vm;                  /* the MACs */
	const char *source, *target; /* NULL: the VM's, of the other one's family */
	uint8_t protocol;
	uint16_t source_port, target_port;            /* ICMP echo: the identifier is source_port */
	uint8_t tcp, icmp_type, icmp_code, hop_limit; /* 0: 64 hops, no flags */
	uint16_t fragment;   /* offset in bytes, a multiple of 8, and FRAME_MORE */
	uint32_t id;         /* of a fragmented packet */
	uint16_t payload;    /* bytes behind the header */
	bool no_checksum;    /* of UDP */
	const Frame *quoted; /* an ICMP error's payload: this one's from IP on */
} FrameSpec;

Frame frame_make(const FrameSpec *spec);

/* ARP: @operation 1 asks, 2 answers. */
Frame frame_arp(bool to_vm, uint8_t operation, const char *sender, const char *target);

/* Neighbour discovery of @type about @about, or NULL for a router's solicitation. */
Frame frame_nd(bool to_vm, uint8_t type, const char *source, const char *about);

/* An IPv6 header @type of eight bytes between the IP header and the rest. */
void frame_insert_header(Frame *frame, uint8_t type);

/* What is wrong with its checksums, or NULL; that of a quoted packet counts if all of it is there.
 */
const char *frame_problem(const Frame *frame);

/* Is @text the source address (or the target) of the IP header at @offset? */
bool frame_has_source(const Frame *frame, size_t offset, const char *text);
bool frame_has_target(const Frame *frame, size_t offset, const char *text);
