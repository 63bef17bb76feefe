/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Calls that are over, counted by method and code. From any thread. */

#include "agent/metrics/text.h"
#include "agent/server.h"

/* What is no method of hearthd counts as one, whatever it was called. */
void rpcs_note(const ServerFinished *call);

void rpcs_write(MetricsText *text);
