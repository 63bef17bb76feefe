/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec_lacks.h"

#include "base/text.h"
#include "runtime/spec_asks.h"

typedef struct Part {
	const char *field;
	unsigned needs;
	bool (*is_asked)(const VmSpec *spec);
} Part;

/* clang-format off */
static const Part parts[] = {
	{ "spec.machine.smt",                  SPEC_HAS_DEVICES, spec_asks_smt },
	{ "spec.machine.huge_pages",           SPEC_HAS_DEVICES, spec_asks_huge_pages },
	{ "spec.machine.cpu_template",         SPEC_HAS_DEVICES, spec_asks_cpu_template },
	{ "spec.machine.cpu_config",           SPEC_HAS_DEVICES, spec_asks_cpu_config },
	{ "spec.machine.track_dirty_pages",    SPEC_HAS_DEVICES, spec_asks_dirty_tracking },
	{ "spec.drives.cache_type",            SPEC_HAS_DEVICES, spec_asks_cache_type },
	{ "spec.drives.io_engine",             SPEC_HAS_DEVICES, spec_asks_io_engine },
	{ "spec.drives.rate_limiter",          SPEC_HAS_DEVICES, spec_asks_drive_limit },
	{ "spec.network_interfaces",           SPEC_HAS_DEVICES | SPEC_HAS_INTERFACES, spec_asks_interfaces },
	{ "spec.network_interfaces.rx_rate_limiter or tx_rate_limiter", SPEC_HAS_DEVICES, spec_asks_interface_limit },
	{ "spec.devices.vsock",                SPEC_HAS_DEVICES, spec_asks_vsock },
	{ "spec.devices.balloon",              SPEC_HAS_DEVICES, spec_asks_balloon },
	{ "spec.devices.entropy.rate_limiter", SPEC_HAS_DEVICES, spec_asks_entropy_limit },
	{ "spec.devices.mmds",                 SPEC_HAS_DEVICES, spec_asks_mmds },
	{ "spec.limits",                       SPEC_HAS_LIMITS,  spec_asks_limits },
};
/* clang-format on */

int spec_lacks_check(const VmSpec *spec, unsigned has, const char *name, Error *err)
{
	char lacks[ERROR_WHAT_MAX - 64] = "";
	char *at = lacks;

	for (size_t i = 0; i < array_size(parts); i++)
		if (!(parts[i].needs & has) && parts[i].is_asked(spec))
			at = text_append(at, lacks + sizeof lacks, "%s%s", at == lacks ? "" : ", ",
					 parts[i].field);
	return at == lacks ? 0 : error_set(err, ERROR_UNSUPPORTED, "%s: %s", name, lacks);
}
