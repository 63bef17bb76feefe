/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A snapshot's manifest: what the fuzzer gives, and the same sealed, without which it would not
 * come far. What is taken is written as something that reads as the same again.
 */

#include "base/text.h"
#include "runtime/snapshots/snapshot_host.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void check_written(SnapshotManifest *manifest)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *again = NULL;
	cleanup_free char *text = NULL, *same = NULL;
	Error err = { 0 };
	int r = snapshot_manifest_to_text(manifest, &text, &err);

	assert(r == 0);
	r = snapshot_manifest_from_text(&again, text, strlen(text), &err);
	assert(r == 0);
	r = snapshot_manifest_to_text(again, &same, &err);
	assert(r == 0 && strcmp(text, same) == 0);
}

static void try_it(const char *text, size_t size)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = NULL;
	SnapshotHost host = { .available = true, .backend = "qemu", .vmm_version = "8.2.1" };
	Error err = { 0 };

	if (snapshot_manifest_from_text(&manifest, text, size, &err) < 0)
		return;
	(void)!snapshot_check_host(manifest, &host, &err);
	/* What a newer minor format has more is not written, but what is known has to be. */
	manifest->minor = SNAPSHOT_MINOR;
	check_written(manifest);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	cleanup_free char *sealed = must_calloc(1, size + 256);
	char digest[DISK_DIGEST_SIZE];
	char *at;

	try_it((const char *)data, size);
	disk_hasher_add(hasher, data, size);
	disk_hasher_end(hasher, digest);
	at = text_append(sealed, sealed + 256, "{\"sha256\":\"%s\",\"manifest\":", digest);
	if (size)
		memcpy(at, data, size);
	memcpy(at + size, "}\n", sizeof "}\n");
	try_it(sealed, (size_t)(at - sealed) + size + 2);
	return 0;
}
