/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host's files that a VmSpec names: kernel, initrd, drives. Looks at the
 * host and changes nothing; safe from any thread.
 */

#include "base/error.h"
#include "runtime/spec.h"

/*
 * Adds to @err a violation for each that @backend cannot use as it is, or that lies in none of
 * @image_dirs (image_path_resolve()).
 */
void spec_files_check(const VmSpec *spec, const char *backend, const char *image_dirs, Error *err);
/* The same for drive @i alone. */
void spec_files_check_drive(const VmSpec *spec, size_t i, const char *image_dirs, Error *err);
