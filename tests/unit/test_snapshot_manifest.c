/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/snapshots/snapshot_manifest.h"

#include <criterion/criterion.h>
#include <string.h>

/* What is written, what is read again, and what is not taken for a manifest. */

static SnapshotManifest *manifest_of_a_diff(void)
{
	static const char *const digest =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	SnapshotManifest *manifest = snapshot_manifest_new();
	SnapshotFile *disk = snapshot_manifest_add_file(manifest, "disk-root", 4096);
	SnapshotFile *memory;

	snapshot_set(&disk->sha256, digest);
	memory = snapshot_manifest_add_file(manifest, SNAPSHOT_MEMORY_FILE, INT64_MAX);
	snapshot_set(&memory->sha256, digest);
	manifest->format = SNAPSHOT_FORMAT;
	manifest->kind = SNAPSHOT_DIFF;
	manifest->created = 1700000000000000;
	manifest->vcpus = 2;
	manifest->memory_mib = 512;
	snapshot_set(&manifest->snapshot_id, "nightly");
	snapshot_set(&manifest->vm_id, "web");
	snapshot_set(&manifest->uid, "one");
	snapshot_set(&manifest->parent, "weekly");
	snapshot_set(&manifest->parent_uid, "two");
	snapshot_set(&manifest->memory_runs, digest);
	snapshot_set(&manifest->backend, "firecracker");
	snapshot_set(&manifest->spec, "{\"text\":\"\\u00e9 \xc3\xa9 \\\\ \\n\"}");
	snapshot_manifest_add_label(manifest, "team", "kernel");
	snapshot_manifest_add_label(manifest, "empty", "");
	snapshot_manifest_add_drive(manifest, "root", "/drives/root");
	snapshot_set(&snapshot_drive_at(manifest, 0)->file, "disk-root");
	snapshot_drive_at(manifest, 0)->size = 4096;
	snapshot_manifest_add_interface(
		manifest, &(SnapshotInterface){ .interface_id = (char[]){ "eth0" },
						.ipv4_address = (char[]){ "10.0.0.2" } });
	return manifest;
}

static char *text_of(SnapshotManifest *manifest)
{
	char *text = NULL;
	Error err = { 0 };

	cr_assert_eq(snapshot_manifest_to_text(manifest, &text, &err), 0, "%s", err.what);
	return text;
}

static ErrorCause try_text(const char *text, size_t length)
{
	SnapshotManifest *manifest = NULL;
	Error err = { 0 };

	if (snapshot_manifest_from_text(&manifest, text, length, &err) < 0) {
		cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
		return err.cause;
	}
	snapshot_manifest_unref(manifest);
	return CAUSE_HOST;
}

/* @body as the file of a manifest. */
static char *sealed(const char *body)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	char digest[DISK_DIGEST_SIZE];

	disk_hasher_add(hasher, body, strlen(body));
	disk_hasher_end(hasher, digest);
	return text_printf("{\"sha256\":\"%s\",\"manifest\":%s}\n", digest, body);
}

/* The inner object of @text; to free. */
static char *body_of(const char *text)
{
	const char *at = strstr(text, "\"manifest\":") + strlen("\"manifest\":");

	return text_printf("%.*s", (int)strlen(at) - 2, at);
}

/* The manifest with @was become @is; sealed again. */
static char *edited(const char *was, const char *is)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	cleanup_free char *text = text_of(manifest);
	cleanup_free char *body = body_of(text);
	char *at = strstr(body, was);
	cleanup_free char *other = NULL;

	cr_assert_not_null(at, "%s is not in %s", was, body);
	other = text_printf("%.*s%s%s", (int)(at - body), body, is, at + strlen(was));
	return sealed(other);
}

Test(snapshot_manifest, it_reads_as_it_was_written)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *read = NULL;
	cleanup_free char *text = text_of(manifest);
	cleanup_free char *again = NULL;
	Error err = { 0 };

	cr_assert_eq(snapshot_manifest_from_text(&read, text, strlen(text), &err), 0, "%s",
		     err.what);
	again = text_of(read);

	cr_expect_str_eq(text, again);
	cr_expect_str_eq(read->spec, manifest->spec);
	cr_expect_eq(snapshot_file_at(read, 1)->size, INT64_MAX);
	cr_expect_eq(read->kind, SNAPSHOT_DIFF);
	cr_expect_str_eq(read->parent, "weekly");
	cr_expect_null(snapshot_label_at(read, 1)->value);
	cr_expect_str_eq(read->seal, manifest->seal);
}

Test(snapshot_manifest, a_vmm_may_have_had_a_drive_at_any_path)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	cleanup_free char *path = text_printf("/%0*d", SNAPSHOT_PATH_MAX - 1, 0);
	cleanup_free char *longer = text_printf("%s0", path);
	cleanup_free char *text = NULL;
	char *none = NULL;
	Error err = { 0 };

	snapshot_set(&snapshot_drive_at(manifest, 0)->name, path);
	text = text_of(manifest);
	cr_expect_eq(try_text(text, strlen(text)), CAUSE_HOST);
	snapshot_set(&snapshot_drive_at(manifest, 0)->name, longer);
	cr_expect_eq(snapshot_manifest_to_text(manifest, &none, &err), -1);
}

Test(snapshot_manifest, every_bit_that_is_another_is_found)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	cleanup_free char *text = text_of(manifest);
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		for (unsigned mask = 1; mask < 256; mask++) {
			text[i] = (char)((unsigned char)text[i] ^ mask);
			cr_assert_eq(try_text(text, length), CAUSE_CORRUPT, "byte %zu, bits %x", i,
				     mask);
			text[i] = (char)((unsigned char)text[i] ^ mask);
		}
	cr_expect_eq(try_text(text, length), CAUSE_HOST);
}

Test(snapshot_manifest, one_that_is_cut_or_longer_is_damaged)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	cleanup_free char *text = text_of(manifest);
	cleanup_free char *longer = text_printf("%s\n", text);

	for (size_t length = 0; length < strlen(text); length++)
		cr_assert_eq(try_text(text, length), CAUSE_CORRUPT, "%zu bytes", length);
	cr_expect_eq(try_text(longer, strlen(longer)), CAUSE_CORRUPT);
}

Test(snapshot_manifest, what_is_sealed_is_looked_at_all_the_same)
{
	static const struct {
		const char *was, *is;
	} edits[] = {
		{ "\"vm_id\":\"web\"", "\"vm_id\":\"../web\"" },
		{ "\"vm_id\":\"web\"", "\"vm_id\":\"\"" },
		{ "\"vm_id\":\"web\"", "\"vm_id\":7" },
		{ "\"vm_id\":\"web\",", "" },
		{ "\"vm_id\":\"web\"", "\"vm_id\":\"web\",\"vm_id\":\"web\"" },
		{ "\"vm_id\":\"web\"", "\"vm_id\":\"web\",\"more\":1" },
		{ "\"vm_id\":\"web\"", "\"vm_id\":\"w\\u0000b\"" },
		{ "\"vcpus\":2", "\"vcpus\":-2" },
		{ "\"vcpus\":2", "\"vcpus\":2.5" },
		{ "\"vcpus\":2", "\"vcpus\":99999999999999999999" },
		{ "\"vcpus\":2", "\"vcpus\":\"2\"" },
		{ "\"guest_connected\":false", "\"guest_connected\":0" },
		{ "\"kind\":\"diff\"", "\"kind\":\"other\"" },
		{ "\"kind\":\"diff\"", "\"kind\":\"full\"" },
		{ "\"kind\":\"diff\"", "\"kind\":null" },
		{ "\"parent\":\"weekly\"", "\"parent\":\"nightly\"" },
		{ "\"parent\":\"weekly\",", "" },
		{ "\"parent_uid\":\"two\",", "" },
		{ "\"memory_runs\":\"0123", "\"memory_runs\":\"Z123" },
		{ "\"file\":\"disk-root\"", "\"file\":\"memory\"" },
		{ "\"file\":\"disk-root\"", "\"file\":\"disk-roof\"" },
		{ "\"name\":\"disk-root\"", "\"name\":\"../disk-root\"" },
		{ "\"name\":\"disk-root\"", "\"name\":\"zzz\"" },
		{ "\"name\":\"memory\"", "\"name\":\"state\"" },
		{ "\"size\":4096", "\"size\":4095" },
		{ "\"sha256\":\"0123", "\"sha256\":\"012G" },
		{ "\"sha256\":\"0123", "\"sha256\":\"0" },
		{ "\"labels\":[", "\"labels\":[7," },
		{ "\"labels\":[", "\"labels\":[{\"key\":[[[[]]]]}," },
		{ "\"labels\":[{\"key\":\"team\"", "\"labels\":[{\"key\":\"team\",\"more\":1" },
		{ "\"format\":1", "\"format\":0" },
		{ "\"format\":1", "\"format\":\"1\"" },
		{ "\"format\":1,", "" },
		{ "\"minor\":0,", "" },
	};

	for (size_t i = 0; i < array_size(edits); i++) {
		cleanup_free char *text = edited(edits[i].was, edits[i].is);

		cr_expect_eq(try_text(text, strlen(text)), CAUSE_CORRUPT, "%s", edits[i].is);
	}
}

Test(snapshot_manifest, what_is_no_object_is_damaged)
{
	static const char *const bodies[] = { "", "null", "7", "[]", "\"x\"", "{", "{}", "{}{}" };
	cleanup_free char *nested = must_realloc(NULL, 100001, 1);
	cleanup_free char *text = NULL;

	for (size_t i = 0; i < array_size(bodies); i++) {
		cleanup_free char *body = sealed(bodies[i]);

		cr_expect_eq(try_text(body, strlen(body)), CAUSE_CORRUPT, "%s", bodies[i]);
	}
	memset(nested, '[', 100000);
	nested[100000] = '\0';
	text = sealed(nested);
	cr_expect_eq(try_text(text, strlen(text)), CAUSE_CORRUPT);
}

Test(snapshot_manifest, a_huge_one_is_not_looked_at)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	cleanup_free char *spec = must_calloc(1, SNAPSHOT_SPEC_MAX + 2);
	char *text;
	cleanup_free char *largest = NULL;
	Error err = { 0 };

	memset(spec, '\x01', SNAPSHOT_SPEC_MAX);
	snapshot_set(&manifest->spec, spec);
	largest = text_of(manifest);
	cr_expect_leq(strlen(largest), SNAPSHOT_MANIFEST_MAX);
	cr_expect_eq(try_text(largest, strlen(largest)), CAUSE_HOST, "each byte became six");

	spec[SNAPSHOT_SPEC_MAX] = 'x';
	snapshot_set(&manifest->spec, spec);
	cr_expect_eq(snapshot_manifest_to_text(manifest, &text, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	cr_expect_eq(try_text("", SNAPSHOT_MANIFEST_MAX + 1), CAUSE_CORRUPT);
}

Test(snapshot_manifest, unknown_members_of_a_newer_minor_format_are_passed_over)
{
	cleanup_free char *text = edited("\"minor\":0", "\"minor\":1,\"more\":{\"a\":[1]}");
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = NULL;
	Error err = { 0 };

	cr_assert_eq(snapshot_manifest_from_text(&manifest, text, strlen(text), &err), 0, "%s",
		     err.what);
	cr_expect_eq(manifest->minor, 1);
	cr_expect_str_eq(manifest->vm_id, "web");
}

Test(snapshot_manifest, a_newer_format_is_not_read)
{
	cleanup_free char *text = edited("\"format\":1", "\"format\":2");
	SnapshotManifest *manifest = NULL;
	Error err = { 0 };

	cr_assert_eq(snapshot_manifest_from_text(&manifest, text, strlen(text), &err), -1);
	cr_expect_eq(err.kind, ERROR_UNSUPPORTED);
	cr_expect_null(manifest);
}

Test(snapshot_manifest, what_could_not_be_read_again_is_not_written)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = manifest_of_a_diff();
	char *text = NULL;
	Error err = { 0 };

	snapshot_set(&manifest->kernel, "no UTF-8: \xff");
	cr_expect_eq(snapshot_manifest_to_text(manifest, &text, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT);
	cr_expect_str_eq(err.what, "its manifest cannot have this as kernel");

	error_clear(&err);
	snapshot_set(&manifest->kernel, NULL);
	snapshot_manifest_add_drive(manifest, "root", "twice");
	cr_expect_eq(snapshot_manifest_to_text(manifest, &text, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
}
