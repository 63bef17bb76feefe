/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec_asks.h"

#include "base/text.h"

bool spec_asks_initrd(const VmSpec *spec)
{
	return spec->boot && !text_equal(spec->boot->initrd_path, "");
}

bool spec_asks_smt(const VmSpec *spec)
{
	return spec->machine && spec->machine->smt;
}

bool spec_asks_huge_pages(const VmSpec *spec)
{
	return spec->machine && spec->machine->huge_pages > VM_HUGE_PAGES_NONE;
}

bool spec_asks_transparent_pages(const VmSpec *spec)
{
	return spec->machine && spec->machine->huge_pages == VM_HUGE_PAGES_TRANSPARENT;
}

bool spec_asks_cpu_template(const VmSpec *spec)
{
	return spec->machine && spec->machine->cpu_template;
}

bool spec_asks_cpu_config(const VmSpec *spec)
{
	return spec->machine && !text_equal(spec->machine->cpu_config, "");
}

bool spec_asks_dirty_tracking(const VmSpec *spec)
{
	return spec->machine && spec->machine->track_dirty_pages;
}

bool spec_asks_drives(const VmSpec *spec)
{
	return spec->drives.count > 0;
}

bool spec_asks_cache_type(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++)
		if (spec_drive(spec, i)->cache_type)
			return true;
	return false;
}

bool spec_asks_io_engine(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++)
		if (spec_drive(spec, i)->io_engine)
			return true;
	return false;
}

bool spec_asks_drive_limit(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++)
		if (spec_drive(spec, i)->rate_limiter)
			return true;
	return false;
}

bool spec_asks_interfaces(const VmSpec *spec)
{
	return spec->network_interfaces.count > 0;
}

bool spec_asks_mtu(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->network_interfaces.count; i++)
		if (spec_interface(spec, i)->mtu)
			return true;
	return false;
}

bool spec_asks_interface_limit(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->network_interfaces.count; i++)
		if (spec_interface(spec, i)->rx_rate_limiter ||
		    spec_interface(spec, i)->tx_rate_limiter)
			return true;
	return false;
}

bool spec_asks_vsock(const VmSpec *spec)
{
	return spec_vsock(spec);
}

bool spec_asks_balloon(const VmSpec *spec)
{
	return spec_balloon(spec);
}

bool spec_asks_hinting(const VmSpec *spec)
{
	return spec_balloon(spec) && spec_balloon(spec)->free_page_hinting;
}

bool spec_asks_reporting(const VmSpec *spec)
{
	return spec_balloon(spec) && spec_balloon(spec)->free_page_reporting;
}

bool spec_asks_entropy_limit(const VmSpec *spec)
{
	return spec_entropy_limiter(spec);
}

bool spec_asks_mmds(const VmSpec *spec)
{
	return spec_mmds(spec);
}

bool spec_asks_imds(const VmSpec *spec)
{
	return spec_mmds(spec) && spec_mmds(spec)->imds_compat;
}

bool spec_asks_limits(const VmSpec *spec)
{
	return spec->limits;
}
