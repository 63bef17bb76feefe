/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/net.h"

#include "base/process.h"
#include "base/text.h"
#include "netfw/tap.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

enum {
	COMMAND_TIMEOUT = 30 * 1000000,
	VNET_SIZE = 10,
	ETHERNET_SIZE = 14,
	IP_SIZE = 20,
	IPV6_SIZE = 40,
	DATAGRAM_SIZE = 12, /* with four bytes in it */
	FRAME_MAX = 2048,
	SOURCE_PORT = 4242,
};

bool net_available(void)
{
	return geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0;
}

void net_enter(void)
{
	int r = unshare(CLONE_NEWNET);

	assert(r == 0);
	net_run("ip link set lo up");
}

static printf_like(1, 0) char *say(const char *format, va_list ap)
{
	cleanup_free char *command = text_vprintf(format, ap);
	char *argv[] = { text_dup("/bin/sh"), text_dup("-c"), command, NULL };
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, COMMAND_TIMEOUT);

	if (r < 0 || result.code != 0)
		(void)fprintf(stderr, "%s: %s\n", command, r < 0 ? strerror(-r) : result.output);
	assert(r == 0 && result.code == 0);
	free(argv[0]);
	free(argv[1]);
	return result.output;
}

char *net_says(const char *format, ...)
{
	va_list ap;
	char *said;

	va_start(ap, format);
	said = say(format, ap);
	va_end(ap);
	return said;
}

void net_run(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	free(say(format, ap));
	va_end(ap);
}

int net_attach(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int r;

	text_copy(request.ifr_name, sizeof request.ifr_name, name);
	r = ioctl(fd, TUNSETIFF, &request);
	assert(r == 0);
	return fd;
}

int net_tap(const char *name)
{
	const TapConfig config = { .name = name, .owner = (uid_t)-1 };
	Error err = { 0 };
	int r = tap_add(&config, &err);

	assert(r == 0);
	return net_attach(name);
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

/* RFC 1071; @sum is what was added up before. */
static unsigned checksum(const uint8_t *bytes, size_t size, unsigned sum)
{
	for (size_t i = 0; i < size; i += 2)
		sum += get16(bytes + i);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

/* The header at @ip, of which the datagram is what follows; its size. */
static size_t put_ip(uint8_t *ip, const NetUdp *udp)
{
	int n = inet_pton(AF_INET, udp->from, ip + 12) + inet_pton(AF_INET, udp->to, ip + 16);

	assert(n == 2);
	ip[0] = 0x45;
	put16(ip + 2, IP_SIZE + DATAGRAM_SIZE);
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	put16(ip + 10, checksum(ip, IP_SIZE, 0));
	return IP_SIZE;
}

static size_t put_ipv6(uint8_t *ip, const NetUdp *udp)
{
	int n = inet_pton(AF_INET6, udp->from, ip + 8) + inet_pton(AF_INET6, udp->to, ip + 24);

	assert(n == 2);
	ip[0] = 0x60;
	put16(ip + 4, DATAGRAM_SIZE);
	ip[6] = IPPROTO_UDP;
	ip[7] = 64;
	return IPV6_SIZE;
}

void net_send(int tap, const NetUdp *udp)
{
	static const uint8_t from_mac[] = { 0x06, 0, 0, 0, 0, 1 };
	uint8_t bytes[VNET_SIZE + ETHERNET_SIZE + IPV6_SIZE + DATAGRAM_SIZE] = { 0 };
	uint8_t *ethernet = bytes + VNET_SIZE, *ip = ethernet + ETHERNET_SIZE, *datagram;
	bool six = strchr(udp->from, ':');
	ssize_t size, n;

	memset(ethernet, 0xff, 6);
	if (udp->to_mac)
		memcpy(ethernet, udp->to_mac, 6);
	memcpy(ethernet + 6, from_mac, sizeof from_mac);
	put16(ethernet + 12, six ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	datagram = ip + (six ? put_ipv6 : put_ip)(ip, udp);
	put16(datagram, SOURCE_PORT);
	put16(datagram + 2, udp->port);
	put16(datagram + 4, DATAGRAM_SIZE);
	if (six) /* which IPv4 can do without; over both addresses as well */
		put16(datagram + 6,
		      checksum(ip + 8, 32 + DATAGRAM_SIZE, IPPROTO_UDP + DATAGRAM_SIZE));
	size = datagram + DATAGRAM_SIZE - bytes;
	n = write(tap, bytes, (size_t)size);
	assert(n == size);
}

/* Is the frame in @bytes a datagram to @port? Says where from. */
static bool is_udp(const uint8_t *bytes, ssize_t size, uint16_t port, char *from)
{
	const uint8_t *ip = bytes + VNET_SIZE + ETHERNET_SIZE;
	bool six = size > VNET_SIZE + ETHERNET_SIZE && get16(ip - 2) == ETHERTYPE_IPV6;
	ssize_t header = six ? IPV6_SIZE : IP_SIZE;

	if (size < VNET_SIZE + ETHERNET_SIZE + header + DATAGRAM_SIZE ||
	    (!six && get16(ip - 2) != ETHERTYPE_IP) || ip[six ? 6 : 9] != IPPROTO_UDP ||
	    get16(ip + header + 2) != port)
		return false;
	(void)inet_ntop(six ? AF_INET6 : AF_INET, ip + (six ? 8 : 12), from, NET_ADDRESS_MAX);
	return true;
}

unsigned net_received(int tap, uint16_t port, char from[static NET_ADDRESS_MAX])
{
	uint8_t bytes[FRAME_MAX];
	unsigned count = 0;
	ssize_t n;

	while ((n = read(tap, bytes, sizeof bytes)) > 0)
		count += is_udp(bytes, n, port, from);
	return count;
}

int net_program(uint32_t mark, int verdict)
{
	static const char licence[] = "Apache-2.0";
	const struct bpf_insn instructions[] = {
		{ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = (int32_t)mark },
		{ .code = BPF_STX | BPF_MEM | BPF_W,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_REG_2,
		  .off = offsetof(struct __sk_buff, mark) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	size_t skipped = mark ? 0 : 2;
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insns = (uintptr_t)(instructions + skipped),
		.insn_cnt = (uint32_t)(array_size(instructions) - skipped),
		.license = (uintptr_t)licence,
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);

	if (fd < 0)
		perror("load a program");
	assert(fd >= 0);
	return fd;
}
