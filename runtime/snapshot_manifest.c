/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshot_manifest.h"

#include "base/text.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char id_bytes[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
static const char hex_bytes[] = "0123456789abcdef";

enum {
	NAME_MAX_BYTES = 80,
	FILES_MAX = SPEC_DRIVES_MAX + 2,
};

/* clang-format off */
#define AT(member) .offset = offsetof(SnapshotFile, member)
static const Field file_fields[] = {
	{ "name",   FIELD_TEXT, AT(name), .min = 1, .max = NAME_MAX_BYTES, .accept = id_bytes,
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "size",   FIELD_U64,  AT(size), .max = INT64_MAX },
	{ "sha256", FIELD_TEXT, AT(sha256), .min = DISK_DIGEST_SIZE - 1, .max = DISK_DIGEST_SIZE - 1,
	  .accept = hex_bytes, .flags = FIELD_REQUIRED },
};
#undef AT
const FieldTable snapshot_file_table = {
	"SnapshotFile", sizeof(SnapshotFile), file_fields, array_size(file_fields),
};

#define AT(member) .offset = offsetof(SnapshotDrive, member)
static const Field drive_fields[] = {
	{ "drive_id", FIELD_TEXT, AT(drive_id), .min = 1, .max = 32, .accept = id_bytes,
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "vmm_name", FIELD_TEXT, AT(vmm_name), .max = PATH_MAX - 1 },
	{ "file",     FIELD_TEXT, AT(file), .min = 1, .max = NAME_MAX_BYTES, .accept = id_bytes,
	  .flags = FIELD_REQUIRED },
};
#undef AT
const FieldTable snapshot_drive_table = {
	"SnapshotDrive", sizeof(SnapshotDrive), drive_fields, array_size(drive_fields),
};

#define AT(member) .offset = offsetof(SnapshotManifest, member)
static const Field manifest_fields[] = {
	{ "vm_id",       FIELD_TEXT, AT(vm_id), .min = 1, .max = 63, .accept = id_bytes, .flags = FIELD_REQUIRED },
	{ "snapshot_id", FIELD_TEXT, AT(snapshot_id), .min = 1, .max = 63, .accept = id_bytes,
	  .flags = FIELD_REQUIRED },
	{ "uid",         FIELD_TEXT, AT(uid), .max = 255 },
	{ "tenant",      FIELD_TEXT, AT(tenant), .max = 255 },
	{ "request",     FIELD_TEXT, AT(request), .max = DISK_DIGEST_SIZE - 1, .accept = hex_bytes },
	{ "labels",      FIELD_MAP,  AT(labels), .max = SNAPSHOT_LABELS_MAX },
	{ "create_time", FIELD_TIME, AT(create_time) },
	{ "backend",     FIELD_ENUM, AT(backend), .names = vm_backend_names, .name_count = VM_BACKEND_COUNT_,
	  .flags = FIELD_REQUIRED },
	{ "vmm_version", FIELD_TEXT, AT(vmm_version), .max = 255 },
	{ "accelerator", FIELD_TEXT, AT(accelerator), .max = 255 },
	{ "cpu_model",   FIELD_TEXT, AT(cpu_model), .max = 255 },
	{ "kernel",      FIELD_TEXT, AT(kernel), .max = 255 },
	{ "files",       FIELD_LIST, AT(files), .table = &snapshot_file_table, .max = FILES_MAX },
	{ "drives",      FIELD_LIST, AT(drives), .table = &snapshot_drive_table, .max = SPEC_DRIVES_MAX },
};
#undef AT
/* clang-format on */
const FieldTable snapshot_manifest_table = {
	"SnapshotManifest",
	sizeof(SnapshotManifest),
	manifest_fields,
	array_size(manifest_fields),
};

static const Field labels_fields[] = {
	{ "labels", FIELD_MAP, .offset = offsetof(SnapshotManifest, labels),
	  .max = SNAPSHOT_LABELS_MAX },
};
const FieldTable snapshot_labels_table = {
	"SnapshotLabels",
	sizeof(SnapshotManifest),
	labels_fields,
	array_size(labels_fields),
};

SnapshotManifest *snapshot_manifest_new(void)
{
	return new0(SnapshotManifest);
}

void snapshot_manifest_free(SnapshotManifest *manifest)
{
	if (!manifest)
		return;
	spec_unref(manifest->spec);
	fields_clear(&snapshot_manifest_table, manifest);
	free(manifest);
}

SnapshotManifest *snapshot_manifest_copy(const SnapshotManifest *manifest)
{
	SnapshotManifest *copy = snapshot_manifest_new();

	fields_copy(&snapshot_manifest_table, copy, manifest);
	copy->spec = manifest->spec ? spec_ref(manifest->spec) : NULL;
	return copy;
}

static void digest_of(char ret[static DISK_DIGEST_SIZE], const json_t *json)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	cleanup_free char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	assert(text);
	disk_hasher_add(hasher, text, strlen(text));
	disk_hasher_end(hasher, ret);
}

char *snapshot_manifest_to_text(const SnapshotManifest *manifest)
{
	json_t *snapshot = fields_to_json(&snapshot_manifest_table, manifest), *whole;
	char digest[DISK_DIGEST_SIZE];
	char *text;

	(void)json_object_set_new(snapshot, "spec", fields_to_json(&vm_spec_table, manifest->spec));
	digest_of(digest, snapshot);
	whole = json_pack("{s:i, s:s, s:o}", "version", SNAPSHOT_FORMAT, "sha256", digest,
			  "snapshot", snapshot);
	text = json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(whole);
	assert(text);
	return text;
}

/* Do the drives' files stand in the list, and is there one for each drive of the spec? */
static bool is_whole(const SnapshotManifest *manifest)
{
	const SnapshotDrive *drives = manifest->drives.items;
	const SnapshotFile *files = manifest->files.items;

	if (!text_is_id(manifest->vm_id) || !text_is_id(manifest->snapshot_id) ||
	    manifest->drives.count != manifest->spec->drives.count)
		return false;
	for (size_t i = 0; i < manifest->drives.count; i++) {
		size_t k = 0;

		while (k < manifest->files.count && strcmp(files[k].name, drives[i].file) != 0)
			k++;
		if (k == manifest->files.count ||
		    !text_equal(drives[i].drive_id, spec_drive(manifest->spec, i)->drive_id))
			return false;
	}
	return true;
}

/* What stands behind "snapshot". */
static int parse(SnapshotManifest **ret, const json_t *json)
{
	cleanup_(snapshot_manifest_freep) SnapshotManifest *manifest = snapshot_manifest_new();
	const json_t *spec = json_object_get(json, "spec");
	Error bad = { 0 };

	manifest->spec = spec_new();
	if (fields_from_json(&snapshot_manifest_table, manifest, json) < 0 ||
	    fields_from_json(&vm_spec_table, manifest->spec, spec) < 0)
		return -EINVAL;
	fields_check(&snapshot_manifest_table, manifest, "snapshot", &bad);
	if (error_is_set(&bad) || !is_whole(manifest))
		return -EINVAL;
	*ret = take_ptr(manifest);
	return 0;
}

int snapshot_manifest_from_text(SnapshotManifest **ret, const char *text)
{
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *snapshot = NULL;
	char digest[DISK_DIGEST_SIZE];
	const char *noted = "";
	json_int_t version = 0;
	int r = -EINVAL;

	if (json_unpack(json, "{s:I, s:s, s:o}", "version", &version, "sha256", &noted, "snapshot",
			&snapshot) == 0 &&
	    version == SNAPSHOT_FORMAT && json_is_object(snapshot) &&
	    json_is_object(json_object_get(snapshot, "spec"))) {
		digest_of(digest, snapshot);
		r = strcmp(digest, noted) == 0 ? parse(ret, snapshot) : -EINVAL;
	}
	json_decref(json);
	return r;
}

typedef struct Version {
	unsigned major, minor, patch;
} Version;

/* What of @text are digits and dots at its beginning. */
static Version version_of(const char *text)
{
	Version version = { 0 };

	/* NOLINTNEXTLINE(cert-err34-c): what does not fit is another version anyway */
	(void)sscanf(text ? text : "", "%u.%u.%u", &version.major, &version.minor, &version.patch);
	return version;
}

static bool version_fits(VmBackend backend, const char *then, const char *now)
{
	const Version a = version_of(then), b = version_of(now);

	if (backend == VM_BACKEND_FIRECRACKER)
		return a.major == b.major && a.minor <= b.minor;
	return a.major == b.major && a.minor == b.minor;
}

static char *against(char *at, char *end, const char *what, const char *then, const char *now)
{
	return text_append(at, end, "; it was taken with %s %s, and here is %s", what,
			   text_equal(then, "") ? "none" : then,
			   text_equal(now, "") ? "none" : now);
}

int snapshot_manifest_check(const SnapshotManifest *manifest, const SnapshotHost *host, Error *err)
{
	char words[ERROR_WHAT_MAX / 2] = "", *at = words, *end = words + sizeof words;

	if (!version_fits(manifest->backend, manifest->vmm_version, host->vmm_version))
		at = against(at, end, vm_backend_name(manifest->backend), manifest->vmm_version,
			     host->vmm_version);
	if (!text_equal(manifest->accelerator, host->accelerator ? host->accelerator : ""))
		at = against(at, end, "accelerator", manifest->accelerator, host->accelerator);
	if (text_equal(manifest->accelerator, "kvm") &&
	    !text_equal(manifest->cpu_model, host->cpu_model ? host->cpu_model : ""))
		at = against(at, end, "CPU", manifest->cpu_model, host->cpu_model);
	if (at == words)
		return 0;
	return error_set(err, ERROR_UNSUPPORTED,
			 "snapshot '%s' of vm '%s' cannot be restored here%s",
			 manifest->snapshot_id, manifest->vm_id, words);
}
