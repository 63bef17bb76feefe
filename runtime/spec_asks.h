/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Does a spec ask for a thing that not every backend, or not every version of one, has? For the
 * tables of what they have. Safe from any thread. */

#include "runtime/spec.h"

bool spec_asks_initrd(const VmSpec *spec);
bool spec_asks_smt(const VmSpec *spec);
bool spec_asks_huge_pages(const VmSpec *spec); /* other than NONE */
bool spec_asks_transparent_pages(const VmSpec *spec);
bool spec_asks_cpu_template(const VmSpec *spec);
bool spec_asks_cpu_config(const VmSpec *spec);
bool spec_asks_dirty_tracking(const VmSpec *spec);
bool spec_asks_drives(const VmSpec *spec);
bool spec_asks_cache_type(const VmSpec *spec);
bool spec_asks_io_engine(const VmSpec *spec);
bool spec_asks_drive_limit(const VmSpec *spec);
bool spec_asks_interfaces(const VmSpec *spec);
bool spec_asks_mtu(const VmSpec *spec);
bool spec_asks_vsock(const VmSpec *spec);
bool spec_asks_balloon(const VmSpec *spec);
bool spec_asks_hinting(const VmSpec *spec);
bool spec_asks_reporting(const VmSpec *spec);
bool spec_asks_interface_limit(const VmSpec *spec);
bool spec_asks_entropy_limit(const VmSpec *spec);
bool spec_asks_mmds(const VmSpec *spec);
bool spec_asks_imds(const VmSpec *spec);
bool spec_asks_limits(const VmSpec *spec);
