/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Denied packets on their way from the network to those who watch.
 *
 * The latest are kept, numbered; each watcher reads behind them at its own
 * speed, and is told how many it has missed. Safe from any thread.
 */

#include "runtime/network.h"

#include <stddef.h>

enum {
	EGRESS_EVENTS_KEPT = 1024,
};

typedef struct EgressEvent {
	NetworkEvent packet;
	char vm_id[64];
	char uid[64];
	char tenant[64];
} EgressEvent;

typedef struct EgressHub EgressHub;
typedef struct EgressWatcher EgressWatcher;

/* Embedded in its owner, who sets @wake before egress_watch(); the rest is the hub's. */
struct EgressWatcher {
	void (*wake)(EgressWatcher *watcher); /* must only pass the word on */
	EgressWatcher *next, *previous;
};

EgressHub *egress_hub_new(void);
void egress_hub_free(EgressHub *hub); /* accepts NULL; nobody may be watching */
DEFINE_CLEANUP(EgressHub *, egress_hub_free);

void egress_hub_publish(EgressHub *hub, const EgressEvent *event);
bool egress_hub_is_watched(EgressHub *hub);

/* The number of the latest event: what comes from now on is behind it. */
uint64_t egress_hub_latest(EgressHub *hub);

/**
 * egress_hub_read() - up to @max events behind number *@at, which moves on
 * @missed:	so many more were there before them, and are no longer kept
 *
 * Return: how many.
 */
size_t egress_hub_read(EgressHub *hub, uint64_t *at, EgressEvent *ret, size_t max,
		       uint64_t *missed);

void egress_watch(EgressHub *hub, EgressWatcher *watcher);
/* Returns once @wake is not running and will not be called again. */
void egress_unwatch(EgressHub *hub, EgressWatcher *watcher);
