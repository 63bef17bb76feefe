/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The programs on a tap that carries packets: a VM's, whose host forwards to another tap. What the
 * kernel's runs of programs cannot show: answers that come back out of the tap, and checksums that
 * are left for hardware to complete.
 */

#include "netfw/filter_private.h"
#include "tests/unit/filter_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	WAIT_MS = 5000,
	IP = FRAME_ETHERNET,
	TRANSPORT = FRAME_ETHERNET + 20,
};

/* The VM's tap, and the world's. */
static int vm_tap = -1, world_tap = -1;
static char vm_name[IFNAMSIZ], world_name[IFNAMSIZ];

static void set(const char *name, unsigned long request, struct ifreq *value)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(value->ifr_name, sizeof value->ifr_name, "%s", name);
	cr_assert_eq(ioctl(fd, request, value), 0, "request %lx of %s", request, name);
}

static void put_address(struct sockaddr *ret, const char *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	cr_assert_eq(inet_pton(AF_INET, text, &address.sin_addr), 1);
	memcpy(ret, &address, sizeof address);
}

static int open_tap(char name[static IFNAMSIZ], const uint8_t *mac, const char *address)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
	memcpy(name, request.ifr_name, IFNAMSIZ);
	request = (struct ifreq){ .ifr_hwaddr.sa_family = ARPHRD_ETHER };
	memcpy(request.ifr_hwaddr.sa_data, mac, 6);
	set(name, SIOCSIFHWADDR, &request);
	request = (struct ifreq){ 0 };
	put_address(&request.ifr_addr, address);
	set(name, SIOCSIFADDR, &request);
	request = (struct ifreq){ 0 };
	put_address(&request.ifr_netmask, "255.255.255.0");
	set(name, SIOCSIFNETMASK, &request);
	request = (struct ifreq){ .ifr_flags = IFF_UP };
	set(name, SIOCSIFFLAGS, &request);
	return fd;
}

static void add_neighbour(const char *name, const char *address)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct arpreq entry = { .arp_flags = ATF_PERM | ATF_COM, .arp_ha.sa_family = ARPHRD_ETHER };

	put_address(&entry.arp_pa, address);
	memcpy(entry.arp_ha.sa_data, frame_other_mac, 6);
	(void)snprintf(entry.arp_dev, sizeof entry.arp_dev, "%s", name);
	cr_assert_eq(ioctl(fd, SIOCSARP, &entry), 0);
}

static void write_setting(const char *path, const char *value)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert_eq(write(fd, value, strlen(value)), (ssize_t)strlen(value), "%s", path);
}

static void attach(enum bpf_tc_attach_point point, int program)
{
	struct bpf_tc_hook hook = { .sz = FILTER_OPTIONS_SIZE(bpf_tc_hook),
				    .ifindex = (int)if_nametoindex(vm_name),
				    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS };
	struct bpf_tc_opts options = { .sz = FILTER_OPTIONS_SIZE(bpf_tc_opts), .prog_fd = program };
	int r = bpf_tc_hook_create(&hook);

	cr_assert(r == 0 || r == -EEXIST, "clsact: %d", r);
	hook.attach_point = point;
	cr_assert_eq(bpf_tc_attach(&hook, &options), 0);
}

static void open_live(void)
{
	cleanup_(filter_table_freep) FilterTable *table = filter_bench_table();
	Error err = { 0 };
	Prefix host;
	FilterVm vm;

	open_bench();
	vm_tap = open_tap(vm_name, frame_gateway_mac, FRAME_GATEWAY4);
	world_tap = open_tap(world_name, frame_gateway_mac, "192.0.2.254");
	add_neighbour(world_name, "192.0.2.1");
	write_setting("/proc/sys/net/ipv4/ip_forward", "1");
	attach(BPF_TC_INGRESS, filter_from_vm_fd(bench.filter));
	attach(BPF_TC_EGRESS, filter_to_vm_fd(bench.filter));

	vm = filter_bench_vm(&bench, 1);
	vm.ifindex = if_nametoindex(vm_name);
	cr_assert_eq(prefix_parse_address(&host, FRAME_HOST4), 0);
	memcpy(vm.host4, host.address, sizeof vm.host4);
	cr_assert_eq(filter_add_vm(bench.filter, &vm, table, &err), 0, "%s", err.what);
}

static void close_live(void)
{
	(void)close(vm_tap);
	(void)close(world_tap);
	close_bench();
}

TestSuite(filter_live, .init = open_live, .fini = close_live);

static void send_frame(const Frame *frame, const struct virtio_net_hdr *head)
{
	uint8_t bytes[sizeof *head + FRAME_MAX_SIZE];

	memcpy(bytes, head, sizeof *head);
	memcpy(bytes + sizeof *head, frame->bytes, frame->size);
	cr_assert_eq(write(vm_tap, bytes, sizeof *head + frame->size),
		     (ssize_t)(sizeof *head + frame->size));
}

/* The next frame of Ethernet type @type that comes out of @tap; others are the host's own. */
static Frame receive(int tap, uint8_t type, uint8_t more)
{
	uint8_t bytes[sizeof(struct virtio_net_hdr) + FRAME_MAX_SIZE];
	struct pollfd ready = { tap, POLLIN, 0 };

	while (poll(&ready, 1, WAIT_MS) == 1) {
		ssize_t size = read(tap, bytes, sizeof bytes);
		Frame frame = { .size = (size_t)size - sizeof(struct virtio_net_hdr) };

		cr_assert_gt(size, (ssize_t)sizeof(struct virtio_net_hdr) + FRAME_ETHERNET);
		memcpy(frame.bytes, bytes + sizeof(struct virtio_net_hdr), frame.size);
		if (frame.bytes[12] == type && frame.bytes[13] == more)
			return frame;
	}
	cr_assert_fail("nothing came within %d ms", WAIT_MS);
	return (Frame){ 0 };
}

/* All of it in one piece, or all but Ethernet's header in another: the guest chooses. */
static const struct virtio_net_hdr pieces[] = { { 0 }, { .hdr_len = FRAME_ETHERNET } };

Test(filter_live, arp_is_answered_out_of_the_tap_it_came_from)
{
	for (size_t i = 0; i < array_size(pieces); i++) {
		Frame ask = frame_arp(false, 1, FRAME_GUEST4, "10.0.0.77");

		send_frame(&ask, &pieces[i]);
		Frame answer = receive(vm_tap, 0x08, 0x06);

		cr_assert_arr_eq(answer.bytes, frame_guest_mac, 6);
		cr_assert_arr_eq(answer.bytes + IP + 8, frame_gateway_mac, 6);
		cr_assert_arr_eq(answer.bytes + IP + 14, "\12\0\0\115", 4);
	}
}

Test(filter_live, neighbour_solicitations_are_answered_with_or_without_their_option)
{
	for (size_t i = 0; i < 2 * array_size(pieces); i++) {
		Frame ask = frame_nd(false, 135, FRAME_GUEST6, "2001:db8::77");
		size_t option = i % 2 * 8;

		ask.size -= option;
		ask.bytes[19] = (uint8_t)(ask.bytes[19] - option);
		send_frame(&ask, &pieces[i / 2]);
		Frame answer = receive(vm_tap, 0x86, 0xdd);
		while (answer.bytes[IP + 40] != 136) /* the host's own discovery */
			answer = receive(vm_tap, 0x86, 0xdd);

		cr_assert_null(frame_problem(&answer));
		cr_assert(frame_has_source(&answer, IP, "2001:db8::77"));
		cr_assert(frame_has_target(&answer, IP, FRAME_GUEST6));
	}
}

/* The sum of the pseudo header, as a guest leaves it in the checksum's place. */
static void leave_checksum(Frame *frame, size_t at)
{
	size_t size = frame->size - TRANSPORT;
	uint32_t sum = (uint32_t)size + frame->bytes[IP + 9];

	for (size_t i = IP + 12; i < TRANSPORT; i += 2)
		sum += (uint32_t)frame->bytes[i] << 8 | frame->bytes[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	frame->bytes[at] = (uint8_t)(sum >> 8);
	frame->bytes[at + 1] = (uint8_t)sum;
}

Test(filter_live, forwarded_packets_have_the_hosts_address_and_checksums_that_are_right)
{
	static const struct {
		FrameSpec spec;
		uint16_t checksum;
	} rows[] = {
		{ { .target = "192.0.2.1",
		    .protocol = 6,
		    .source_port = 5,
		    .target_port = 80,
		    .tcp = FRAME_TCP_SYN,
		    .payload = 11 },
		  16 },
		{ { .target = "192.0.2.1",
		    .protocol = 17,
		    .source_port = 5,
		    .target_port = 53,
		    .payload = 11 },
		  6 },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		const struct virtio_net_hdr partial = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
							.csum_start = TRANSPORT,
							.csum_offset = rows[i].checksum };
		Frame frame = frame_make(&rows[i].spec);

		for (size_t piece = 0; piece < array_size(pieces); piece++) {
			send_frame(&frame, &pieces[piece]);
			Frame whole = receive(world_tap, 0x08, 0x00);

			cr_expect_null(frame_problem(&whole), "%s is wrong", frame_problem(&whole));
			cr_expect(frame_has_source(&whole, IP, FRAME_HOST4));
		}

		leave_checksum(&frame, TRANSPORT + rows[i].checksum);
		send_frame(&frame, &partial);
		Frame completed = receive(world_tap, 0x08, 0x00);

		cr_expect_null(frame_problem(&completed), "%s is wrong, completed",
			       frame_problem(&completed));
		cr_expect(frame_has_source(&completed, IP, FRAME_HOST4));
	}
}
