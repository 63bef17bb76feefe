/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host's ends of a VM's interfaces: a tap each, named by the VM's instance,
 * down until a network has it (runtime/network.h). For backends; they block.
 */

#include "runtime/backend.h"

#include <sys/types.h>

/**
 * vm_taps_add() - make the taps of job->spec's interfaces, and show them in job->resolved
 * @owner:	who is to open them; (uid_t)-1: who runs this
 * @err:	NETWORK_SETUP; vm_taps_remove() then
 */
int vm_taps_add(Job *job, uid_t owner, Error *err) must_check;

/* Takes them out of @network and removes them; absent is success. NETWORK_SETUP, FIREWALL. */
int vm_taps_remove(Network *network, const char *instance_id, Error *err) must_check;
