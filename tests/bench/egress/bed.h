/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What all measures stand on: a network namespace of the process's own, with a
 * tap for one guest, whose frames the process writes, and a sink behind a route
 * that takes whatever is forwarded and drops it, all in the writer's context.
 * What goes wrong ends the process.
 */

#include "netfw/filter.h"
#include "netfw/link.h"

#include <stdint.h>

enum {
	BED_GUEST_PORT = 4000,
	BED_TARGET_PORT = 53,
};

#define BED_TAP "hbench-0"
#define BED_TARGET "192.0.2.1" /* behind the sink */

extern const LinkConfig bed_links;

typedef struct Bed {
	int tap;
	uint32_t ifindex;
	Filter *filter; /* NULL: none */
} Bed;

/* A namespace, the sink and routes, and forwarding; nothing of a guest. */
void bed_enter(void);

/* The filter with room for @max_vms, its blocks and the interlock. */
void bed_open_filter(Bed *bed, uint32_t max_vms);

/* The guest's tap, up; with the filter if there is one. */
void bed_open_tap(Bed *bed, bool filtered);

/* A VM of the filter at @ifindex, in @slot, of the guest's addresses. */
FilterVm bed_vm(uint32_t ifindex, uint32_t slot);

/* Ends the process if @r is not 0, with @err's words. */
void bed_check(int r, const Error *err);

/* What packets are like. */
typedef enum BedTraffic {
	BED_ONE_FLOW,
	BED_NEW_FLOWS, /* each packet is the first of its flow */
	BED_DENIED,    /* one flow, to where nothing is allowed */
} BedTraffic;

/* Writes @count frames of 98 bytes; CPU time of this thread for each, ns. */
double bed_send(const Bed *bed, BedTraffic traffic, unsigned count);

/* Of this thread. */
int64_t bed_cpu_ns(void);
