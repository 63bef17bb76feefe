/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "runtime/spec.h"

/* The spec whose JSON is @text, which is one: Criterion suites only. For spec_unref(). */
VmSpec *spec_from_text(const char *text);
