/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/random_policy.h"

#include <stdlib.h>

static uint8_t random_family(unsigned *seed)
{
	return rand_r(seed) % 3 ? 4 : 6;
}

/* A small world, so that blocks, exceptions and targets meet. */
static Prefix random_prefix(unsigned *seed, uint8_t family, int shortest)
{
	Prefix prefix = { .family = family };
	int bits = prefix.family == 4 ? 32 : 128;
	int lengths[] = { 0, 1, 7, 8, 9, 16, bits - 4, bits - 1, bits };

	prefix.address[0] = 10;
	prefix.address[1] = (uint8_t)(rand_r(seed) % 4 * 64);
	prefix.address[bits / 8 - 1] = (uint8_t)(rand_r(seed) % 4 * 5);
	do
		prefix.length = (uint8_t)lengths[(size_t)rand_r(seed) % array_size(lengths)];
	while (prefix.length < shortest);
	for (int bit = prefix.length; bit < bits; bit++)
		prefix.address[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return prefix;
}

static size_t below(unsigned *seed, size_t limit)
{
	return (size_t)rand_r(seed) % limit;
}

/* An exception lies in its block. */
static Prefix random_except(unsigned *seed, const Prefix *cidr)
{
	for (int i = 0; i < 50; i++) {
		Prefix except = random_prefix(seed, cidr->family, cidr->length);

		if (prefix_contains(cidr, &except))
			return except;
	}
	return *cidr;
}

static void random_rule(RandomPolicy *random, size_t at, unsigned *seed)
{
	static const uint8_t protocols[] = { EGRESS_TCP, EGRESS_UDP, EGRESS_SCTP, EGRESS_ICMP };
	EgressRule *rule = &random->rules[at];

	*rule = (EgressRule){ .to = random->blocks[at],
			      .to_count = below(seed, RANDOM_BLOCKS_MAX + 1),
			      .ports = random->ports[at],
			      .port_count = below(seed, RANDOM_PORTS_MAX + 1) };
	for (size_t i = 0; i < rule->to_count; i++) {
		EgressBlock *block = &random->blocks[at][i];

		*block = (EgressBlock){ random_prefix(seed, random_family(seed), 0),
					random->excepts[at][i],
					below(seed, RANDOM_EXCEPTS_MAX + 1) };
		for (size_t j = 0; j < block->except_count; j++)
			random->excepts[at][i][j] = random_except(seed, &block->cidr);
	}
	for (size_t i = 0; i < rule->port_count; i++) {
		uint8_t protocol = protocols[below(seed, array_size(protocols))];
		uint16_t first = (uint16_t)(1 + below(seed, 60));
		uint16_t last = (uint16_t)(first + below(seed, 5));
		bool whole = protocol == EGRESS_ICMP || rand_r(seed) % 8 == 0;

		random->ports[at][i] = whole ? (EgressPort){ protocol, 0, UINT16_MAX }
					     : (EgressPort){ protocol, first, last };
	}
}

RandomPolicy *random_policy_new(unsigned *seed)
{
	RandomPolicy *random = new0(RandomPolicy);

	random->denied_count = below(seed, RANDOM_DENIED_MAX + 1);
	random->policy = (EgressPolicy){ random->rules, below(seed, RANDOM_RULES_MAX + 1) };
	for (size_t i = 0; i < random->policy.count; i++)
		random_rule(random, i, seed);
	for (size_t i = 0; i < random->denied_count; i++)
		random->denied[i] = random_prefix(seed, random_family(seed), 7);
	return random;
}

EgressTarget random_policy_target(unsigned *seed)
{
	static const uint8_t protocols[] = { EGRESS_TCP, EGRESS_UDP, EGRESS_SCTP };
	EgressTarget target = { random_prefix(seed, random_family(seed), 32),
				protocols[below(seed, array_size(protocols))],
				(uint16_t)below(seed, 70) };

	target.address.length = target.address.family == 4 ? 32 : 128;
	return target;
}
