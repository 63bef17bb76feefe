/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is known of a VM's egress, as messages that live in an Arena and borrow from the state. */

#include "agent/arena.h"
#include "runtime/runtime.h"

#include <hearth/v1/vm.pb-c.h>

/* One for each direction; none if nothing is counted. */
Hearth__V1__EgressTraffic **wire_traffic(Arena *arena, const EgressState *state, size_t *count);
Hearth__V1__EgressLead **wire_leads(Arena *arena, const EgressState *state, size_t *count);
