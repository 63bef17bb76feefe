/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshot_manifest.h"

#include "base/text.h"
#include "runtime/snapshots/snapshot_shape.h"

#include <assert.h>
#include <string.h>

enum {
	FILE_NAME_MAX = 64,
};

/* The file: this, the seal, this, the manifest, this. */
static const char head[] = "{\"sha256\":\"";
static const char neck[] = "\",\"manifest\":";
static const char tail[] = "}\n";

enum {
	BODY_AT = sizeof head - 1 + DISK_DIGEST_SIZE - 1 + sizeof neck - 1,
	TAIL_SIZE = sizeof tail - 1,
};

static bool is_hexadecimal(const char *text)
{
	return text[strspn(text, "0123456789abcdef")] == '\0';
}

bool snapshot_is_file_name(const char *name)
{
	size_t length = strlen(name);

	return length >= 1 && length <= FILE_NAME_MAX && name[0] != '.' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       length &&
	       strcmp(name, SNAPSHOT_MANIFEST) != 0;
}

/* clang-format off */
#define TEXT(name, bytes, is)  { #name, SNAPSHOT_TYPE_TEXT,   false, offsetof(OF, name), (bytes), (is), NULL }
#define MUST(name, bytes, is)  { #name, SNAPSHOT_TYPE_TEXT,   true,  offsetof(OF, name), (bytes), (is), NULL }
#define NUMBER(name)           { #name, SNAPSHOT_TYPE_NUMBER, true,  offsetof(OF, name), INT64_MAX, NULL, NULL }
#define LIST(name, most, of)   { #name, SNAPSHOT_TYPE_LIST,   true,  offsetof(OF, name), (most), NULL, &(of) }

#define OF SnapshotLabel
static const SnapshotMember label_members[] = {
	MUST(key, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(value, SNAPSHOT_TEXT_MAX, NULL),
};
#undef OF
static const SnapshotShape label_shape = { sizeof(SnapshotLabel), label_members, array_size(label_members) };

#define OF SnapshotDrive
static const SnapshotMember drive_members[] = {
	MUST(drive_id, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(name, SNAPSHOT_PATH_MAX, NULL),
	MUST(file, FILE_NAME_MAX, snapshot_is_file_name),
	NUMBER(size),
};
#undef OF
static const SnapshotShape drive_shape = { sizeof(SnapshotDrive), drive_members, array_size(drive_members) };

#define OF SnapshotInterface
static const SnapshotMember interface_members[] = {
	MUST(interface_id, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(guest_mac, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(ipv4_address, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(ipv6_address, SNAPSHOT_TEXT_MAX, NULL),
};
#undef OF
static const SnapshotShape interface_shape = { sizeof(SnapshotInterface), interface_members, array_size(interface_members) };

#define OF SnapshotFile
static const SnapshotMember file_members[] = {
	MUST(name, FILE_NAME_MAX, snapshot_is_file_name),
	NUMBER(size),
	MUST(sha256, DISK_DIGEST_SIZE - 1, disk_digest_is_valid),
};
#undef OF
static const SnapshotShape file_shape = { sizeof(SnapshotFile), file_members, array_size(file_members) };

#define OF SnapshotManifest
static const SnapshotMember members[] = {
	NUMBER(format),
	NUMBER(minor),
	MUST(snapshot_id, ERROR_ID_MAX - 1, text_is_id),
	MUST(vm_id, ERROR_ID_MAX - 1, text_is_id),
	TEXT(tenant, SNAPSHOT_TEXT_MAX, NULL),
	MUST(uid, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(request, SNAPSHOT_TEXT_MAX, is_hexadecimal),
	NUMBER(created),
	{ "kind", SNAPSHOT_TYPE_KIND, true, offsetof(OF, kind), 0, NULL, NULL },
	TEXT(parent, ERROR_ID_MAX - 1, text_is_id),
	TEXT(parent_uid, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(memory_runs, DISK_DIGEST_SIZE - 1, disk_digest_is_valid),
	LIST(files, SNAPSHOT_FILES_MAX, file_shape),
	TEXT(vm_uid, SNAPSHOT_TEXT_MAX, NULL),
	LIST(labels, SNAPSHOT_LABELS_MAX, label_shape),
	MUST(backend, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(vmm_version, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(vmm_format, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(accelerator, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(cpu_vendor, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(cpu_model, SNAPSHOT_TEXT_MAX, NULL),
	TEXT(kernel, SNAPSHOT_TEXT_MAX, NULL),
	NUMBER(vcpus),
	NUMBER(memory_mib),
	MUST(spec, SNAPSHOT_SPEC_MAX, NULL),
	LIST(drives, SNAPSHOT_FILES_MAX, drive_shape),
	LIST(interfaces, SNAPSHOT_FILES_MAX, interface_shape),
	{ "guest_connected", SNAPSHOT_TYPE_BOOL, true, offsetof(OF, guest_connected), 0, NULL, NULL },
};
#undef OF
static const SnapshotShape manifest_shape = { sizeof(SnapshotManifest), members, array_size(members) };
/* clang-format on */

SnapshotManifest *snapshot_manifest_new(void)
{
	SnapshotManifest *manifest = new0(SnapshotManifest);

	atomic_init(&manifest->refs, 1);
	return manifest;
}

SnapshotManifest *snapshot_manifest_ref(SnapshotManifest *manifest)
{
	if (manifest)
		(void)atomic_fetch_add(&manifest->refs, 1);
	return manifest;
}

void snapshot_manifest_unref(SnapshotManifest *manifest)
{
	if (!manifest || atomic_fetch_sub(&manifest->refs, 1) > 1)
		return;
	snapshot_shape_clear(&manifest_shape, manifest);
	free(manifest);
}

void snapshot_set(char **text, const char *value)
{
	char *old = *text;

	*text = text_dup(value);
	free(old);
}

void snapshot_manifest_add_label(SnapshotManifest *manifest, const char *key, const char *value)
{
	SnapshotLabel *label = snapshot_list_add(&manifest->labels, sizeof *label);

	label->key = text_dup(key);
	label->value = text_dup(value);
}

void snapshot_manifest_add_drive(SnapshotManifest *manifest, const char *drive_id, const char *name)
{
	SnapshotDrive *drive = snapshot_list_add(&manifest->drives, sizeof *drive);

	drive->drive_id = text_dup(drive_id);
	drive->name = text_dup(name);
}

void snapshot_manifest_add_interface(SnapshotManifest *manifest, const SnapshotInterface *given)
{
	SnapshotInterface *interface = snapshot_list_add(&manifest->interfaces, sizeof *interface);

	interface->interface_id = text_dup(given->interface_id);
	interface->guest_mac = text_dup(given->guest_mac);
	interface->ipv4_address = text_dup(given->ipv4_address);
	interface->ipv6_address = text_dup(given->ipv6_address);
}

SnapshotFile *snapshot_manifest_add_file(SnapshotManifest *manifest, const char *name,
					 uint64_t size)
{
	SnapshotFile *file = snapshot_list_add(&manifest->files, sizeof *file);

	file->name = text_dup(name);
	file->size = size;
	return file;
}

SnapshotFile *snapshot_manifest_file(const SnapshotManifest *manifest, const char *name)
{
	for (size_t i = 0; i < manifest->files.count; i++)
		if (text_equal(snapshot_file_at(manifest, i)->name, name))
			return snapshot_file_at(manifest, i);
	return NULL;
}

SnapshotDrive *snapshot_manifest_drive(const SnapshotManifest *manifest, const char *drive_id)
{
	for (size_t i = 0; i < manifest->drives.count; i++)
		if (text_equal(snapshot_drive_at(manifest, i)->drive_id, drive_id))
			return snapshot_drive_at(manifest, i);
	return NULL;
}

/* Each drive has a file of its own. NULL, or what is wrong. */
static const char *check_drives(const SnapshotManifest *manifest)
{
	for (size_t i = 0; i < manifest->drives.count; i++) {
		const SnapshotDrive *drive = snapshot_drive_at(manifest, i);
		const SnapshotFile *file = snapshot_manifest_file(manifest, drive->file);

		if (snapshot_manifest_drive(manifest, drive->drive_id) != drive)
			return "a drive is there twice";
		if (strncmp(drive->file, SNAPSHOT_DISK_PREFIX, strlen(SNAPSHOT_DISK_PREFIX)) != 0 ||
		    strcmp(drive->file + strlen(SNAPSHOT_DISK_PREFIX), drive->drive_id) != 0 ||
		    !file || file->size != drive->size)
			return "a drive has no file";
	}
	return NULL;
}

/* What no table says. NULL, or what is wrong. */
static const char *check_whole(const SnapshotManifest *manifest)
{
	bool has_parent = manifest->parent && manifest->parent[0];
	bool has_uid = manifest->parent_uid && manifest->parent_uid[0];

	if (has_parent != (manifest->kind == SNAPSHOT_DIFF) || has_uid != has_parent)
		return "a diff has a parent, and nothing else has";
	if (has_parent && strcmp(manifest->parent, manifest->snapshot_id) == 0)
		return "it is its own parent";
	if (has_parent && (!manifest->memory_runs || !*manifest->memory_runs ||
			   !snapshot_manifest_file(manifest, SNAPSHOT_MEMORY_FILE)))
		return "a diff has no memory, or it is not said where";
	if (!manifest->files.count)
		return "there are no files";
	for (size_t i = 1; i < manifest->files.count; i++)
		if (strcmp(snapshot_file_at(manifest, i - 1)->name,
			   snapshot_file_at(manifest, i)->name) >= 0)
			return "the files are not in their order";
	return check_drives(manifest);
}

/* The seal and the inner object, which becomes the caller's to free; false: it is not sealed so. */
static bool open_seal(const char *text, size_t length, char seal[static DISK_DIGEST_SIZE],
		      const char **body, size_t *size)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	const char *digest = text + sizeof head - 1;

	if (length < BODY_AT + TAIL_SIZE || memcmp(text, head, sizeof head - 1) != 0 ||
	    memcmp(digest + DISK_DIGEST_SIZE - 1, neck, sizeof neck - 1) != 0 ||
	    memcmp(text + length - TAIL_SIZE, tail, TAIL_SIZE) != 0)
		return false;
	*body = text + BODY_AT;
	*size = length - BODY_AT - TAIL_SIZE;
	disk_hasher_add(hasher, *body, *size);
	disk_hasher_end(hasher, seal);
	return memcmp(digest, seal, DISK_DIGEST_SIZE - 1) == 0;
}

int snapshot_manifest_to_text(SnapshotManifest *manifest, char **ret, Error *err)
{
	cleanup_free char *body = NULL;
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	const char *wrong = snapshot_shape_check(&manifest_shape, manifest);
	json_t *json;

	if (wrong)
		return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_INPUT,
				       "its manifest cannot have this as %s", wrong);
	wrong = check_whole(manifest);
	if (wrong)
		return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_INPUT, "its manifest: %s",
				       wrong);
	json = snapshot_shape_to_json(&manifest_shape, manifest);
	body = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	assert(body);
	disk_hasher_add(hasher, body, strlen(body));
	disk_hasher_end(hasher, manifest->seal);
	*ret = text_printf("%s%s%s%s%s", head, manifest->seal, neck, body, tail);
	return 0;
}

static int refuse(Error *err, const char *why, const char *detail)
{
	return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_CORRUPT, "its manifest: %s%s", why,
			       detail);
}

/* 0 and a number, or the number is unknown, which is refused as damage. */
static int check_format(const json_t *json, bool *is_newer_minor, Error *err)
{
	const json_t *format = json_object_get(json, "format");
	const json_t *minor = json_object_get(json, "minor");

	if (!json_is_integer(format) || !json_is_integer(minor) || json_integer_value(format) < 1)
		return refuse(err, "it has no format", "");
	if (json_integer_value(format) > SNAPSHOT_FORMAT)
		return error_set(err, ERROR_UNSUPPORTED,
				 "the snapshot has format %" JSON_INTEGER_FORMAT
				 ", and this agent knows formats up to %d",
				 json_integer_value(format), SNAPSHOT_FORMAT);
	*is_newer_minor = json_integer_value(minor) > SNAPSHOT_MINOR;
	return 0;
}

static int read_body(SnapshotManifest *manifest, json_t *json, Error *err)
{
	bool is_newer_minor;
	const char *wrong;

	if (check_format(json, &is_newer_minor, err) < 0)
		return -1;
	wrong = snapshot_shape_from_json(&manifest_shape, manifest, json, !is_newer_minor);
	if (wrong)
		return refuse(err, "this is no good, or missing: ", wrong);
	wrong = check_whole(manifest);
	return wrong ? refuse(err, wrong, "") : 0;
}

int snapshot_manifest_from_text(SnapshotManifest **ret, const char *text, size_t length, Error *err)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = snapshot_manifest_new();
	const char *body;
	size_t size;
	json_t *json;
	int r;

	if (length > SNAPSHOT_MANIFEST_MAX)
		return refuse(err, "it is too large", "");
	if (!open_seal(text, length, manifest->seal, &body, &size))
		return refuse(err, "it is not as it was written", "");
	json = json_loadb(body, size, JSON_REJECT_DUPLICATES, NULL);
	r = read_body(manifest, json, err);
	json_decref(json);
	if (r == 0)
		*ret = take_ptr(manifest);
	return r;
}
