/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What handlers share: call_user() is the Agent.
 *
 * Made before the server starts and constant afterwards, but for the runtime,
 * which appears once the store is open, and the node's conditions.
 */

#include "agent/call.h"
#include "agent/config.h"
#include "agent/server.h"
#include "base/lock.h"
#include "base/loop.h"
#include "runtime/budget.h"
#include "runtime/runtime.h"

#include <hearth/v1/egress.pb-c.h>
#include <hearth/v1/guest.pb-c.h>
#include <hearth/v1/image.pb-c.h>
#include <hearth/v1/node.pb-c.h>
#include <hearth/v1/snapshot.pb-c.h>
#include <hearth/v1/vm.pb-c.h>

typedef enum NodeCondition {
	NODE_READY,
	NODE_ADOPTED,
	NODE_STORE_WRITABLE,
	NODE_NETWORK_READY,
	NODE_CONDITION_COUNT_,
} NodeCondition;

typedef struct Agent {
	const Config *config;
	Loop *loop; /* bookmarks: callbacks only call_wake() */
	Runtime *_Atomic runtime;
	int64_t start_time;
	char cpu_model[128];
	char kernel[65];
	uint64_t cpus;
	Launcher *launcher;

	Lock lock;
	/* under lock: as last seen, and since when */
	struct {
		ConditionStatus status;
		int64_t since;
	} conditions[NODE_CONDITION_COUNT_];
} Agent;

/* Looks at the host. STORE when the thread for @ret->loop cannot be started. */
int agent_new(Agent **ret, const Config *config, Error *err) must_check;
void agent_free(Agent *agent);
DEFINE_CLEANUP(Agent *, agent_free);

/* When @condition came to have @status; remembers it. */
int64_t agent_condition_since(Agent *agent, NodeCondition condition, ConditionStatus status);

static inline Agent *agent_of(const Call *call)
{
	return call_user(call);
}

/* The runtime; or NULL, the call then failed: the store is still being opened. */
Runtime *agent_runtime(Call *call);

/* Has @work done on a thread that may block. False, @call then failed: too much waits already, and
 * @user is still the caller's. */
bool agent_run_blocking(Call *call, Runtime *runtime, Patience patience, void (*work)(void *user),
			void *user) must_check;

/* Calls call_wake(@call) after @delay usec, once; to be given to loop_remove(). NULL: it cannot, as
 * with too few descriptors; bookmarks are late then. */
LoopSource *agent_wake_after(Call *call, int64_t delay);

/* Messages that are only packed borrow their texts; protobuf-c has no const. */
static inline char *message_text(const char *text)
{
	union {
		const char *from;
		char *to;
	} same = { text };

	return same.to;
}

/* The services, with every handler. */
extern Hearth__V1__VmService_Service vm_service;
extern Hearth__V1__NodeService_Service node_service;
extern Hearth__V1__EgressService_Service egress_service;
extern Hearth__V1__GuestService_Service guest_service;
extern Hearth__V1__ImageService_Service image_service;
extern Hearth__V1__SnapshotService_Service snapshot_service;
