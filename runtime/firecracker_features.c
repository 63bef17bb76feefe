/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_features.h"

#include "base/text.h"
#include "runtime/spec_asks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BZIMAGE_MAGIC_AT = 0x202, /* of the x86 boot protocol */
};

typedef struct Feature {
	const char *field;
	FirecrackerVersion since;
	bool (*is_needed)(const VmSpec *spec); /* NULL: always */
} Feature;

static bool has_bzimage(const VmSpec *spec)
{
	return spec->boot && !text_equal(spec->boot->kernel_path, "") &&
	       firecracker_is_bzimage(spec->boot->kernel_path);
}

static bool has_template(const VmSpec *spec, VmCpuTemplate cpu_template)
{
	return spec->machine && spec->machine->cpu_template == cpu_template;
}

static bool has_t2s(const VmSpec *spec)
{
	return has_template(spec, VM_CPU_TEMPLATE_T2S);
}

static bool has_t2cl(const VmSpec *spec)
{
	return has_template(spec, VM_CPU_TEMPLATE_T2CL);
}

static bool has_t2a(const VmSpec *spec)
{
	return has_template(spec, VM_CPU_TEMPLATE_T2A);
}

static bool has_v1n1(const VmSpec *spec)
{
	return has_template(spec, VM_CPU_TEMPLATE_V1N1);
}

/* clang-format off */
static const Feature features[] = {
	{ "vmm_version",                            { 0, 20, 0 },  NULL },        /* GET / */
	{ "machine",                                { 0, 17, 0 },  NULL },        /* PUT /machine-config */
	{ "pause",                                  { 0, 23, 0 },  NULL },        /* PATCH /vm */
	{ "metrics",                                { 0, 22, 0 },  NULL },        /* PUT /metrics */
	{ "body sizes",                             { 1, 1, 0 },   NULL },        /* --http-api-max-payload-size, --mmds-size-limit */
	{ "entropy",                                { 1, 4, 0 },   NULL },        /* PUT /entropy */
	{ "console",                                { 1, 14, 0 },  NULL },        /* PUT /serial: serial_out_path */
	{ "spec.drives",                            { 0, 5, 0 },   spec_asks_drives },  /* PUT /drives */
	{ "spec.drives.rate_limiter",               { 0, 5, 0 },   spec_asks_drive_limit },
	{ "spec.drives.cache_type",                 { 0, 25, 0 },  spec_asks_cache_type },
	{ "spec.drives.io_engine",                  { 1, 0, 0 },   spec_asks_io_engine },
	{ "spec.boot.initrd_path",                  { 0, 21, 0 },  spec_asks_initrd },
	{ "spec.boot.kernel_path being a bzImage",  { 1, 17, 0 },  has_bzimage },
	{ "spec.machine.smt",                       { 1, 0, 0 },   spec_asks_smt },     /* ht_enabled before */
	{ "spec.machine.huge_pages",                { 1, 7, 0 },   spec_asks_huge_pages },
	{ "spec.machine.huge_pages TRANSPARENT",    { 1, 17, 0 },  spec_asks_transparent_pages },
	{ "spec.machine.cpu_template",              { 0, 5, 0 },   spec_asks_cpu_template },
	{ "spec.machine.cpu_template T2S",          { 1, 1, 1 },   has_t2s },
	{ "spec.machine.cpu_template T2CL",         { 1, 3, 0 },   has_t2cl },
	{ "spec.machine.cpu_template T2A",          { 1, 3, 0 },   has_t2a },
	{ "spec.machine.cpu_template V1N1",         { 1, 4, 0 },   has_v1n1 },
	{ "spec.machine.cpu_config",                { 1, 4, 0 },   spec_asks_cpu_config },
	{ "spec.machine.track_dirty_pages",         { 0, 23, 0 },  spec_asks_dirty_tracking },
	{ "spec.network_interfaces",                { 0, 5, 0 },   spec_asks_interfaces },
	{ "spec.network_interfaces.mtu",            { 1, 16, 0 },  spec_asks_mtu },
	{ "spec.devices.vsock",                     { 0, 19, 0 },  spec_asks_vsock },
	{ "spec.devices.balloon",                   { 0, 25, 0 },  spec_asks_balloon }, /* amount_mib: amount_mb before */
	{ "spec.devices.balloon.free_page_hinting", { 1, 14, 0 },  spec_asks_hinting },
	{ "spec.devices.balloon.free_page_reporting", { 1, 14, 0 }, spec_asks_reporting },
	{ "spec.devices.mmds",                      { 1, 0, 0 },   spec_asks_mmds },    /* PUT /mmds/config: version V2 */
	{ "spec.devices.mmds.imds_compat",          { 1, 13, 0 },  spec_asks_imds },
};

static const FirecrackerVersion serial_limit = { 1, 16, 0 }; /* PUT /serial: rate_limiter */
/* clang-format on */

bool firecracker_version_parse(FirecrackerVersion *ret, const char *text)
{
	FirecrackerVersion version = { 0 };
	unsigned *const parts[] = { &version.major, &version.minor, &version.patch };
	const char *at = text + strcspn(text, "0123456789\n");

	for (size_t i = 0; i < array_size(parts); i++) {
		char *end;
		unsigned long part;

		if (*at < '0' || *at > '9')
			return false;
		part = strtoul(at, &end, 10);
		if (part > 9999 || (i < 2 && *end != '.'))
			return false;
		*parts[i] = (unsigned)part;
		at = end + 1;
	}
	*ret = version;
	return true;
}

bool firecracker_is_bzimage(const char *path)
{
	static const char magic[] = { 'H', 'd', 'r', 'S' };
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char found[sizeof magic];

	return fd >= 0 &&
	       pread(fd, found, sizeof found, BZIMAGE_MAGIC_AT) == (ssize_t)sizeof found &&
	       memcmp(found, magic, sizeof magic) == 0;
}

static bool is_older(const FirecrackerVersion *a, const FirecrackerVersion *b)
{
	if (a->major != b->major)
		return a->major < b->major;
	return a->minor != b->minor ? a->minor < b->minor : a->patch < b->patch;
}

int firecracker_features_check(const FirecrackerVersion *version, const VmSpec *spec, Error *err)
{
	char lacks[ERROR_WHAT_MAX - 64] = "";
	char *at = lacks;

	for (size_t i = 0; i < array_size(features); i++) {
		const Feature *feature = &features[i];

		if (!is_older(version, &feature->since) ||
		    (feature->is_needed && !(spec && feature->is_needed(spec))))
			continue;
		at = text_append(at, lacks + sizeof lacks, "%s%s (since %u.%u.%u)",
				 at == lacks ? "" : ", ", feature->field, feature->since.major,
				 feature->since.minor, feature->since.patch);
	}
	return at == lacks ? 0
			   : error_set(err, ERROR_UNSUPPORTED, "firecracker %u.%u.%u lacks %s",
				       version->major, version->minor, version->patch, lacks);
}

bool firecracker_has_serial_limit(const FirecrackerVersion *version)
{
	return !is_older(version, &serial_limit);
}
