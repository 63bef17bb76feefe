/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tells whoever watches a network of the packets that its filter denies. Safe
 * from any thread.
 */

#include "base/lock.h"
#include "netfw/filter.h"
#include "runtime/network.h"

typedef struct NetworkTeller {
	Lock lock;
	Cond told;         /* with lock: no sink is being called */
	NetworkSink *sink; /* under lock, as all below */
	void *user;
	unsigned telling; /* calls that are under way */
} NetworkTeller;

void network_teller_init(NetworkTeller *teller);
void network_teller_destroy(NetworkTeller *teller);

/* From now on @sink is told; NULL: nobody. The one before is not being called any more. */
void network_teller_set(NetworkTeller *teller, NetworkSink *sink, void *user);

/* Tells of @event. */
void network_teller_tell(NetworkTeller *teller, const NetworkEvent *event);

/* Tells of what there is; one caller at a time. */
void network_teller_run(NetworkTeller *teller, Filter *filter);
