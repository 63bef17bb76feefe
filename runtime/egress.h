/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A spec's egress policy as netfw takes it: read from texts, checked on the way.
 * Safe from any thread.
 */

#include "netfw/egress_policy.h"
#include "runtime/spec.h"

typedef struct Egress Egress;

/**
 * egress_read() - @policy in numbers
 * @ret:	the caller's to free; it refers to nothing of @policy
 * @policy:	whose field tables' rules hold; NULL: no rules
 * @path:	of the policy in its request, such as "spec.egress"
 * @err:	INVALID_REQUEST with every bad field; added to what it holds already
 */
int egress_read(Egress **ret, const VmEgressPolicy *policy, const char *path, Error *err)
	must_check;
void egress_free(Egress *egress);
DEFINE_CLEANUP(Egress *, egress_free);

/* What was read; valid as long as @egress. */
const EgressPolicy *egress_policy(const Egress *egress);

/* Adds what egress_read() has against @policy. */
void egress_check(const VmEgressPolicy *policy, const char *path, Error *err);

/* Does a rule allow names? */
bool egress_has_names(const VmEgressPolicy *policy);

/* EGRESS_TCP and the like; EGRESS_TCP of UNSET. */
uint8_t egress_protocol(VmProtocol protocol);
