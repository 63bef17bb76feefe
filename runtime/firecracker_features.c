/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_features.h"

#include "base/text.h"

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

static bool has_initrd(const VmSpec *spec)
{
	return spec->boot && !text_equal(spec->boot->initrd_path, "");
}

static bool has_drives(const VmSpec *spec)
{
	return spec->drives.count > 0;
}

static bool has_bzimage(const VmSpec *spec)
{
	return spec->boot && !text_equal(spec->boot->kernel_path, "") &&
	       firecracker_is_bzimage(spec->boot->kernel_path);
}

/* clang-format off */
static const Feature features[] = {
	{ "vmm_version",                            { 0, 20, 0 },  NULL },        /* GET / */
	{ "machine",                                { 0, 17, 0 },  NULL },        /* PUT /machine-config */
	{ "pause",                                  { 0, 23, 0 },  NULL },        /* PATCH /vm */
	{ "entropy",                                { 1, 4, 0 },   NULL },        /* PUT /entropy */
	{ "console",                                { 1, 14, 0 },  NULL },        /* PUT /serial: serial_out_path */
	{ "spec.drives",                            { 0, 5, 0 },   has_drives },  /* PUT /drives */
	{ "spec.boot.initrd_path",                  { 0, 21, 0 },  has_initrd },
	{ "spec.boot.kernel_path being a bzImage",  { 1, 17, 0 },  has_bzimage },
};
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
