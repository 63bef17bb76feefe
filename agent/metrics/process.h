/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What hearthd itself uses, under the names that all exporters give it. */

#include "agent/metrics/text.h"

void metrics_process(MetricsText *text);
