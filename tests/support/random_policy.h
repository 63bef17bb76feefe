/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policies and targets at random, in a world so small that they meet.
 */

#include "netfw/egress_policy.h"

enum {
	RANDOM_BLOCKS_MAX = 6,
	RANDOM_EXCEPTS_MAX = 3,
	RANDOM_PORTS_MAX = 9,
	RANDOM_RULES_MAX = 8,
	RANDOM_DENIED_MAX = 2,
};

typedef struct RandomPolicy {
	EgressPolicy policy; /* of what follows */
	Prefix denied[RANDOM_DENIED_MAX];
	size_t denied_count;
	Prefix excepts[RANDOM_RULES_MAX][RANDOM_BLOCKS_MAX][RANDOM_EXCEPTS_MAX];
	EgressBlock blocks[RANDOM_RULES_MAX][RANDOM_BLOCKS_MAX];
	EgressPort ports[RANDOM_RULES_MAX][RANDOM_PORTS_MAX];
	EgressRule rules[RANDOM_RULES_MAX];
} RandomPolicy;

/* The caller's to free. */
RandomPolicy *random_policy_new(unsigned *seed);
/* Of TCP, UDP or SCTP. */
EgressTarget random_policy_target(unsigned *seed);
