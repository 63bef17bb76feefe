/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The resolver at the gateway's addresses of a network with a filter: which
 * guest may know which name, and the filter told of where that leads.
 */

#include "netfw/filter.h"
#include "runtime/network.h"
#include "runtime/network_teller.h"
#include "runtime/network_vms.h"

typedef struct NetworkNames NetworkNames;

/* What it works with, its owner's for as long as it is open. */
typedef struct NetworkNamesUse {
	NetworkVms *vms; /* the guests */
	Filter *filter;
	NetworkTeller *teller; /* hears what is refused */
} NetworkNamesUse;

/**
 * network_names_open() - serve guests
 * @ret:	NULL: there is nobody to ask (network.resolvers is none, or the host has none), or
 *		the gateway is not the host
 * @config:	its resolvers, and the pools whose gateways listen
 * @err:	NETWORK_SETUP
 */
int network_names_open(NetworkNames **ret, const NetworkConfig *config, const NetworkNamesUse *use,
		       Error *err) must_check;
void network_names_close(NetworkNames *names); /* accepts NULL */

/* What it has done, in words; NULL: that there is none. */
void network_names_tell(NetworkNames *names, char *ret, size_t size);

/* Where names have led the VM at @ifindex: as NetworkOps.leads. */
size_t network_names_leads(Filter *filter, uint32_t ifindex, NetworkLead **ret);

/* Compiles @policy for the filter; one that has names may reach the resolver too. */
int network_names_compile(FilterTable **ret, const NetworkConfig *config,
			  const EgressPolicy *policy, Error *err) must_check;
