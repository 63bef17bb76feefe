/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The series that each VM has of its own. */

#include "agent/metrics/text.h"
#include "runtime/runtime.h"

/* @all: with what its VMM has counted, as it told last. A VM that ends meanwhile has none. */
void metrics_vms(MetricsText *text, Runtime *runtime, bool all);
