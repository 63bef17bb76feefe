/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/snapshots_fixture.h"

/* Diffs: what is laid over what, and how one becomes full. */

#define PIECE (256 * (INT64_C(1) << 10))

static SnapshotUse *use(const Shelf *s, const char *snapshot_id)
{
	const SnapshotAsk ask = { .vm_id = "web", .snapshot_id = snapshot_id, .host = &s->host };
	SnapshotUse *in_use = NULL;
	Error err = { 0 };

	cr_assert_eq(snapshots_use(s->snapshots, &ask, &in_use, &err), 0, "%s", err.what);
	return in_use;
}

static int flatten(const Shelf *s, const char *snapshot_id, Error *err)
{
	return snapshots_flatten(s->snapshots, "web", snapshot_id, NULL, err);
}

/* A diff whose first page was written with zeros. */
static void make_zeroing_diff(const Shelf *s, const char *snapshot_id, const char *parent)
{
	const SnapshotBegin begin = {
		.vm_id = "web",
		.snapshot_id = snapshot_id,
		.parent = parent,
	};
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	cleanup_free char *memory = NULL;
	cleanup_free char *zeros = must_calloc(1, (size_t)PIECE);
	cleanup_close int fd = -1;
	Error err = { 0 };

	cr_assert_eq(shelf_begin(s, &begin, &draft, &err), 0, "%s", err.what);
	memory = text_printf("%s/memory", snapshot_draft_dir(draft));
	fd = open(memory, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(pwrite(fd, zeros, (size_t)PIECE, MIB), PIECE);
	cr_assert_eq(ftruncate(fd, MEMORY_SIZE), 0);
	cr_assert_eq(shelf_add_disk(s, draft, &err), 0, "%s", err.what);
	cr_assert_eq(shelf_finish(s, draft, &err), 0, "%s", err.what);
}

/* The base has its bytes at 1 MiB; "one" others at 2 MiB; "two" zeros over the base's. */
static void make_chain(const Shelf *s)
{
	shelf_make(s, "web", "base");
	shelf_make_diff(s, "one", "base", 2 * MIB, 21);
	make_zeroing_diff(s, "two", "one");
}

/* @path has a piece of @seed at @at; 0: of zeros. */
static void expect_memory(const char *path, uint64_t at, uint64_t seed)
{
	cleanup_free char *expected = must_calloc(1, (size_t)PIECE);
	cleanup_free char *found = must_calloc(1, (size_t)PIECE);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (seed)
		fs_fill(expected, (size_t)PIECE, seed);
	cr_assert_eq(disk_read(fd, found, (size_t)PIECE, at), PIECE);
	cr_expect_eq(memcmp(expected, found, (size_t)PIECE), 0, "%s at %ju", path, (uintmax_t)at);
}

SHELF_TEST(snapshots_flatten, layers_are_told_with_what_they_have)
{
	cleanup_(snapshot_use_endp) SnapshotUse *in_use = NULL;
	cleanup_(snapshot_layers_clear) SnapshotLayers layers = { 0 };
	static const uint64_t at[] = { MIB, 2 * MIB, MIB };
	Error err = { 0 };

	make_chain(s);
	in_use = use(s, "two");
	cr_assert_eq(snapshot_use_layers(in_use, &layers, &err), 0, "%s", err.what);

	cr_assert_eq(layers.count, 3);
	for (size_t i = 0; i < layers.count; i++) {
		const SnapshotLayer *layer = &layers.items[i];

		cr_expect_eq(layer->size, MEMORY_SIZE);
		cr_assert_eq(layer->runs.count, 1, "layer %zu", i);
		cr_expect_leq(layer->runs.items[0].at, at[i]);
		cr_expect_geq(layer->runs.items[0].end, at[i] + PIECE);
	}
	cr_expect_not_null(strstr(layers.items[0].path, "/web/base/memory"));
	cr_expect_not_null(strstr(layers.items[2].path, "/web/two/memory"));
}

SHELF_TEST_ONCE(snapshots_flatten, a_hole_in_place_of_zeros_is_damage)
{
	cleanup_free char *memory = shelf_path(s, "web/two/memory");
	cleanup_close int fd = -1;
	Error err = { 0 };

	make_chain(s);
	cr_assert_eq(chmod(memory, 0600), 0);
	fd = open(memory, O_RDWR | O_CLOEXEC);
	cr_assert_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB, PIECE), 0);

	for (int i = 0; i < 2; i++) {
		error_clear(&err);
		cr_expect_eq(snapshots_verify(s->snapshots, "web", "two", false, NULL, &err), -1);
		cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	}
}

SHELF_TEST(snapshots_flatten, a_flattened_one_needs_no_parent)
{
	cleanup_(snapshot_info_clear) SnapshotInfo before, after;
	cleanup_free char *memory = shelf_path(s, "web/two/memory");
	Error err = { 0 };

	make_chain(s);
	before = shelf_get(s, "web", "two");
	cr_assert_eq(flatten(s, "two", &err), 0, "%s", err.what);
	after = shelf_get(s, "web", "two");

	cr_expect_eq(after.depth, 1);
	cr_expect_str_eq(after.parent, "");
	cr_expect_eq(after.manifest->kind, SNAPSHOT_FULL);
	cr_expect_str_eq(after.manifest->uid, before.manifest->uid);
	cr_expect_str_eq(after.manifest->spec, before.manifest->spec);
	cr_expect_geq(after.allocated, before.allocated);
	expect_memory(memory, 0, 0);
	expect_memory(memory, MIB, 0);
	expect_memory(memory, 2 * MIB, 21);
	cr_expect_eq(fs_count(s->dir), 2, "the VM's and the digests");
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "one", &err), 0, "%s", err.what);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "base", &err), 0, "%s", err.what);
	shelf_restart(s);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "two", true, NULL, &err), 0, "%s",
		     err.what);
}

static bool count_calls(void *user, uint64_t done, uint64_t total)
{
	cr_expect_leq(done, total);
	++*(int *)user;
	return true;
}

SHELF_TEST_ONCE(snapshots_flatten, what_did_not_change_is_not_read_again)
{
	int calls = 0;
	const DiskProgress progress = { .step = count_calls, .user = &calls };
	cleanup_close int fd = -1;
	Error err = { 0 };

	/* Large enough to be told of. */
	fd = open(s->source, O_RDWR | O_CLOEXEC);
	cr_assert_eq(ftruncate(fd, 64 * MIB), 0);
	make_chain(s);
	cr_assert_eq(snapshots_flatten(s->snapshots, "web", "two", &progress, &err), 0, "%s",
		     err.what);
	cr_expect_gt(calls, 0);
	calls = 0;

	cr_expect_eq(snapshots_verify(s->snapshots, "web", "two", false, &progress, &err), 0);
	cr_expect_eq(calls, 0);
}

SHELF_TEST_ONCE(snapshots_flatten, those_laid_over_it_stay_so)
{
	cleanup_(snapshot_use_endp) SnapshotUse *in_use = NULL;
	cleanup_(snapshot_layers_clear) SnapshotLayers layers = { 0 };
	Error err = { 0 };

	make_chain(s);
	cr_assert_eq(flatten(s, "one", &err), 0, "%s", err.what);
	cr_expect_eq(snapshots_delete(s->snapshots, "web", "base", &err), 0, "%s", err.what);
	in_use = use(s, "two");
	cr_assert_eq(snapshot_use_layers(in_use, &layers, &err), 0, "%s", err.what);

	cr_expect_eq(layers.count, 2);
	expect_memory(layers.items[0].path, MIB, 7);
	expect_memory(layers.items[0].path, 2 * MIB, 21);
}

SHELF_TEST_ONCE(snapshots_flatten, a_full_one_is_left_as_it_is)
{
	cleanup_(snapshot_info_clear) SnapshotInfo before, after;
	Error err = { 0 };

	shelf_make(s, "web", "base");
	before = shelf_get(s, "web", "base");
	cr_assert_eq(flatten(s, "base", &err), 0, "%s", err.what);
	after = shelf_get(s, "web", "base");

	cr_expect_str_eq(before.manifest->seal, after.manifest->seal);
}

SHELF_TEST_ONCE(snapshots_flatten, one_that_is_used_is_not_replaced)
{
	SnapshotUse *in_use = NULL;
	Error err = { 0 };

	make_chain(s);
	in_use = use(s, "two");
	error_clear(&err);
	cr_expect_eq(flatten(s, "two", &err), -1);
	cr_expect_eq(err.kind, ERROR_IN_USE);
	snapshot_use_end(in_use);

	error_clear(&err);
	cr_expect_eq(fs_count(s->dir), 2);
	cr_assert_eq(snapshots_pin(s->snapshots, "web", "two", &err), 0);
	cr_expect_eq(flatten(s, "two", &err), 0, "%s", err.what);
	snapshots_unpin(s->snapshots, "web", "two");
}

static bool refuse(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	(void)done;
	(void)total;
	return false;
}

SHELF_TEST(snapshots_flatten, one_that_is_given_up_stays_a_diff)
{
	const DiskProgress progress = { .step = refuse };
	cleanup_(snapshot_info_clear) SnapshotInfo info = { 0 };
	Error err = { 0 };

	make_chain(s);
	cr_expect_eq(snapshots_flatten(s->snapshots, "web", "two", &progress, &err), -1);
	cr_expect_eq(err.cause, CAUSE_TIMEOUT, "%s", err.what);

	info = shelf_get(s, "web", "two");
	cr_expect_eq(info.depth, 3);
	cr_expect_eq(fs_count(s->dir), 2);
	error_clear(&err);
	cr_expect_eq(snapshots_verify(s->snapshots, "web", "two", true, NULL, &err), 0, "%s",
		     err.what);
}

SHELF_TEST(snapshots_flatten, without_room_it_stays_a_diff)
{
	Error err = { 0 };

	make_chain(s);
	s->config.spare_bytes = (uint64_t)FS_DISK_MIB * MIB;
	shelf_restart(s);

	cr_expect_eq(flatten(s, "two", &err), -1);
	cr_expect_eq(err.kind, ERROR_SNAPSHOT_FAILED);
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	cr_expect_eq(fs_count(s->dir), 2);
	cr_expect_eq(shelf_state(s, "web", "two"), SNAPSHOT_READY);
}

SHELF_TEST_ONCE(snapshots_flatten, a_damaged_parent_is_not_taken_over)
{
	Error err = { 0 };

	make_chain(s);
	shelf_flip(s, "web/base/memory", MIB, 1);

	cr_expect_eq(flatten(s, "two", &err), -1);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	cr_expect_eq(shelf_state(s, "web", "two"), SNAPSHOT_READY);
}
