/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/snapshots_fixture.h"

/* The catalog: what is found in it, what goes from it. */

SHELF_TEST(snapshots, one_is_what_was_written)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };
	cleanup_free char *disk = shelf_path(s, "web/nightly/disk-root");
	const SnapshotManifest *manifest;
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	info = shelf_get(s, "web", "nightly");
	manifest = info.manifest;

	cr_expect_eq(info.state, SNAPSHOT_READY);
	cr_expect_str_eq(info.tenant, "acme");
	cr_expect_eq(info.depth, 1);
	cr_expect_eq(info.children, 0);
	cr_expect_geq(info.allocated, MIB + (256 << 10));
	cr_expect_not(clock_is_past(info.created, 60 * (int64_t)USEC_PER_SEC));
	cr_assert_not_null(manifest);
	cr_expect_str_eq(manifest->snapshot_id, "nightly");
	cr_expect_str_eq(manifest->spec, "{\"machine\":{\"vcpus\":2}}");
	cr_expect_eq(manifest->kind, SNAPSHOT_FULL);
	cr_assert_eq(snapshot_file_count(manifest), 3);
	cr_expect_str_eq(snapshot_file_at(manifest, 0)->name, "disk-root");
	cr_expect_str_eq(snapshot_file_at(manifest, 1)->name, SNAPSHOT_MEMORY_FILE);
	cr_expect_eq(snapshot_file_at(manifest, 1)->size, MEMORY_SIZE);
	cr_expect_str_eq(snapshot_drive_at(manifest, 0)->name, "rootfs");
	cr_expect_eq(snapshot_drive_at(manifest, 0)->size, DISK_SIZE);
	cr_expect(fs_equal(disk, s->source));
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", true, NULL, &err), 0, "%s",
		     err.what);
}

SHELF_TEST_ONCE(snapshots, it_outlives_the_agent)
{
	cleanup_(snapshot_info_clear) SnapshotInfo before, after;
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	before = shelf_get(s, "web", "nightly");
	shelf_restart(s);
	after = shelf_get(s, "web", "nightly");

	cr_expect_eq(after.state, SNAPSHOT_READY);
	cr_expect_eq(after.created, before.created);
	cr_expect_eq(after.allocated, before.allocated);
	cr_expect_str_eq(after.tenant, "acme");
	cr_expect_str_eq(after.manifest->seal, before.manifest->seal);
	cr_expect_str_eq(snapshot_label_at(after.manifest, 0)->value, "kernel");
	cr_expect_str_eq(snapshot_interface_at(after.manifest, 0)->guest_mac, "02:00:00:00:00:01");
	cr_expect(after.manifest->guest_connected);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", false, NULL, &err), 0, "%s",
		     err.what);
}

static size_t count(const Shelf *s, const char *vm_id, const char *tenant, const char *first)
{
	SnapshotInfo *infos;
	size_t n;

	snapshots_list(s->snapshots, vm_id, tenant, &infos, &n);
	if (n)
		cr_expect_str_eq(infos[0].snapshot_id, first);
	snapshot_infos_free(infos, n);
	return n;
}

SHELF_TEST_ONCE(snapshots, they_are_listed_by_vm_and_id)
{
	cleanup_free char *stray = shelf_path(s, "web/Not-An-Id");
	cleanup_free char *file = shelf_path(s, "file");

	shelf_make(s, "web", "b");
	shelf_make(s, "web", "a");
	shelf_make(s, "db", "c");
	cr_assert_eq(mkdir(stray, 0700), 0);
	cr_assert_eq(file_write_atomic(file, "x", 1), 0);
	shelf_restart(s);

	cr_expect_eq(count(s, NULL, NULL, "c"), 3);
	cr_expect_eq(count(s, "web", NULL, "a"), 2);
	cr_expect_eq(count(s, "db", "acme", "c"), 1);
	cr_expect_eq(count(s, "db", "other", ""), 0);
	cr_expect_eq(count(s, "none", NULL, ""), 0);
}

SHELF_TEST_ONCE(snapshots, one_that_is_not_there_is_not_found)
{
	SnapshotInfo info;
	char message[ERROR_MESSAGE_MAX];
	Error err = { 0 };

	cr_assert_eq(snapshots_get(s->snapshots, "web", "none", &info, &err), -1);
	cr_expect_str_eq(error_message(&err, message), "snapshot 'none' not found for vm 'web'");
	error_clear(&err);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "none", &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_NOT_FOUND);
	error_clear(&err);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "none", true, NULL, &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_NOT_FOUND);
	error_clear(&err);
	cr_expect_eq(snapshots_pin(s->snapshots, "web", "none", &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_NOT_FOUND);
}

SHELF_TEST_ONCE(snapshots, names_are_ids)
{
	static const char *const names[] = { "", ".", "..", "a/b", "../x", "A", "-a", ".hashes" };
	SnapshotInfo info;

	for (size_t i = 0; i < array_size(names); i++) {
		Error err = { 0 }, other = { 0 };

		cr_expect_eq(snapshots_get(s->snapshots, names[i], "a", &info, &err), -1);
		cr_expect_eq(err.cause, CAUSE_INPUT, "%s", names[i]);
		cr_expect_eq(snapshots_delete(s->snapshots, "a", names[i], &other), -1);
		cr_expect_eq(other.cause, CAUSE_INPUT, "%s", names[i]);
	}
}

SHELF_TEST(snapshots, a_name_can_be_used_again)
{
	cleanup_free char *vm = shelf_path(s, "web");
	cleanup_(snapshot_info_clear) SnapshotInfo first, second;
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	first = shelf_get(s, "web", "nightly");
	cr_assert_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);

	cr_expect_not(shelf_has(s, "web", "nightly"));
	cr_expect_eq(access(vm, F_OK), -1);
	cr_expect_eq(fs_count(s->dir), 1, "but the digests");
	shelf_make(s, "web", "nightly");
	second = shelf_get(s, "web", "nightly");
	cr_expect_str_neq(first.manifest->uid, second.manifest->uid);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", true, NULL, &err), 0);
}

SHELF_TEST_ONCE(snapshots, one_that_is_pinned_is_not_deleted)
{
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	cr_assert_eq(snapshots_pin(s->snapshots, "web", "nightly", &err), 0);

	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
	cr_expect_str_eq(err.what, "snapshot 'nightly' of vm 'web' is used by 1 VM");
	cr_expect_str_eq(err.snapshot_id, "nightly");
	snapshots_unpin(s->snapshots, "web", "nightly");
	error_clear(&err);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);
}

SHELF_TEST_ONCE(snapshots, what_was_never_finished_goes_at_the_start)
{
	static const char *const ours[] = { ".draft-0123456789abcdef", ".flat-0123456789abcdef",
					    ".deleted-0123456789abcdef" };
	cleanup_free char *mine = shelf_path(s, ".mine");
	cleanup_free char *empty = shelf_path(s, "gone");

	for (size_t i = 0; i < array_size(ours); i++) {
		cleanup_free char *dir = shelf_path(s, ours[i]);
		cleanup_free char *file = text_printf("%s/memory", dir);

		cr_assert_eq(mkdir(dir, 0700), 0);
		fs_write(file, 0, 100, 1);
	}
	cr_assert_eq(mkdir(mine, 0700), 0);
	cr_assert_eq(mkdir(empty, 0700), 0);
	shelf_restart(s);

	for (size_t i = 0; i < array_size(ours); i++) {
		cleanup_free char *dir = shelf_path(s, ours[i]);

		cr_expect_eq(access(dir, F_OK), -1, "%s", ours[i]);
	}
	cr_expect_eq(access(mine, F_OK), 0, "nobody of ours made it");
	cr_expect_eq(access(empty, F_OK), -1);
}

SHELF_TEST_ONCE(snapshots, one_that_was_removed_by_hand_can_be_deleted)
{
	cleanup_free char *dir = shelf_path(s, "web/nightly");
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	cr_assert_eq(file_remove_tree(dir), 0);

	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", false, NULL, &err), -1);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	error_clear(&err);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);
	cr_expect_not(shelf_has(s, "web", "nightly"));
}

SHELF_TEST_ONCE(snapshots, one_under_another_name_is_damaged)
{
	cleanup_free char *dir = shelf_path(s, "web/nightly");
	cleanup_free char *other = shelf_path(s, "web/weekly");

	shelf_make(s, "web", "nightly");
	cr_assert_eq(rename(dir, other), 0);
	shelf_restart(s);

	cr_expect_not(shelf_has(s, "web", "nightly"));
	cr_expect_eq(shelf_state(s, "web", "weekly"), SNAPSHOT_FAILED);
}

/* How often it was woken. */
typedef struct Ear {
	SnapshotsListener listener;
	int woken;
} Ear;

static void hear(SnapshotsListener *listener)
{
	container_of(listener, Ear, listener)->woken++;
}

static uint64_t version_of(Shelf *s)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = shelf_get(s, "web", "nightly");

	return info.version;
}

SHELF_TEST_ONCE(snapshots, who_listens_hears_of_every_change)
{
	Ear ear = { .listener.wake = hear };
	uint64_t made, pinned, verified;
	Error err = { 0 };

	snapshots_listen(s->snapshots, &ear.listener);
	shelf_make(s, "web", "nightly");
	cr_expect_gt(ear.woken, 0);
	made = version_of(s);
	ear.woken = 0;
	cr_assert_eq(snapshots_pin(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);
	cr_expect_eq(ear.woken, 1);
	pinned = version_of(s);
	cr_expect_gt(pinned, made);
	snapshots_unpin(s->snapshots, "web", "nightly");
	cr_assert_eq(snapshots_verify(s->snapshots, "web", "nightly", true, NULL, &err), 0, "%s",
		     err.what);
	verified = version_of(s);
	cr_expect_gt(verified, pinned);
	cr_expect_eq(version_of(s), verified);
	ear.woken = 0;
	cr_assert_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);
	cr_expect_gt(ear.woken, 0);
	snapshots_unlisten(s->snapshots, &ear.listener);
	ear.woken = 0;
	shelf_make(s, "web", "nightly");
	cr_expect_eq(ear.woken, 0);
}
