/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/snapshots_fixture.h"

/* Whether a snapshot is whole, and what a restore gets of it. */

static ErrorCause verify(const Shelf *s, bool read_all)
{
	Error err = { 0 };

	if (snapshots_verify(s->snapshots, "web", "nightly", read_all, NULL, &err) == 0)
		return CAUSE_HOST;
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_str_eq(err.snapshot_id, "nightly");
	return err.cause;
}

static int use(const Shelf *s, const char *snapshot_id, SnapshotUse **ret, Error *err)
{
	const SnapshotAsk ask = { .vm_id = "web", .snapshot_id = snapshot_id, .host = &s->host };

	return snapshots_use(s->snapshots, &ask, ret, err);
}

SHELF_TEST(snapshots_use, a_byte_that_is_another_is_found_in_every_file)
{
	static const struct {
		const char *file;
		off_t at;
	} flips[] = {
		{ "web/nightly/memory", 0 }, /* in a hole */
		{ "web/nightly/memory", MIB + 70000 },
		{ "web/nightly/memory", MEMORY_SIZE - 1 },
		{ "web/nightly/state", 0 },
		{ "web/nightly/state", 2999 },
		{ "web/nightly/disk-root", 5000 },
		{ "web/nightly/disk-root", DISK_SIZE - 1 },
	};

	shelf_make(s, "web", "nightly");
	for (size_t i = 0; i < array_size(flips); i++) {
		SnapshotUse *in_use = NULL;
		Error err = { 0 };

		cr_assert_eq(verify(s, false), CAUSE_HOST);
		shelf_flip(s, flips[i].file, flips[i].at, 1);
		cr_expect_eq(verify(s, false), CAUSE_CORRUPT, "%s", flips[i].file);
		cr_expect_eq(shelf_state(s, "web", "nightly"), SNAPSHOT_FAILED);
		cr_expect_eq(use(s, "nightly", &in_use, &err), -1);
		cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
		shelf_flip(s, flips[i].file, flips[i].at, 1);
	}
	cr_expect_eq(verify(s, false), CAUSE_HOST);
	cr_expect_eq(shelf_state(s, "web", "nightly"), SNAPSHOT_READY);
}

SHELF_TEST_ONCE(snapshots_use, every_byte_of_the_manifest_is_looked_at)
{
	cleanup_free char *path = shelf_path(s, "web/nightly/manifest.json");
	struct stat st;

	shelf_make(s, "web", "nightly");
	cr_assert_eq(stat(path, &st), 0);
	for (off_t at = 0; at < st.st_size; at++) {
		char bits = (char)(1 << at % 8);

		shelf_flip(s, "web/nightly/manifest.json", at, bits);
		cr_assert_eq(verify(s, false), CAUSE_CORRUPT, "byte %jd", (intmax_t)at);
		shelf_flip(s, "web/nightly/manifest.json", at, bits);
	}
	cr_expect_eq(verify(s, false), CAUSE_HOST);
}

SHELF_TEST_ONCE(snapshots_use, a_damaged_one_is_listed_and_can_be_deleted)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	shelf_flip(s, "web/nightly/manifest.json", 100, 1);
	shelf_restart(s);
	info = shelf_get(s, "web", "nightly");

	cr_expect_eq(info.state, SNAPSHOT_FAILED);
	cr_expect_eq(info.problem.cause, CAUSE_CORRUPT, "%s", info.problem.what);
	cr_expect_null(info.manifest);
	cr_expect_gt(info.allocated, 0);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);
	cr_expect_not(shelf_has(s, "web", "nightly"));
}

SHELF_TEST_ONCE(snapshots_use, one_that_was_repaired_is_whole_again)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };

	shelf_make(s, "web", "nightly");
	shelf_flip(s, "web/nightly/manifest.json", 100, 1);
	shelf_restart(s);
	shelf_flip(s, "web/nightly/manifest.json", 100, 1);

	cr_expect_eq(verify(s, false), CAUSE_HOST);
	info = shelf_get(s, "web", "nightly");
	cr_expect_eq(info.state, SNAPSHOT_READY);
	cr_expect_str_eq(info.tenant, "acme");
}

SHELF_TEST_ONCE(snapshots_use, files_that_are_gone_longer_or_linked_are_damage)
{
	cleanup_free char *memory = shelf_path(s, "web/nightly/memory");
	cleanup_free char *aside = shelf_path(s, "web/nightly/memory.aside");

	shelf_make(s, "web", "nightly");
	cr_assert_eq(rename(memory, aside), 0);
	cr_expect_eq(verify(s, false), CAUSE_CORRUPT);
	cr_assert_eq(symlink(aside, memory), 0);
	cr_expect_eq(verify(s, false), CAUSE_CORRUPT);
	cr_assert_eq(rename(aside, memory), 0);
	cr_expect_eq(verify(s, false), CAUSE_HOST);
	cr_assert_eq(truncate(memory, MEMORY_SIZE + 1), 0);
	cr_expect_eq(verify(s, false), CAUSE_CORRUPT);
}

static bool count_bytes(void *user, uint64_t done, uint64_t total)
{
	uint64_t *most = user;

	cr_expect_leq(done, total);
	*most = done > *most ? done : *most;
	return true;
}

SHELF_TEST_ONCE(snapshots_use, what_did_not_change_is_not_read_again)
{
	SnapshotDraft *draft = NULL;
	const SnapshotBegin begin = { .vm_id = "web", .snapshot_id = "nightly" };
	uint64_t most = 0;
	const DiskProgress progress = { .step = count_bytes, .user = &most };
	cleanup_free char *memory = NULL;
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &begin, &draft, &err), 0);
	shelf_write(draft, 0, 1);
	memory = text_printf("%s/memory", snapshot_draft_dir(draft));
	cr_assert_eq(truncate(memory, 64 * MIB), 0);
	cr_assert_eq(shelf_add_disk(s, draft, &err), 0);
	cr_assert_eq(shelf_finish(s, draft, &err), 0, "%s", err.what);
	snapshot_draft_end(draft);

	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", false, &progress, &err), 0);
	cr_expect_eq(most, 0);
	shelf_restart(s);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", false, &progress, &err), 0);
	cr_expect_eq(most, 0, "nor after a restart");
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", true, &progress, &err), 0);
	cr_expect_gt(most, 32 * MIB);
}

SHELF_TEST(snapshots_use, a_restore_gets_the_disks)
{
	cleanup_(snapshot_use_endp) SnapshotUse *in_use = NULL;
	cleanup_free char *to = fs_path(s->disk, "restored");
	cleanup_free char *dir = shelf_path(s, "web/nightly");
	SnapshotClone clone = { .drive_id = "root", .to = to };
	DiskCloneWay way;
	struct stat st;
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	cr_assert_eq(use(s, "nightly", &in_use, &err), 0, "%s", err.what);
	cr_expect_str_eq(snapshot_use_dir(in_use), dir);
	cr_expect_str_eq(snapshot_use_manifest(in_use)->vm_uid, "uid-of-the-vm");
	cr_assert_eq(snapshot_use_clone_disk(in_use, &clone, &way, &err), 0, "%s", err.what);

	cr_expect(fs_equal(to, s->source));
	cr_assert_eq(stat(to, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_eq(way == DISK_CLONE_REFLINK, strcmp(s->disk->type, "ext4") != 0);
	cr_expect_eq(snapshot_use_clone_disk(in_use, &clone, &way, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
	error_clear(&err);
	clone.drive_id = "data";
	cr_expect_eq(snapshot_use_clone_disk(in_use, &clone, &way, &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING, "%s", err.what);
}

SHELF_TEST_ONCE(snapshots_use, what_is_used_is_not_deleted)
{
	SnapshotUse *in_use = NULL;
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	cr_assert_eq(use(s, "nightly", &in_use, &err), 0, "%s", err.what);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
	snapshot_use_end(in_use);

	error_clear(&err);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), 0, "%s", err.what);
}

SHELF_TEST_ONCE(snapshots_use, another_host_is_asked_before_anything_is_read)
{
	SnapshotUse *in_use = NULL;
	Error err = { 0 };

	shelf_make(s, "web", "nightly");
	shelf_flip(s, "web/nightly/memory", MIB, 1);
	text_copy(s->host.vmm_version, sizeof s->host.vmm_version, "1.17.0");

	cr_expect_eq(use(s, "nightly", &in_use, &err), -1);
	cr_expect_eq(err.kind, ERROR_UNSUPPORTED, "%s", err.what);
	cr_expect_eq(shelf_state(s, "web", "nightly"), SNAPSHOT_READY, "nobody has read it");
}

SHELF_TEST_ONCE(snapshots_use, a_diff_needs_its_parents)
{
	cleanup_(snapshot_info_clear) SnapshotInfo base, top;
	SnapshotInfo *infos;
	SnapshotUse *in_use = NULL;
	size_t count;
	Error err = { 0 };

	shelf_make(s, "web", "base");
	shelf_make_diff(s, "one", "base", 0, 21);
	shelf_make_diff(s, "two", "one", 2 * MIB, 31);
	shelf_restart(s);
	base = shelf_get(s, "web", "base");
	top = shelf_get(s, "web", "two");

	cr_expect_eq(base.children, 1);
	cr_expect_eq(top.depth, 3);
	cr_expect_str_eq(top.parent, "one");
	cr_expect_eq(top.manifest->kind, SNAPSHOT_DIFF);
	snapshots_list(s->snapshots, "web", NULL, &infos, &count);
	cr_assert_eq(count, 3);
	for (size_t i = 0; i < count; i++) {
		cr_expect_eq(infos[i].depth, i + 1);
		cr_expect_eq(infos[i].children, i < 2);
	}
	snapshot_infos_free(infos, count);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "base", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
	cr_expect_str_eq(err.what, "snapshot 'base' of vm 'web' is needed by 1 diff");
	error_clear(&err);
	cr_assert_eq(use(s, "two", &in_use, &err), 0, "%s", err.what);
	snapshot_use_end(in_use);
	shelf_flip(s, "web/base/memory", MIB, 1);
	cr_expect_eq(use(s, "two", &in_use, &err), -1, "its base is damaged");
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	cr_expect_str_eq(err.snapshot_id, "base");
}

SHELF_TEST_ONCE(snapshots_use, a_parent_that_was_replaced_is_no_parent)
{
	cleanup_free char *base = shelf_path(s, "web/base");
	SnapshotUse *in_use = NULL;
	Error err = { 0 };

	shelf_make(s, "web", "base");
	shelf_make_diff(s, "one", "base", 0, 21);
	cr_assert_eq(file_remove_tree(base), 0);
	shelf_restart(s);
	cr_expect_eq(use(s, "one", &in_use, &err), -1);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	shelf_make(s, "web", "base");

	error_clear(&err);
	cr_expect_eq(use(s, "one", &in_use, &err), -1);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
}

SHELF_TEST_ONCE(snapshots_use, chains_have_an_end)
{
	cleanup_(snapshot_use_endp) SnapshotUse *in_use = NULL;
	SnapshotBegin begin = { .vm_id = "web", .snapshot_id = "more", .parent = "s15" };
	SnapshotDraft *draft = NULL;
	Error err = { 0 };

	shelf_make(s, "web", "s0");
	for (int i = 1; i < SNAPSHOT_CHAIN_MAX; i++) {
		cleanup_free char *id = text_printf("s%d", i);
		cleanup_free char *parent = text_printf("s%d", i - 1);

		shelf_make_diff(s, id, parent, 0, (uint64_t)i);
	}

	cr_expect_eq(use(s, "s15", &in_use, &err), 0, "%s", err.what);
	cr_expect_eq(shelf_begin(s, &begin, &draft, &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	error_clear(&err);
	begin.parent = "none";
	cr_expect_eq(shelf_begin(s, &begin, &draft, &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_NOT_FOUND);
	cr_expect_str_eq(err.snapshot_id, "none");
}
