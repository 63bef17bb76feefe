/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/net_bench.h"

#include "base/process.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>

enum {
	COMMAND_TIMEOUT = 30 * 1000000,
	WANTED_MS = 5000,
	UNWANTED_MS = 150,
	ECHO = 0x4845,
};

static int places[NET_PLACE_COUNT_];

static void enter(NetPlace place)
{
	cr_assert_eq(setns(places[place], CLONE_NEWNET), 0, "%s", strerror(errno));
}

char *net_bench_ask(NetPlace place, const char *command)
{
	char shell[] = "/bin/sh", option[] = "-ec";
	cleanup_free char *copy = text_dup(command);
	char *argv[] = { shell, option, copy, NULL };
	ProcessResult result = { 0 };
	int r;

	enter(place);
	r = process_run(&result, argv, COMMAND_TIMEOUT);
	enter(NET_HOST);
	cr_assert(r == 0 && result.code == 0, "%s: %s", command, r == 0 ? result.output : "");
	return result.output;
}

void net_bench_run(NetPlace place, const char *command)
{
	free(net_bench_ask(place, command));
}

static void make_place(NetPlace place)
{
	cr_assert_eq(unshare(CLONE_NEWNET), 0, "%s", strerror(errno));
	places[place] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	cr_assert_geq(places[place], 0);
}

static void add_link(const char *name, NetPlace peer)
{
	cleanup_free char *command =
		text_printf("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d", name,
			    (int)getpid(), places[peer]);

	net_bench_run(NET_HOST, command);
}

void net_bench_set_up(void)
{
	if (geteuid() != 0) {
		(void)fprintf(stderr, "skipped: network namespaces need root\n");
		cr_skip_test("network namespaces need root");
	}
	cr_assert_eq(unshare(CLONE_NEWNS), 0, "%s", strerror(errno));
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	for (NetPlace place = NET_HOST; place < NET_PLACE_COUNT_; place++) {
		make_place(place);
		net_bench_run(place, "ip link set lo up;"
				     "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad;"
				     "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter;"
				     "echo 0 > /proc/sys/net/ipv4/conf/default/rp_filter");
	}
	enter(NET_HOST);
	add_link("tap0", NET_GUEST);
	add_link("up0", NET_WORLD);
	net_bench_run(NET_HOST, "echo 1 > /proc/sys/net/ipv4/ip_forward;"
				"echo 1 > /proc/sys/net/ipv6/conf/all/forwarding;"
				"ip addr add 192.168.7.1/24 dev tap0;"
				"ip addr add fc07::1/64 dev tap0 nodad;"
				"ip addr add 192.168.9.1/24 dev up0;"
				"ip addr add fc09::1/64 dev up0 nodad;"
				"ip link set tap0 up; ip link set up0 up;"
				"ip route add 10.0.0.0/8 via 192.168.9.2;"
				"ip route add fd00::/8 via fc09::2");
	net_bench_run(NET_GUEST,
		      "for a in 192.168.7.2/24 192.168.7.3/24; do ip addr add $a dev eth0; done;"
		      "for a in fc07::3/64 fc07::2/64; do ip addr add $a dev eth0 nodad; done;"
		      "ip link set eth0 up;"
		      "ip route add default via 192.168.7.1 src 192.168.7.2;"
		      "ip route add default via fc07::1 dev eth0 src fc07::2");
	net_bench_run(NET_WORLD, "ip addr add 192.168.9.2/24 dev eth0;"
				 "ip addr add fc09::2/64 dev eth0 nodad;"
				 "ip link set eth0 up;"
				 "ip route add local 10.0.0.0/8 dev lo;"
				 "ip -6 route add local fd00::/8 dev lo;"
				 "ip route add default via 192.168.9.1;"
				 "ip route add default via fc09::1");
}

int net_bench_socket(NetPlace place, int family, int type, int protocol)
{
	int fd;

	enter(place);
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	enter(NET_HOST);
	cr_assert_geq(fd, 0, "%s", strerror(errno));
	return fd;
}

socklen_t net_bench_address(struct sockaddr_storage *ret, const char *address, uint16_t port)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof *ret);
	if (strchr(address, ':')) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		cr_assert_eq(inet_pton(AF_INET6, address, &six->sin6_addr), 1, "%s", address);
		return sizeof *six;
	}
	four->sin_family = AF_INET;
	four->sin_port = htons(port);
	cr_assert_eq(inet_pton(AF_INET, address, &four->sin_addr), 1, "%s", address);
	return sizeof *four;
}

static int bound(NetPlace place, int type, const char *text, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t size = net_bench_address(&address, text, port);
	int fd = net_bench_socket(place, address.ss_family, type, 0), on = 1;

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* Addresses by a route alone are, for IPv6, not to be bound to otherwise. */
	if (address.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, size), 0, "%s: %s", text,
		     strerror(errno));
	return fd;
}

int net_bench_server(NetPlace place, int type, const char *address, uint16_t port)
{
	int fd = bound(place, type, address, port);

	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, 1), 0);
	return fd;
}

bool net_bench_readable(int fd, int wait_ms)
{
	struct pollfd poll_for = { .fd = fd, .events = POLLIN };

	return poll(&poll_for, 1, wait_ms) == 1;
}

bool net_bench_udp(const char *from, NetPlace place, const char *to, uint16_t port, bool wanted)
{
	cleanup_close int server = net_bench_server(place, SOCK_DGRAM, to, port);
	struct sockaddr_storage address;
	socklen_t size = net_bench_address(&address, to, port);
	cleanup_close int client =
		from ? bound(NET_GUEST, SOCK_DGRAM, from, 0)
		     : net_bench_socket(NET_GUEST, address.ss_family, SOCK_DGRAM, 0);

	cr_assert_eq(sendto(client, "x", 1, 0, (struct sockaddr *)&address, size), 1, "%s: %s", to,
		     strerror(errno));
	return net_bench_readable(server, wanted ? WANTED_MS : UNWANTED_MS);
}

/* For IPv4; the kernel does it for ICMPv6. */
static void set_checksum(struct icmphdr *icmp)
{
	uint32_t sum = htons((uint16_t)(icmp->type << 8)) + icmp->un.echo.id;

	sum = (sum & 0xffff) + (sum >> 16);
	icmp->checksum = (uint16_t)~sum;
}

bool net_bench_ping(const char *to, bool wanted)
{
	struct sockaddr_storage address;
	socklen_t size = net_bench_address(&address, to, 0);
	bool six = address.ss_family == AF_INET6;
	cleanup_close int fd = net_bench_socket(NET_GUEST, address.ss_family, SOCK_RAW,
						six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	struct icmphdr echo = { .type = six ? ICMP6_ECHO_REQUEST : ICMP_ECHO, .un.echo.id = ECHO };
	struct icmp6_filter filter;
	uint32_t filter4 = ~(1U << ICMP_ECHOREPLY);

	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
	if (six) {
		cr_assert_eq(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter),
			     0);
	} else {
		cr_assert_eq(setsockopt(fd, SOL_RAW, 1 /* ICMP_FILTER */, &filter4, sizeof filter4),
			     0);
		set_checksum(&echo);
	}
	cr_assert_eq(sendto(fd, &echo, sizeof echo, 0, (struct sockaddr *)&address, size),
		     sizeof echo, "%s", strerror(errno));
	return net_bench_readable(fd, wanted ? WANTED_MS : UNWANTED_MS);
}

int net_bench_tcp(NetPlace place, const char *to, uint16_t port, int *server, bool wanted)
{
	cleanup_close int listener = net_bench_server(place, SOCK_STREAM, to, port);
	struct sockaddr_storage address;
	socklen_t size = net_bench_address(&address, to, port);
	cleanup_close int client =
		net_bench_socket(NET_GUEST, address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	cr_assert_eq(connect(client, (struct sockaddr *)&address, size), -1);
	cr_assert_eq(errno, EINPROGRESS, "%s", strerror(errno));
	if (!net_bench_readable(listener, wanted ? WANTED_MS : UNWANTED_MS))
		return -1;
	*server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert_geq(*server, 0);
	return take_fd(client);
}
