/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An interface of the guest, set up as the host says.
 */

#include "runtime/guest/network_spec.h"

/* Return: 0 or -errno, with @what saying what could not be done; what came before it is done. */
int guest_network_set(const GuestNetworkSpec *spec, const char **what) must_check;
