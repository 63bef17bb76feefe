/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/egress/bed.h"

#include "netfw/filter_private.h"
#include "netfw/rules.h"
#include "netfw/tap.h"
#include "tests/support/frame.h"
#include "tests/support/net.h"

#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>

enum {
	FRAME_BYTES = 98,
	HEADERS = 14 + 20 + 8,              /* Ethernet, IPv4, UDP */
	VNET_BYTES = 10,                    /* before each frame, as from a VMM */
	UDP_PORT_AT = VNET_BYTES + 14 + 20, /* the source's */
	DENIED_PORT = 54,
	FIRST_PORT = 1024,
	PORTS = 64000,
};

const LinkConfig bed_links = { .group = 7700, .anchor = "hanchor" };

void bed_check(int r, const Error *err)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "bench_egress: %s\n", err->what);
	exit(1);
}

static void die(const char *what)
{
	(void)fprintf(stderr, "bench_egress: %s\n", what);
	exit(1);
}

/* A tap that nobody reads: what would leave by it is dropped before it is queued. */
static void make_sink(void)
{
	int program = net_program(0, TC_ACT_SHOT);
	struct bpf_tc_hook hook = { .sz = FILTER_OPTIONS_SIZE(bpf_tc_hook),
				    .attach_point = BPF_TC_EGRESS };
	struct bpf_tc_opts options = { .sz = FILTER_OPTIONS_SIZE(bpf_tc_opts), .prog_fd = program };

	(void)net_tap("sink");
	net_run("ip link set sink up; ip addr add 203.0.113.1/24 dev sink;"
		"ip neigh add 203.0.113.2 lladdr 02:00:00:00:00:02 dev sink nud permanent;"
		"ip route add default via 203.0.113.2");
	hook.ifindex = (int)if_nametoindex("sink");
	if (bpf_tc_hook_create(&hook) < 0 || bpf_tc_attach(&hook, &options) < 0)
		die("the sink has no program");
}

void bed_enter(void)
{
	Error err = { 0 };

	if (!net_available())
		die("needs root and taps");
	net_enter();
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) < 0)
		die("no BPF file system");
	make_sink();
	bed_check(rules_enable_forwarding(false, &err), &err);
}

void bed_open_filter(Bed *bed, uint32_t max_vms)
{
	static const RulesConfig rules = { .table = "hearth", .tap_prefix = "h" };
	const FilterConfig config = { "/sys/fs/bpf/hearth", max_vms };
	Error err = { 0 };

	bed_check(rules_load(&rules, &err), &err);
	bed_check(filter_open(&bed->filter, &config, &err), &err);
	bed_check(link_prepare(&bed_links, &err), &err);
	bed_check(link_attach(filter_from_vm_fd(bed->filter), filter_to_vm_fd(bed->filter), &err),
		  &err);
}

static Prefix address(const char *text)
{
	Prefix prefix;

	if (prefix_parse_address(&prefix, text) < 0)
		die(text);
	return prefix;
}

FilterVm bed_vm(uint32_t ifindex, uint32_t slot)
{
	Prefix guest = address(FRAME_GUEST4), gateway = address(FRAME_GATEWAY4);
	FilterVm vm = { .ifindex = ifindex, .slot = slot, .has4 = true };

	memcpy(vm.guest4, guest.address, sizeof vm.guest4);
	memcpy(vm.host4, guest.address, sizeof vm.host4);
	memcpy(vm.gateway4, gateway.address, sizeof vm.gateway4);
	memcpy(vm.guest_mac, frame_guest_mac, sizeof vm.guest_mac);
	memcpy(vm.gateway_mac, frame_gateway_mac, sizeof vm.gateway_mac);
	return vm;
}

void bed_open_tap(Bed *bed, bool filtered)
{
	const LinkTap tap = { .name = BED_TAP,
			      .mac = frame_gateway_mac,
			      .filtered = filtered,
			      .address4 = address(FRAME_GUEST4),
			      .guest_mac = frame_guest_mac };
	Error err = { 0 };

	bed->tap = net_tap(BED_TAP);
	bed->ifindex = link_index(BED_TAP);
	bed_check(link_up(&bed->ifindex, &bed_links, &tap, &err), &err);
}

int64_t bed_cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static size_t make_frame(uint8_t ret[static VNET_BYTES + FRAME_MAX_SIZE], BedTraffic traffic)
{
	const FrameSpec spec = { .target = BED_TARGET,
				 .protocol = EGRESS_UDP,
				 .source_port = BED_GUEST_PORT,
				 .target_port =
					 traffic == BED_DENIED ? DENIED_PORT : BED_TARGET_PORT,
				 .payload = FRAME_BYTES - HEADERS,
				 .no_checksum = true };
	Frame frame = frame_make(&spec);

	memset(ret, 0, VNET_BYTES);
	memcpy(ret + VNET_BYTES, frame.bytes, frame.size);
	return VNET_BYTES + frame.size;
}

double bed_send(const Bed *bed, BedTraffic traffic, unsigned count)
{
	static unsigned next;
	uint8_t frame[VNET_BYTES + FRAME_MAX_SIZE];
	size_t size = make_frame(frame, traffic);
	int64_t begun = bed_cpu_ns();

	for (unsigned i = 0; i < count; i++) {
		if (traffic == BED_NEW_FLOWS) {
			unsigned port = FIRST_PORT + next++ % PORTS;

			frame[UDP_PORT_AT] = (uint8_t)(port >> 8);
			frame[UDP_PORT_AT + 1] = (uint8_t)port;
		}
		if (write(bed->tap, frame, size) != (ssize_t)size)
			die("a frame can't be written");
	}
	return (double)(bed_cpu_ns() - begun) / count;
}
