/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The VMs that a network of the host has attached: who has an address, and the
 * policy that is in force for it. Safe from any thread.
 */

#include "runtime/egress.h"

typedef struct NetworkVms NetworkVms;

NetworkVms *network_vms_new(void);
void network_vms_free(NetworkVms *vms);
DEFINE_CLEANUP(NetworkVms *, network_vms_free);

/* One of them. */
typedef struct NetworkVm {
	uint32_t ifindex; /* of its tap */
	uint32_t slot;    /* as in the record */
	Prefix address4;  /* family 0: none */
	Prefix address6;
	Egress *egress;
} NetworkVm;

/* Adds @vm, or replaces the one of its ifindex; takes a reference to its policy. */
void network_vms_put(NetworkVms *vms, const NetworkVm *vm);
/* Absent is success. */
void network_vms_drop(NetworkVms *vms, uint32_t ifindex);

/* Whose @address is; its policy is the caller's to unref. False: nobody's. */
bool network_vms_find(NetworkVms *vms, const Prefix *address, NetworkVm *ret);

/* All of them, as they are now; the array is the caller's to free, and each policy to unref. */
NetworkVm *network_vms_all(NetworkVms *vms, size_t *count);
