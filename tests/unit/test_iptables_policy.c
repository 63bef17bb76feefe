/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What policies mean when iptables has them: real packets to a handful of addresses arrive
 * exactly where egress_policy_find() says so.
 */

#include "base/clock.h"
#include "netfw/iptables.h"
#include "tests/support/net_bench.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
	POLICIES = 40,
	TARGETS = 40,
	RULES_MAX = 5,
	BLOCKS_MAX = 5,
	EXCEPTS_MAX = 3,
	PORTS_MAX = 5,
	PORTS = 6, /* the world's: 1 to 6 */
	DENIED_MAX = 3,
	PATIENCE = 5 * 1000000,
	SETTLE_MS = 30,
	EXCHANGES = 10,
};

TestSuite(iptables_policy, .init = net_bench_set_up);

static Prefix parse(const char *text)
{
	Prefix prefix;

	cr_assert_eq(prefix_parse(&prefix, text), 0, "%s", text);
	return prefix;
}

static void apply(const EgressPolicy *policy, const Prefix *denied, size_t count)
{
	const IptablesVm vm = { "vm-1", "tap0", parse("192.168.7.2/32"), parse("fc07::2/128") };
	Error err = { 0 };

	cr_assert_eq(iptables_apply(&vm, policy, denied, count, &err), 0, "%s", err.what);
}

static bool reached(const char *address, uint16_t port)
{
	return net_bench_udp(NULL, NET_WORLD, address, port, true);
}

static bool blocked(const char *address, uint16_t port)
{
	return !net_bench_udp(NULL, NET_WORLD, address, port, false);
}

Test(iptables_policy, an_exception_holds_for_its_own_rule_only)
{
	const Prefix except[] = { parse("10.1.0.0/16") };
	const EgressBlock wide[] = { { parse("10.0.0.0/8"), except, 1 } };
	const EgressBlock narrow[] = { { parse("10.1.2.0/24"), NULL, 0 } };
	const EgressPort first[] = { { EGRESS_UDP, 80, 80 } },
			 second[] = { { EGRESS_UDP, 53, 53 } };
	const EgressRule rules[] = {
		{ .to = wide, .to_count = 1, .ports = first, .port_count = 1 },
		{ .to = narrow, .to_count = 1, .ports = second, .port_count = 1 }
	};

	apply(&(EgressPolicy){ rules, 2 }, NULL, 0);

	cr_assert(reached("10.2.0.1", 80));
	cr_assert(blocked("10.1.2.3", 80));
	cr_assert(reached("10.1.2.3", 53));
	cr_assert(blocked("10.2.0.1", 53));
}

Test(iptables_policy, what_is_always_denied_is_reached_by_naming_it_alone)
{
	const Prefix denied[] = { parse("10.9.0.0/16"), parse("fd09::/16") };
	const EgressBlock wide[] = { { parse("0.0.0.0/0"), NULL, 0 } };
	const EgressBlock named[] = { { parse("10.9.1.1/32"), NULL, 0 } };
	const EgressRule rules[] = { { .to = wide, .to_count = 1 },
				     { 0 },
				     { .to = named, .to_count = 1 } };

	apply(&(EgressPolicy){ rules, 2 }, denied, 2);

	cr_assert(reached("10.1.1.1", 53));
	cr_assert(blocked("10.9.1.1", 53));
	cr_assert(reached("fd01::1", 53));
	cr_assert(blocked("fd09::1", 53));

	apply(&(EgressPolicy){ rules, 3 }, denied, 2);

	cr_assert(reached("10.9.1.1", 53));
	cr_assert(blocked("10.9.1.2", 53));
}

Test(iptables_policy, many_ports_are_all_there_and_none_between_them)
{
	enum {
		COUNT = 40
	};
	EgressPort ports[COUNT];
	const EgressRule rule = { .ports = ports, .port_count = array_size(ports) };

	for (int i = 0; i < COUNT; i++)
		ports[i] = (EgressPort){ EGRESS_UDP, (uint16_t)(100 + 10 * i),
					 (uint16_t)(100 + 10 * i + i % 2) };

	apply(&(EgressPolicy){ &rule, 1 }, NULL, 0);

	for (int i = 0; i < COUNT; i++) {
		cr_assert(reached("10.1.1.1", (uint16_t)(100 + 10 * i)), "%d", i);
		if (i % 2)
			cr_assert(reached("fd01::1", (uint16_t)(101 + 10 * i)), "%d", i);
	}
	for (int i = 0; i < COUNT; i += 13)
		cr_assert(blocked("10.1.1.1", (uint16_t)(102 + 10 * i)), "%d", i);
}

/* Sends to both ports over and over, and counts what arrives. */
typedef struct Flood {
	int client, allowed, denied;
	atomic_bool stop;
	size_t sent, arrived, leaked;
} Flood;

static size_t drain(int fd)
{
	size_t count = 0;
	char byte;

	while (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
		count++;
	return count;
}

static void *flood(void *context)
{
	Flood *to = context;
	struct sockaddr_storage good, bad;
	socklen_t size = net_bench_address(&good, "10.1.1.1", 80);

	(void)net_bench_address(&bad, "10.1.1.1", 81);
	while (!atomic_load(&to->stop)) {
		to->sent += sendto(to->client, "x", 1, 0, (struct sockaddr *)&good, size) == 1;
		(void)sendto(to->client, "x", 1, 0, (struct sockaddr *)&bad, size);
		(void)usleep(100);
		to->arrived += drain(to->allowed);
		to->leaked += drain(to->denied);
	}
	(void)usleep(SETTLE_MS * 1000);
	to->arrived += drain(to->allowed);
	to->leaked += drain(to->denied);
	return NULL;
}

Test(iptables_policy, at_no_moment_of_an_exchange_is_there_neither_policy)
{
	const EgressPort first[] = { { EGRESS_UDP, 80, 80 }, { EGRESS_TCP, 80, 80 } };
	const EgressRule wide = { .ports = first, .port_count = 2 };
	const EgressBlock block = { parse("10.0.0.0/8"), NULL, 0 };
	const EgressRule narrow = { .to = &block, .to_count = 1, .ports = first, .port_count = 1 };
	Flood to = { .client = net_bench_socket(NET_GUEST, AF_INET, SOCK_DGRAM, 0),
		     .allowed = net_bench_server(NET_WORLD, SOCK_DGRAM, "10.1.1.1", 80),
		     .denied = net_bench_server(NET_WORLD, SOCK_DGRAM, "10.1.1.1", 81) };
	pthread_t thread;

	cr_assert(net_bench_ping("10.1.1.1", true));
	apply(&(EgressPolicy){ &wide, 1 }, NULL, 0);
	cr_assert_eq(pthread_create(&thread, NULL, flood, &to), 0);

	for (int i = 0; i < EXCHANGES; i++) {
		apply(&(EgressPolicy){ &narrow, 1 }, NULL, 0);
		apply(&(EgressPolicy){ &wide, 1 }, NULL, 0);
	}

	atomic_store(&to.stop, true);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_gt(to.sent, EXCHANGES);
	cr_assert_eq(to.arrived, to.sent);
	cr_assert_eq(to.leaked, 0);
	closep(&to.client);
	closep(&to.allowed);
	closep(&to.denied);
}

/* What the tests below send and where it arrives. */
typedef struct Letter {
	uint32_t policy, target;
} Letter;

typedef struct World {
	int servers[2 * PORTS];
	int client4, client6;
} World;

typedef struct RandomPolicy {
	Prefix excepts[RULES_MAX][BLOCKS_MAX][EXCEPTS_MAX];
	EgressBlock blocks[RULES_MAX][BLOCKS_MAX];
	EgressPort ports[RULES_MAX][PORTS_MAX];
	EgressRule rules[RULES_MAX];
	EgressPolicy policy;
	Prefix denied[DENIED_MAX];
	size_t denied_count;
	EgressTarget targets[TARGETS];
} RandomPolicy;

static int open_six(uint16_t port)
{
	int fd = net_bench_socket(NET_WORLD, AF_INET6, SOCK_DGRAM, 0), on = 1;
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	cr_assert_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof any), 0);
	return fd;
}

static World open_world(void)
{
	World world = { .client4 = net_bench_socket(NET_GUEST, AF_INET, SOCK_DGRAM, 0),
			.client6 = net_bench_socket(NET_GUEST, AF_INET6, SOCK_DGRAM, 0) };
	uint16_t port = 1;

	for (size_t i = 0; i < array_size(world.servers); i += 2, port++) {
		world.servers[i] = net_bench_server(NET_WORLD, SOCK_DGRAM, "0.0.0.0", port);
		world.servers[i + 1] = open_six(port);
	}
	return world;
}

static void close_world(const World *world)
{
	for (size_t i = 0; i < array_size(world->servers); i++)
		closep(&world->servers[i]);
	closep(&world->client4);
	closep(&world->client6);
}

static size_t below(unsigned *seed, size_t limit)
{
	return (size_t)rand_r(seed) % limit;
}

/* A small world, so that blocks, exceptions and targets meet; all of it is behind the host. */
static Prefix random_prefix(unsigned *seed, uint8_t family, int shortest)
{
	int bits = family == 4 ? 32 : 128;
	const int lengths[] = { 0, 8, 9, 10, 16, bits - 4, bits - 2, bits - 1, bits };
	Prefix prefix = { .family = family };

	prefix.address[0] = family == 4 ? 10 : 0xfd;
	prefix.address[1] = (uint8_t)(below(seed, 4) * 64);
	prefix.address[bits / 8 - 1] = (uint8_t)(below(seed, 3) * 5 + 1);
	do
		prefix.length = (uint8_t)lengths[below(seed, array_size(lengths))];
	while (prefix.length < shortest);
	for (int bit = prefix.length; bit < bits; bit++)
		prefix.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return prefix;
}

static uint8_t random_family(unsigned *seed)
{
	return below(seed, 2) ? 4 : 6;
}

static Prefix random_except(unsigned *seed, const Prefix *cidr)
{
	for (int i = 0; i < 50; i++) {
		Prefix except = random_prefix(seed, cidr->family, cidr->length);

		if (prefix_contains(cidr, &except))
			return except;
	}
	return *cidr;
}

static EgressPort random_port(unsigned *seed)
{
	static const uint8_t protocols[] = { EGRESS_UDP, EGRESS_UDP,  EGRESS_UDP,
					     EGRESS_TCP, EGRESS_ICMP, EGRESS_ANY };
	EgressPort port = { .protocol = protocols[below(seed, array_size(protocols))] };

	if (port.protocol == EGRESS_ICMP || below(seed, 8) == 0)
		return (EgressPort){ port.protocol, 0, UINT16_MAX };
	port.first = (uint16_t)(1 + below(seed, PORTS));
	port.last = (uint16_t)(port.first + below(seed, 3));
	return port;
}

static void random_rule(RandomPolicy *random, size_t at, unsigned *seed)
{
	EgressRule *rule = &random->rules[at];
	/* Rules that name no block or no port are there, but rare: they allow nearly all. */
	size_t blocks = below(seed, 8) ? 1 + below(seed, BLOCKS_MAX) : 0;
	size_t ports = below(seed, 8) ? 1 + below(seed, PORTS_MAX) : 0;

	*rule = (EgressRule){ .to = random->blocks[at],
			      .to_count = blocks,
			      .ports = random->ports[at],
			      .port_count = ports };
	for (size_t i = 0; i < blocks; i++) {
		EgressBlock *block = &random->blocks[at][i];

		*block = (EgressBlock){ random_prefix(seed, random_family(seed), 0),
					random->excepts[at][i], below(seed, EXCEPTS_MAX + 1) };
		for (size_t j = 0; j < block->except_count; j++)
			random->excepts[at][i][j] = random_except(seed, &block->cidr);
	}
	for (size_t i = 0; i < ports; i++)
		random->ports[at][i] = random_port(seed);
}

static RandomPolicy *random_policy(unsigned *seed)
{
	RandomPolicy *random = new0(RandomPolicy);

	random->policy = (EgressPolicy){ random->rules, 1 + below(seed, RULES_MAX) };
	for (size_t i = 0; i < random->policy.count; i++)
		random_rule(random, i, seed);
	random->denied_count = below(seed, DENIED_MAX + 1);
	for (size_t i = 0; i < random->denied_count; i++)
		random->denied[i] = random_prefix(seed, random_family(seed), 9);
	for (size_t i = 0; i < TARGETS; i++) {
		uint8_t family = random_family(seed);

		random->targets[i] =
			(EgressTarget){ random_prefix(seed, family, family == 4 ? 32 : 128),
					EGRESS_UDP, (uint16_t)(1 + below(seed, PORTS)) };
	}
	return random;
}

static void send_letter(const World *world, const EgressTarget *target, const Letter *letter)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(target->port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(target->port) };
	bool is_four = target->address.family == 4;

	memcpy(&four.sin_addr, target->address.address, sizeof four.sin_addr);
	memcpy(&six.sin6_addr, target->address.address, sizeof six.sin6_addr);
	cr_assert_eq(sendto(is_four ? world->client4 : world->client6, letter, sizeof *letter, 0,
			    is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six,
			    is_four ? sizeof four : sizeof six),
		     sizeof *letter, "%s", strerror(errno));
}

/* Marks what has arrived of @policy; how many. */
static size_t receive(const World *world, uint32_t policy, bool arrived[static TARGETS])
{
	size_t count = 0;
	Letter letter;

	for (size_t i = 0; i < array_size(world->servers); i++)
		while (recv(world->servers[i], &letter, sizeof letter, MSG_DONTWAIT) ==
		       sizeof letter) {
			cr_assert_eq(letter.policy, policy);
			arrived[letter.target] = true;
			count++;
		}
	return count;
}

/* As soon as all that should have arrived has, and a moment later for what should not. */
static void wait_for(const World *world, uint32_t policy, size_t wanted,
		     bool arrived[static TARGETS])
{
	int64_t deadline = clock_mono_us() + PATIENCE;
	size_t count = 0;

	while (count < wanted && clock_mono_us() < deadline) {
		(void)net_bench_readable(world->servers[0], 1);
		count += receive(world, policy, arrived);
	}
	(void)usleep(SETTLE_MS * 1000);
	(void)receive(world, policy, arrived);
}

static size_t check_policy(const World *world, uint32_t number, unsigned *seed)
{
	cleanup_free RandomPolicy *random = random_policy(seed);
	bool wanted[TARGETS], arrived[TARGETS] = { 0 };
	size_t allowed = 0;

	apply(&random->policy, random->denied, random->denied_count);
	for (uint32_t i = 0; i < TARGETS; i++) {
		wanted[i] = egress_policy_find(&random->policy, random->denied,
					       random->denied_count, &random->targets[i]) >= 0;
		allowed += wanted[i];
		send_letter(world, &random->targets[i], &(Letter){ number, i });
	}
	wait_for(world, number, allowed, arrived);
	for (uint32_t i = 0; i < TARGETS; i++) {
		char text[PREFIX_TEXT_MAX];

		cr_assert_eq(arrived[i], wanted[i], "policy %u: %s port %u %s", number,
			     prefix_format(&random->targets[i].address, text),
			     random->targets[i].port, wanted[i] ? "is allowed" : "is not allowed");
	}
	return allowed;
}

Test(iptables_policy, any_policy_passes_what_it_allows_rule_by_rule)
{
	World world = open_world();
	unsigned seed = 20260412;
	size_t allowed = 0;

	cr_assert(net_bench_ping("10.1.1.1", true));
	cr_assert(net_bench_ping("fd01::1", true));
	for (uint32_t n = 0; n < POLICIES; n++)
		allowed += check_policy(&world, n, &seed);

	cr_assert_gt(allowed, POLICIES * TARGETS / 10);
	cr_assert_lt(allowed, POLICIES * TARGETS - POLICIES * TARGETS / 10);
	close_world(&world);
}
