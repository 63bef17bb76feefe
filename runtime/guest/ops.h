/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The requests of the protocol.
 */

#include "runtime/guest/guest.h"

/* Serves the request @op; an unknown one is answered, too. */
void guest_ops_serve(Guest *guest, const GuestRequest *request, const char *op);
