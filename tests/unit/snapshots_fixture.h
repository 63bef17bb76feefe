/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A catalog of snapshots on a file system of the test's own. */

#include "runtime/snapshots/snapshots.h"
#include "tests/support/fs_disk.h"

#define MEMORY_SIZE (4 * MIB)
#define DISK_SIZE (3 * MIB)

typedef struct Shelf {
	const FsDisk *disk;
	SnapshotsConfig config;
	char dir[80], source[80];
	SnapshotHost host;
	Snapshots *snapshots;
} Shelf;

static inline void shelf_start(Shelf *s)
{
	Error err = { 0 };

	cr_assert_eq(snapshots_open(&s->snapshots, &s->config, &err), 0, "%s", err.what);
}

/* A VM's disk lies at s->source. */
static inline void shelf_open(Shelf *s, const FsDisk *disk)
{
	*s = (Shelf){
		.disk = disk,
		.host = { .available = true,
			  .backend = "firecracker",
			  .vmm_version = "1.16.0",
			  .accelerator = "kvm",
			  .cpu_vendor = "GenuineIntel",
			  .cpu_model = "Xeon",
			  .kernel = "6.1" },
	};
	(void)snprintf(s->dir, sizeof s->dir, "%s/state/snapshots", disk->dir);
	(void)snprintf(s->source, sizeof s->source, "%s/root.img", disk->dir);
	s->config.dir = s->dir;
	fs_write(s->source, 0, MIB, 1);
	cr_assert_eq(truncate(s->source, DISK_SIZE), 0);
	shelf_start(s);
}

static inline void shelf_close(Shelf *s)
{
	snapshots_close(s->snapshots);
}

/* As when an agent dies and the next one comes. */
static inline void shelf_restart(Shelf *s)
{
	snapshots_close(take_ptr(s->snapshots));
	shelf_start(s);
}

static inline char *shelf_path(const Shelf *s, const char *name)
{
	return text_printf("%s/%s", s->dir, name);
}

/* What a caller knows of its VM. */
static inline SnapshotManifest *shelf_facts(const Shelf *s)
{
	SnapshotManifest *manifest = snapshot_manifest_new();

	snapshot_host_describe(&s->host, manifest);
	snapshot_set(&manifest->vm_uid, "uid-of-the-vm");
	snapshot_set(&manifest->spec, "{\"machine\":{\"vcpus\":2}}");
	snapshot_manifest_add_label(manifest, "team", "kernel");
	snapshot_manifest_add_drive(manifest, "root", "rootfs");
	snapshot_manifest_add_interface(
		manifest, &(SnapshotInterface){ .interface_id = (char[]){ "eth0" },
						.guest_mac = (char[]){ "02:00:00:00:00:01" } });
	manifest->vcpus = 2;
	manifest->memory_mib = 4;
	manifest->guest_connected = true;
	return manifest;
}

static inline int shelf_begin(const Shelf *s, const SnapshotBegin *begin, SnapshotDraft **ret,
			      Error *err)
{
	SnapshotBegun begun = 0;
	int r = snapshots_begin(s->snapshots, begin, ret, &begun, err);

	if (r == 0)
		cr_assert_eq(begun, SNAPSHOT_BEGUN);
	return r;
}

/* What a backend writes: pages of @seed at @at of the memory, and a state. */
static inline void shelf_write(const SnapshotDraft *draft, uint64_t at, uint64_t seed)
{
	cleanup_free char *memory = text_printf("%s/memory", snapshot_draft_dir(draft));
	cleanup_free char *state = text_printf("%s/state", snapshot_draft_dir(draft));

	fs_write(memory, at, 256 << 10, seed);
	cr_assert_eq(truncate(memory, MEMORY_SIZE), 0);
	fs_write(state, 0, 3000, seed + 1);
}

static inline int shelf_add_disk(const Shelf *s, SnapshotDraft *draft, Error *err)
{
	cleanup_close int disk = open(s->source, O_RDONLY | O_CLOEXEC);

	cr_assert_geq(disk, 0);
	return snapshot_draft_add_disk(draft, "root", disk, NULL, err);
}

static inline int shelf_finish(const Shelf *s, SnapshotDraft *draft, Error *err)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = shelf_facts(s);

	return snapshot_draft_finish(draft, manifest, NULL, err);
}

static inline int shelf_try(const Shelf *s, const SnapshotBegin *begin, uint64_t at, uint64_t seed,
			    Error *err)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;

	if (shelf_begin(s, begin, &draft, err) < 0)
		return -1;
	shelf_write(draft, at, seed);
	return shelf_add_disk(s, draft, err) < 0 || shelf_finish(s, draft, err) < 0 ? -1 : 0;
}

static inline void shelf_make(const Shelf *s, const char *vm_id, const char *snapshot_id)
{
	const SnapshotBegin begin = {
		.vm_id = vm_id,
		.snapshot_id = snapshot_id,
		.tenant = "acme",
		.request = "00ff",
		.bytes = MIB,
	};
	Error err = { 0 };

	cr_assert_eq(shelf_try(s, &begin, MIB, 7, &err), 0, "%s", err.what);
}

static inline void shelf_make_diff(const Shelf *s, const char *snapshot_id, const char *parent,
				   uint64_t at, uint64_t seed)
{
	const SnapshotBegin begin = {
		.vm_id = "web",
		.snapshot_id = snapshot_id,
		.parent = parent,
	};
	Error err = { 0 };

	cr_assert_eq(shelf_try(s, &begin, at, seed, &err), 0, "%s", err.what);
}

/* To clear. */
static inline SnapshotInfo shelf_get(const Shelf *s, const char *vm_id, const char *snapshot_id)
{
	SnapshotInfo info;
	Error err = { 0 };

	cr_assert_eq(snapshots_get(s->snapshots, vm_id, snapshot_id, &info, &err), 0, "%s/%s",
		     vm_id, snapshot_id);
	return info;
}

static inline bool shelf_has(const Shelf *s, const char *vm_id, const char *snapshot_id)
{
	SnapshotInfo info = { 0 };
	Error err = { 0 };
	int r = snapshots_get(s->snapshots, vm_id, snapshot_id, &info, &err);

	if (r < 0)
		cr_assert_eq(err.kind, ERROR_SNAPSHOT_NOT_FOUND);
	snapshot_info_clear(&info);
	return r == 0;
}

static inline SnapshotState shelf_state(const Shelf *s, const char *vm_id, const char *snapshot_id)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = shelf_get(s, vm_id, snapshot_id);

	return info.state;
}

/* Turns over bits of one byte of a file of the catalog, as a failing disk does. */
static inline void shelf_flip(const Shelf *s, const char *file, off_t at, char bits)
{
	cleanup_free char *path = shelf_path(s, file);
	cleanup_close int fd = -1;
	char byte;

	cr_assert_eq(chmod(path, 0600), 0);
	fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(pread(fd, &byte, 1, at), 1);
	byte = (char)(byte ^ bits);
	cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
}

/* A test with a catalog on each of the file systems: body(s). */
#define SHELF_TEST(suite, name)                \
	static void name##_in(Shelf *s);       \
	FS_TEST(suite, name)                   \
	{                                      \
		cleanup_(shelf_close) Shelf s; \
                                               \
		shelf_open(&s, disk);          \
		name##_in(&s);                 \
	}                                      \
	static void name##_in(Shelf *s)

/* The same on XFS alone, where it makes no difference. */
#define SHELF_TEST_ONCE(suite, name)                   \
	static void name##_in(Shelf *s);               \
	Test(suite, name)                              \
	{                                              \
		cleanup_(fs_remove) FsDisk disk;       \
		cleanup_(shelf_close) Shelf s = { 0 }; \
                                                       \
		fs_open(&disk, "xfs");                 \
		shelf_open(&s, &disk);                 \
		name##_in(&s);                         \
	}                                              \
	static void name##_in(Shelf *s)
