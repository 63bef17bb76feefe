/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshot_host.h"

#include "base/file.h"
#include "base/text.h"

#include <string.h>
#include <sys/utsname.h>

enum {
	CPUINFO_MAX = 8 << 20,
	VERSION_PARTS = 2, /* that are compared */
};

/* What /proc/cpuinfo calls that which tells one processor from another; x86, then ARM. */
static const char *const vendors[] = { "vendor_id", "CPU implementer" };
static const struct {
	const char *key, *says;
} models[] = {
	{ "model name", "" },
	{ "cpu family", "family " },
	{ "model", "model " },
	{ "stepping", "stepping " },
	{ "CPU architecture", "architecture " },
	{ "CPU variant", "variant " },
	{ "CPU part", "part " },
	{ "CPU revision", "revision " },
};

/* The value of @key in its first line, with its length; NULL: there is none. */
static const char *find(const char *cpuinfo, const char *key, size_t *length)
{
	size_t key_length = strlen(key);

	for (const char *line = cpuinfo; line; line = strchr(line, '\n')) {
		const char *at;

		line += *line == '\n';
		at = line + key_length;
		if (strncmp(line, key, key_length) != 0)
			continue;
		at += strspn(at, " \t");
		if (*at != ':')
			continue;
		at++;
		at += strspn(at, " \t");
		*length = strcspn(at, "\n");
		return at;
	}
	return NULL;
}

static char *append_vendor(char *at, const char *end, const char *cpuinfo)
{
	for (size_t i = 0; i < array_size(vendors); i++) {
		size_t length;
		const char *value = find(cpuinfo, vendors[i], &length);

		if (value)
			return text_append(at, end, "%.*s", (int)length, value);
	}
	return at;
}

static void append_model(char *ret, const char *end, const char *cpuinfo)
{
	char *at = ret;

	for (size_t i = 0; i < array_size(models); i++) {
		size_t length;
		const char *value = find(cpuinfo, models[i].key, &length);

		if (value)
			at = text_append(at, end, "%s%s%.*s", at == ret ? "" : ", ", models[i].says,
					 (int)length, value);
	}
}

void snapshot_host_read(SnapshotHost *ret, const char *cpuinfo)
{
	cleanup_free char *text = NULL;
	struct utsname name;

	ret->cpu_vendor[0] = ret->cpu_model[0] = ret->kernel[0] = '\0';
	if (uname(&name) == 0)
		text_copy(ret->kernel, sizeof ret->kernel, name.release);
	if (file_read(&text, NULL, cpuinfo, CPUINFO_MAX) < 0)
		return;
	(void)append_vendor(ret->cpu_vendor, ret->cpu_vendor + sizeof ret->cpu_vendor, text);
	append_model(ret->cpu_model, ret->cpu_model + sizeof ret->cpu_model, text);
}

void snapshot_host_describe(const SnapshotHost *host, SnapshotManifest *manifest)
{
	snapshot_set(&manifest->backend, host->backend);
	snapshot_set(&manifest->vmm_version, host->vmm_version);
	snapshot_set(&manifest->vmm_format, host->vmm_format);
	snapshot_set(&manifest->accelerator, host->accelerator);
	snapshot_set(&manifest->cpu_vendor, host->cpu_vendor);
	snapshot_set(&manifest->cpu_model, host->cpu_model);
	snapshot_set(&manifest->kernel, host->kernel);
}

/* The first numbers of "8.2.1" or "v1.16.0-dev". */
static bool parse_version(uint64_t ret[static VERSION_PARTS], const char *text)
{
	text += *text == 'v';
	for (size_t i = 0; i < VERSION_PARTS; i++) {
		char number[24];
		size_t length = strspn(text, "0123456789");

		text_copy(number, length < sizeof number ? length + 1 : sizeof number, text);
		if (text_to_u64(&ret[i], number) < 0)
			return false;
		text += length;
		if (i + 1 < VERSION_PARTS && *text++ != '.')
			return false;
	}
	return true;
}

static bool fits_format(const char *of_snapshot, const char *here)
{
	uint64_t theirs[VERSION_PARTS], ours[VERSION_PARTS];

	return parse_version(theirs, of_snapshot) && parse_version(ours, here) &&
	       theirs[0] == ours[0] && theirs[1] <= ours[1];
}

static bool fits_version(const SnapshotManifest *manifest, const SnapshotHost *host)
{
	uint64_t theirs[VERSION_PARTS], ours[VERSION_PARTS];

	if (text_equal(manifest->vmm_version, host->vmm_version))
		return true;
	return text_equal(manifest->backend, "qemu") && manifest->vmm_version &&
	       parse_version(theirs, manifest->vmm_version) &&
	       parse_version(ours, host->vmm_version) && theirs[0] == ours[0] &&
	       theirs[1] == ours[1];
}

static const char *or_none(const char *text)
{
	return text && *text ? text : "none";
}

/* One more thing that does not fit. */
static char *append_misfit(char *at, const char *end, const char *what, const char *theirs,
			   const char *ours)
{
	return text_append(at, end, "; its %s is %s, and here it is %s", what, or_none(theirs),
			   or_none(ours));
}

static char *append_version(char *at, const char *end, const SnapshotManifest *manifest,
			    const SnapshotHost *host)
{
	bool has_format = manifest->vmm_format && *manifest->vmm_format && *host->vmm_format;

	if (has_format && !fits_format(manifest->vmm_format, host->vmm_format))
		return append_misfit(at, end, "state format", manifest->vmm_format,
				     host->vmm_format);
	if (!has_format && !fits_version(manifest, host))
		return append_misfit(at, end, "VMM version", manifest->vmm_version,
				     host->vmm_version);
	return at;
}

static char *append_cpu(char *at, const char *end, const SnapshotManifest *manifest,
			const SnapshotHost *host)
{
	if (!text_equal(manifest->accelerator, "kvm"))
		return at;
	if (!text_equal(manifest->cpu_vendor, host->cpu_vendor))
		at = append_misfit(at, end, "processor's vendor", manifest->cpu_vendor,
				   host->cpu_vendor);
	if (!text_equal(manifest->cpu_model, host->cpu_model))
		at = append_misfit(at, end, "processor", manifest->cpu_model, host->cpu_model);
	return at;
}

int snapshot_check_host(const SnapshotManifest *manifest, const SnapshotHost *host, Error *err)
{
	char misfits[ERROR_WHAT_MAX] = "";
	const char *end = misfits + sizeof misfits;
	char *at = misfits;

	if (!text_equal(manifest->backend, host->backend)) {
		at = append_misfit(at, end, "backend", manifest->backend, host->backend);
	} else if (!host->available) {
		at = text_append(at, end, "; %s cannot run here: %s", host->backend, host->message);
	} else {
		at = append_version(at, end, manifest, host);
		if (!text_equal(manifest->accelerator, host->accelerator))
			at = append_misfit(at, end, "accelerator", manifest->accelerator,
					   host->accelerator);
		at = append_cpu(at, end, manifest, host);
	}
	if (at == misfits)
		return 0;
	(void)error_set(err, ERROR_UNSUPPORTED, "snapshot '%s' of vm '%s' cannot be loaded here%s",
			manifest->snapshot_id, manifest->vm_id, misfits);
	error_about_snapshot(err, manifest->vm_id, manifest->snapshot_id);
	return -1;
}
