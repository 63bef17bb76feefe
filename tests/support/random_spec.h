/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Specs with values by chance in all fields that the tables have, new ones
 * too, such that spec_check() passes them. srandom() says which. Files they
 * name are not there.
 */

#include "runtime/spec.h"

VmSpec *random_spec_new(void);
