/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A spec's egress policy as netfw takes it: read from texts, checked on the way;
 * immutable, and shared by reference.
 * Safe from any thread.
 */

#include "netfw/egress_policy.h"
#include "runtime/spec.h"

typedef struct Egress Egress;

/**
 * egress_read() - @policy in numbers
 * @ret:	the caller's to unref; it refers to nothing of @policy
 * @policy:	whose field tables' rules hold; NULL: no rules
 * @path:	of the policy in its request, such as "spec.egress"
 * @err:	INVALID_REQUEST with every bad field; added to what it holds already
 */
int egress_read(Egress **ret, const VmEgressPolicy *policy, const char *path, Error *err)
	must_check;
Egress *egress_ref(Egress *egress);
void egress_unref(Egress *egress); /* accepts NULL */
DEFINE_CLEANUP(Egress *, egress_unref);

/* What was read; valid as long as @egress. */
const EgressPolicy *egress_policy(const Egress *egress);

/* Adds what egress_read() has against @policy. */
void egress_check(const VmEgressPolicy *policy, const char *path, Error *err);

/* Does a rule allow names? */
bool egress_has_names(const VmEgressPolicy *policy);

/* EGRESS_TCP and the like; EGRESS_TCP of UNSET. */
uint8_t egress_protocol(VmProtocol protocol);
