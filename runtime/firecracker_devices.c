/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_json.h"

#include <assert.h>
#include <string.h>

static const char *const cache_words[] = {
	[VM_CACHE_UNSAFE] = "Unsafe",
	[VM_CACHE_WRITEBACK] = "Writeback",
};
static_assert(array_size(cache_words) == VM_CACHE_COUNT_, "a word for each type");

static const char *const io_words[] = {
	[VM_IO_SYNC] = "Sync",
	[VM_IO_ASYNC] = "Async",
};
static_assert(array_size(io_words) == VM_IO_COUNT_, "a word for each engine");

static void set_text(json_t *body, const char *key, const char *text)
{
	if (!text_equal(text, ""))
		(void)json_object_set_new(body, key, json_string(text));
}

static void set_limiter(json_t *body, const char *key, const VmRateLimiter *limiter)
{
	if (limiter)
		(void)json_object_set_new(body, key, firecracker_rate_limiter(limiter));
}

static void add_drive(FirecrackerBoot *boot, const VmDrive *drive, const char *path)
{
	cleanup_free char *id = firecracker_id(drive->drive_id);
	json_t *body = json_pack("{s:s, s:s, s:b, s:b}", "drive_id", id, "path_on_host", path,
				 "is_read_only", (int)drive->read_only, "is_root_device", 0);

	if (drive->cache_type)
		set_text(body, "cache_type", cache_words[drive->cache_type]);
	if (drive->io_engine)
		set_text(body, "io_engine", io_words[drive->io_engine]);
	set_limiter(body, "rate_limiter", drive->rate_limiter);
	firecracker_boot_add(boot, text_printf("/drives/%s", id), body);
}

static void add_interface(FirecrackerBoot *boot, const VmInterface *interface,
			  const VmResolvedInterface *tap)
{
	cleanup_free char *id = firecracker_id(interface->interface_id);
	json_t *body = json_pack("{s:s, s:s}", "iface_id", id, "host_dev_name", tap->host_device);

	set_text(body, "guest_mac", tap->guest_mac ? tap->guest_mac : interface->guest_mac);
	if (interface->mtu)
		(void)json_object_set_new(body, "mtu", json_integer(interface->mtu));
	set_limiter(body, "rx_rate_limiter", interface->rx_rate_limiter);
	set_limiter(body, "tx_rate_limiter", interface->tx_rate_limiter);
	firecracker_boot_add(boot, text_printf("/network-interfaces/%s", id), body);
}

static void add_vsock(FirecrackerBoot *boot, const VmVsock *vsock, const char *path)
{
	uint32_t cid = vsock->guest_cid ? vsock->guest_cid : SPEC_DEFAULT_CID;

	firecracker_boot_add(
		boot, text_dup("/vsock"),
		json_pack("{s:I, s:s}", "guest_cid", (json_int_t)cid, "uds_path", path));
}

static void add_balloon(FirecrackerBoot *boot, const VmBalloon *balloon)
{
	json_t *body = json_pack("{s:I, s:b}", "amount_mib", (json_int_t)balloon->amount_mib,
				 "deflate_on_oom", (int)balloon->deflate_on_oom);

	if (balloon->stats_interval)
		(void)json_object_set_new(body, "stats_polling_interval_s",
					  json_integer(balloon->stats_interval / USEC_PER_SEC));
	if (balloon->free_page_hinting)
		(void)json_object_set_new(body, "free_page_hinting", json_true());
	if (balloon->free_page_reporting)
		(void)json_object_set_new(body, "free_page_reporting", json_true());
	firecracker_boot_add(boot, text_dup("/balloon"), body);
}

static void add_entropy(FirecrackerBoot *boot, const VmRateLimiter *limiter)
{
	json_t *body = json_object();

	set_limiter(body, "rate_limiter", limiter);
	firecracker_boot_add(boot, text_dup("/entropy"), body);
}

/* Behind the interfaces, which it names. */
static void add_mmds(FirecrackerBoot *boot, const VmSpec *spec, const VmMmds *mmds)
{
	json_t *ids = json_array(), *body;

	for (size_t i = 0; i < spec->network_interfaces.count; i++) {
		const VmInterface *interface = spec_interface(spec, i);
		cleanup_free char *id = firecracker_id(interface->interface_id);

		if (interface->mmds)
			(void)json_array_append_new(ids, json_string(id));
	}
	body = json_pack("{s:s, s:o}", "version", "V2", "network_interfaces", ids);
	set_text(body, "ipv4_address", mmds->ipv4_address);
	if (mmds->imds_compat)
		(void)json_object_set_new(body, "imds_compat", json_true());
	firecracker_boot_add(boot, text_dup("/mmds/config"), body);
	if (!text_equal(mmds->content, ""))
		firecracker_boot_add(boot, text_dup("/mmds"), json_loads(mmds->content, 0, NULL));
}

void firecracker_devices(FirecrackerBoot *boot, const FirecrackerPlan *plan)
{
	const VmSpec *spec = plan->spec;

	for (size_t i = 0; i < spec->drives.count; i++)
		add_drive(boot, spec_drive(spec, i), plan->paths->drives[i]);
	for (size_t i = 0; i < spec->network_interfaces.count; i++)
		add_interface(boot, spec_interface(spec, i), &plan->taps[i]);
	if (spec_vsock(spec))
		add_vsock(boot, spec_vsock(spec), plan->paths->vsock);
	if (spec_balloon(spec))
		add_balloon(boot, spec_balloon(spec));
	add_entropy(boot, spec_entropy_limiter(spec));
	if (spec_mmds(spec))
		add_mmds(boot, spec, spec_mmds(spec));
}
