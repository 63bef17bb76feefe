/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/snapshots_fixture.h"

/* How a snapshot comes to be, and how it does not. */

static const SnapshotBegin nightly = {
	.vm_id = "web",
	.snapshot_id = "nightly",
	.request = "00ff",
	.bytes = MIB,
};

static SnapshotBegun begin_again(const Shelf *s, const char *request, Error *err)
{
	SnapshotBegin begin = nightly;
	SnapshotDraft *draft = NULL;
	SnapshotBegun begun = 0;
	int r;

	begin.request = request;
	r = snapshots_begin(s->snapshots, &begin, &draft, &begun, err);
	cr_expect_null(draft);
	cr_expect_eq(r, error_is_set(err) ? -1 : 0);
	return begun;
}

SHELF_TEST_ONCE(snapshots_draft, the_same_request_is_told_from_another)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	char message[ERROR_MESSAGE_MAX];
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0, "%s", err.what);
	cr_expect_eq(begin_again(s, "00ff", &err), SNAPSHOT_BEGUN_UNDER_WAY);
	shelf_write(draft, 0, 1);
	cr_assert_eq(shelf_add_disk(s, draft, &err), 0, "%s", err.what);
	cr_assert_eq(shelf_finish(s, draft, &err), 0, "%s", err.what);
	cr_expect_eq(begin_again(s, "00ff", &err), SNAPSHOT_BEGUN_READY);
	shelf_restart(s);
	cr_expect_eq(begin_again(s, "00ff", &err), SNAPSHOT_BEGUN_READY);

	(void)begin_again(s, "00fe", &err);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_ALREADY_EXISTS);
	cr_expect_str_eq(error_message(&err, message),
			 "snapshot 'nightly' already exists for vm 'web'");
	error_clear(&err);
	(void)begin_again(s, NULL, &err);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_ALREADY_EXISTS);
}

SHELF_TEST_ONCE(snapshots_draft, it_is_shown_while_it_is_made)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	snapshot_draft_progress(draft, 5, 10);
	info = shelf_get(s, "web", "nightly");

	cr_expect_eq(info.state, SNAPSHOT_CREATING);
	cr_expect_eq(info.done, 5);
	cr_expect_eq(info.total, 10);
	cr_expect_null(info.manifest);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "nightly", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
	error_clear(&err);
	cr_expect_eq(snapshots_pin(s->snapshots, "web", "nightly", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
}

SHELF_TEST(snapshots_draft, one_that_is_given_up_leaves_nothing)
{
	SnapshotDraft *draft = NULL;
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	shelf_write(draft, 0, 1);
	cr_assert_eq(shelf_add_disk(s, draft, &err), 0, "%s", err.what);
	snapshot_draft_end(draft);

	cr_expect_not(shelf_has(s, "web", "nightly"));
	cr_expect_eq(fs_count(s->dir), 0);
	shelf_make(s, "web", "nightly");
}

SHELF_TEST_ONCE(snapshots_draft, one_that_failed_is_shown_until_it_is_made_again)
{
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };
	SnapshotDraft *draft = NULL;
	Error err = { 0 }, why = { 0 };

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	shelf_write(draft, 0, 1);
	(void)error_set(&why, ERROR_SNAPSHOT_FAILED, "the VMM would not");
	snapshot_draft_fail(draft, &why);
	snapshot_draft_end(draft);
	info = shelf_get(s, "web", "nightly");

	cr_expect_eq(info.state, SNAPSHOT_FAILED);
	cr_expect_str_eq(info.problem.what, "the VMM would not");
	cr_expect_eq(fs_count(s->dir), 0);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "nightly", false, NULL, &err), -1);
	cr_expect_str_eq(err.what, "the VMM would not");
	shelf_make(s, "web", "nightly");
	cr_expect_eq(shelf_state(s, "web", "nightly"), SNAPSHOT_READY);
}

SHELF_TEST_ONCE(snapshots_draft, those_that_failed_can_be_deleted_and_are_not_many)
{
	Error err = { 0 }, why = { 0 };
	SnapshotInfo *infos;
	size_t count;

	(void)error_set(&why, ERROR_SNAPSHOT_FAILED, "no");
	for (int i = 0; i < SNAPSHOT_FAILED_MAX + 2; i++) {
		cleanup_free char *id = text_printf("s%d", i);
		const SnapshotBegin begin = { .vm_id = "web", .snapshot_id = id };
		SnapshotDraft *draft = NULL;

		cr_assert_eq(shelf_begin(s, &begin, &draft, &err), 0);
		snapshot_draft_fail(draft, &why);
		snapshot_draft_end(draft);
	}

	snapshots_list(s->snapshots, NULL, NULL, &infos, &count);
	snapshot_infos_free(infos, count);
	cr_expect_eq(count, SNAPSHOT_FAILED_MAX);
	cr_expect_not(shelf_has(s, "web", "s0"));
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "s9", &err), 0, "%s", err.what);
	cr_expect_not(shelf_has(s, "web", "s9"));
}

SHELF_TEST_ONCE(snapshots_draft, several_at_once_do_not_meet)
{
	SnapshotDraft *drafts[3] = { 0 };
	static const char *const ids[] = { "a", "b", "c" };
	Error err = { 0 };

	for (size_t i = 0; i < array_size(drafts); i++) {
		const SnapshotBegin begin = { .vm_id = "web", .snapshot_id = ids[i] };

		cr_assert_eq(shelf_begin(s, &begin, &drafts[i], &err), 0);
		shelf_write(drafts[i], 0, i);
		cr_assert_eq(shelf_add_disk(s, drafts[i], &err), 0);
	}
	snapshot_draft_end(drafts[1]);
	cr_assert_eq(shelf_finish(s, drafts[2], &err), 0, "%s", err.what);
	cr_assert_eq(shelf_finish(s, drafts[0], &err), 0, "%s", err.what);
	snapshot_draft_end(drafts[0]);
	snapshot_draft_end(drafts[2]);

	cr_expect_not(shelf_has(s, "web", "b"));
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "a", true, NULL, &err), 0);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "c", true, NULL, &err), 0);
}

SHELF_TEST_ONCE(snapshots_draft, nothing_is_begun_without_room)
{
	SnapshotBegin begin = nightly;
	SnapshotDraft *draft = NULL;
	SnapshotBegun begun;
	Error err = { 0 };

	begin.bytes = 4 * (uint64_t)FS_DISK_MIB * MIB;
	cr_assert_eq(snapshots_begin(s->snapshots, &begin, &draft, &begun, &err), -1);

	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	cr_expect_str_eq(err.snapshot_id, "nightly");
	cr_expect_not(shelf_has(s, "web", "nightly"));
	cr_expect_eq(fs_count(s->dir), 0);
}

SHELF_TEST(snapshots_draft, the_limit_of_all_is_kept)
{
	SnapshotBegin begin = nightly;
	Error err = { 0 };

	s->config.max_bytes = 4 * MIB;
	shelf_restart(s);
	shelf_make(s, "web", "one");
	shelf_make(s, "web", "two");
	begin.snapshot_id = "three";
	cr_expect_eq(shelf_try(s, &begin, 0, 1, &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	cr_expect_not(shelf_has(s, "web", "three"));

	error_clear(&err);
	cr_assert_eq(snapshots_delete(s->snapshots, "web", "one", &err), 0);
	shelf_make(s, "web", "three");
}

SHELF_TEST(snapshots_draft, a_full_disk_leaves_nothing)
{
	cleanup_free char *hog = fs_path(s->disk, "hog");
	cleanup_close int fd = open(hog, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	SnapshotDraft *draft = NULL;
	Error err = { 0 };
	off_t size = (off_t)FS_DISK_MIB << 20;

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	shelf_write(draft, 0, 1);
	/* As much as there is: what is refused is asked for by half. */
	for (off_t at = 0; size >= 4096; size /= 2)
		while (fallocate(fd, 0, at, size) == 0)
			at += size;
	cr_expect(shelf_add_disk(s, draft, &err) < 0 || shelf_finish(s, draft, &err) < 0);

	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	snapshot_draft_end(draft);
	cr_expect_not(shelf_has(s, "web", "nightly"));
	cr_expect_eq(unlink(hog), 0);
	cr_expect_eq(ftruncate(fd, 0), 0);
	fs_sync(s->disk);
	shelf_make(s, "web", "nightly");
}

static bool give_up(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	return done * 2 < total;
}

SHELF_TEST_ONCE(snapshots_draft, the_hashing_can_be_given_up)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = shelf_facts(s);
	const DiskProgress progress = { .step = give_up };
	cleanup_free char *memory = NULL;
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	shelf_write(draft, 0, 1);
	memory = text_printf("%s/memory", snapshot_draft_dir(draft));
	cr_assert_eq(truncate(memory, 64 * MIB), 0);
	cr_assert_eq(shelf_add_disk(s, draft, &err), 0);

	cr_expect_eq(snapshot_draft_finish(draft, manifest, &progress, &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_TIMEOUT, "%s", err.what);
}

SHELF_TEST_ONCE(snapshots_draft, what_is_no_snapshot_is_refused)
{
	static const char *const strays[] = { "a b", ".hidden", "manifest.json" };
	Error err = { 0 };

	for (size_t i = 0; i < array_size(strays); i++) {
		cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
		cleanup_free char *stray = NULL;

		error_clear(&err);
		cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
		stray = text_printf("%s/%s", snapshot_draft_dir(draft), strays[i]);
		fs_write(stray, 0, 10, 1);
		cr_expect_eq(shelf_finish(s, draft, &err), -1);
		cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	}
}

SHELF_TEST_ONCE(snapshots_draft, each_drive_has_its_disk)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	shelf_write(draft, 0, 1);

	cr_expect_eq(shelf_finish(s, draft, &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
}

SHELF_TEST_ONCE(snapshots_draft, a_name_somebody_took_by_hand_is_not_overwritten)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	cleanup_free char *file = shelf_path(s, "web/nightly/mine");
	cleanup_free char *dir = shelf_path(s, "web/nightly");
	Error err = { 0 };

	cr_assert_eq(file_make_dirs(dir), 0);
	fs_write(file, 0, 1, 1);
	cr_assert_eq(shelf_begin(s, &nightly, &draft, &err), 0);
	shelf_write(draft, 0, 1);
	cr_assert_eq(shelf_add_disk(s, draft, &err), 0);

	cr_expect_eq(shelf_finish(s, draft, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
	cr_expect_eq(access(file, F_OK), 0);
}
