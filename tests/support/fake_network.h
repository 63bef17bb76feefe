/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A network for the fault backend's VMs that notes what it is told, and fails
 * when it is told to. Safe from any thread.
 */

#include "runtime/network.h"

typedef struct FakeNetwork FakeNetwork;

typedef enum FakeCall {
	FAKE_ATTACH,
	FAKE_DETACH,
	FAKE_SET_POLICY,
	FAKE_EXPLAIN,
	FAKE_COUNTERS,
	FAKE_CALL_COUNT_,
} FakeCall;

FakeNetwork *fake_network_new(bool leases);
Network *fake_network(FakeNetwork *fake); /* frees the whole when it is freed */

/* The next @times calls fail. */
void fake_fail(FakeNetwork *fake, FakeCall call, unsigned times);
unsigned fake_calls(FakeNetwork *fake, FakeCall call);
/* Is the VM of @slot attached, and with how many rules? -1: it is not. */
int fake_rules(FakeNetwork *fake, uint32_t slot);
/* What explain() answers from now on. */
void fake_answer(FakeNetwork *fake, int verdict);
/* A packet of the VM of @slot is denied. */
void fake_deny(FakeNetwork *fake, const NetworkEvent *event);
