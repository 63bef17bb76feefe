/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_clone.h"
#include "tests/support/fs_disk.h"
#include "tests/support/small_disk.h"

#define ORIGIN_SIZE (24 * MIB)

/* 2 MiB of data within holes. */
static void make_origin(const char *path)
{
	fs_write(path, 4 * (uint64_t)MIB, MIB, 1);
	fs_write(path, 20 * (uint64_t)MIB, MIB, 2);
	cr_assert_eq(truncate(path, ORIGIN_SIZE), 0);
}

static int clone_of(const char *origin, const char *to, const DiskCloneOptions *options,
		    DiskCloneWay *way, Error *err)
{
	cleanup_close int fd = -1;

	cr_assert_eq(disk_open(&fd, AT_FDCWD, origin, err), 0, "%s", err->what);
	return disk_clone(way, to, fd, options, err);
}

FS_TEST(disk_clone, a_clone_is_a_disk_of_its_own)
{
	cleanup_free char *origin = fs_path(disk, "origin"), *to = fs_path(disk, "clone");
	cleanup_free char *reference = fs_path(disk, "reference");
	const DiskCloneOptions options = { .mode = 0640 };
	DiskCloneWay way;
	struct stat st;
	Error err = { 0 };

	make_origin(origin);
	make_origin(reference);
	(void)umask(077);
	cr_assert_eq(clone_of(origin, to, &options, &way, &err), 0, "%s", err.what);

	cr_expect(fs_equal(origin, to));
	cr_expect_eq(way, strcmp(disk->type, "ext4") == 0 ? DISK_CLONE_COPY : DISK_CLONE_REFLINK);
	cr_expect_leq(fs_allocated(to), 3 * (uint64_t)MIB, "holes stay holes");
	cr_assert_eq(stat(to, &st), 0);
	cr_expect_eq(st.st_nlink, 1);
	cr_expect_eq(st.st_mode & 07777, 0640);
	fs_write(to, 4 * (uint64_t)MIB, MIB, 3);
	cr_expect(fs_equal(origin, reference), "what is written is the clone's alone");
}

FS_TEST(disk_clone, a_larger_one_ends_in_zeros)
{
	cleanup_free char *origin = fs_path(disk, "origin"), *to = fs_path(disk, "clone");
	const DiskCloneOptions options = { .mode = 0600, .size = 64 * MIB, .durable = true };
	DiskCloneWay way;
	struct stat st;
	Error err = { 0 };

	make_origin(origin);
	cr_assert_eq(clone_of(origin, to, &options, &way, &err), 0, "%s", err.what);

	cr_assert_eq(stat(to, &st), 0);
	cr_expect_eq(st.st_size, 64 * MIB);
	cr_expect_leq(fs_allocated(to), 3 * (uint64_t)MIB);
	cr_assert_eq(truncate(origin, 64 * MIB), 0);
	cr_expect(fs_equal(origin, to));
}

FS_TEST(disk_clone, one_from_another_file_system_is_a_copy)
{
	cleanup_free char *origin = text_printf("%s.origin", disk->dir);
	cleanup_free char *to = fs_path(disk, "clone");
	const DiskCloneOptions options = { .mode = 0600 };
	DiskCloneWay way;
	Error err = { 0 };

	make_origin(origin);
	cr_expect_eq(clone_of(origin, to, &options, &way, &err), 0, "%s", err.what);

	cr_expect_eq(way, DISK_CLONE_COPY);
	cr_expect(fs_equal(origin, to));
	cr_expect_leq(fs_allocated(to), 3 * (uint64_t)MIB);
	cr_assert_eq(unlink(origin), 0);
}

static bool give_up(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	(void)done;
	(void)total;
	return false;
}

Test(disk_clone, one_that_is_given_up_leaves_nothing)
{
	cleanup_(fs_remove) FsDisk disk;
	cleanup_free char *origin = NULL, *to = NULL;
	const DiskProgress progress = { .step = give_up };
	const DiskCloneOptions options = { .mode = 0600, .progress = &progress };
	DiskCloneWay way;
	size_t before;
	Error err = { 0 };

	fs_open(&disk, "ext4");
	origin = fs_path(&disk, "origin");
	to = fs_path(&disk, "clone");
	make_origin(origin);
	before = fs_count(disk.dir);

	cr_assert_eq(clone_of(origin, to, &options, &way, &err), -1);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, CAUSE_TIMEOUT);
	cr_expect_eq(fs_count(disk.dir), before);
}

FS_TEST(disk_clone, a_full_disk_is_left_as_it_was)
{
	cleanup_free char *origin = text_printf("%s.origin", disk->dir);
	cleanup_free char *to = fs_path(disk, "clone");
	const DiskCloneOptions options = { .mode = 0600 };
	DiskCloneWay way;
	size_t before;
	Error err = { 0 };

	make_origin(origin);
	fill_small_disk(disk->dir);
	before = fs_count(disk->dir);

	cr_expect_eq(clone_of(origin, to, &options, &way, &err), -1);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	cr_expect_eq(fs_count(disk->dir), before);
	error_clear(&err);
	free_small_disk(disk->dir);
	fs_sync(disk);
	cr_expect_eq(clone_of(origin, to, &options, &way, &err), 0, "%s", err.what);
	cr_assert_eq(unlink(origin), 0);
}

FS_TEST(disk_clone, what_is_to_stay_free_is_not_used)
{
	cleanup_free char *origin = fs_path(disk, "origin"), *to = fs_path(disk, "clone");
	const DiskCloneOptions options = { .mode = 0600, .spare = UINT64_C(1) << 30 };
	DiskCloneWay way;
	Error err = { 0 };

	make_origin(origin);
	cr_assert_eq(clone_of(origin, to, &options, &way, &err), -1);

	cr_expect_eq(err.cause, CAUSE_EXHAUSTED);
	cr_expect_not_null(strstr(err.what, "1073741824 are not to be used"), "%s", err.what);
	cr_expect_eq(access(to, F_OK), -1);
}

typedef struct Tree {
	char dir[40], origin[64], to[64];
} Tree;

static void tree_open(Tree *tree)
{
	*tree = (Tree){ .dir = "/tmp/hearth-clone.XXXXXX" };
	cr_assert_not_null(mkdtemp(tree->dir));
	(void)snprintf(tree->origin, sizeof tree->origin, "%s/origin", tree->dir);
	(void)snprintf(tree->to, sizeof tree->to, "%s/clone", tree->dir);
	make_origin(tree->origin);
}

static void tree_remove(Tree *tree)
{
	(void)!file_remove_tree(tree->dir);
}

Test(disk_clone, what_has_the_name_is_let_alone)
{
	cleanup_(tree_remove) Tree tree;
	const DiskCloneOptions options = { .mode = 0600 };
	DiskCloneWay way;
	cleanup_free char *text = NULL;
	Error err = { 0 };

	tree_open(&tree);
	cr_assert_eq(file_write_atomic(tree.to, "mine", 4), 0);

	cr_assert_eq(clone_of(tree.origin, tree.to, &options, &way, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
	cr_assert_eq(file_read(&text, NULL, tree.to, 100), 0);
	cr_expect_str_eq(text, "mine");
}

Test(disk_clone, a_link_that_has_the_name_is_not_followed)
{
	cleanup_(tree_remove) Tree tree;
	cleanup_free char *elsewhere = NULL;
	const DiskCloneOptions options = { .mode = 0600 };
	DiskCloneWay way;
	Error err = { 0 };

	tree_open(&tree);
	elsewhere = text_printf("%s/elsewhere", tree.dir);
	cr_assert_eq(symlink(elsewhere, tree.to), 0);

	cr_assert_eq(clone_of(tree.origin, tree.to, &options, &way, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
	cr_expect_eq(access(elsewhere, F_OK), -1);
}

Test(disk_clone, a_link_is_no_origin)
{
	cleanup_(tree_remove) Tree tree;
	cleanup_close int fd = -1;
	Error err = { 0 };

	tree_open(&tree);
	cr_assert_eq(symlink(tree.origin, tree.to), 0);

	cr_assert_eq(disk_open(&fd, AT_FDCWD, tree.to, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
}

Test(disk_clone, what_is_no_file_is_no_origin)
{
	cleanup_close int fd = -1;
	Error err = { 0 };

	cr_assert_eq(disk_open(&fd, AT_FDCWD, "/dev/zero", &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	error_clear(&err);
	cr_assert_eq(disk_open(&fd, AT_FDCWD, "/nonexistent/x", &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING, "%s", err.what);
}

Test(disk_clone, a_size_below_the_origins_is_refused)
{
	cleanup_(tree_remove) Tree tree;
	const DiskCloneOptions options = { .mode = 0600, .size = MIB };
	DiskCloneWay way;
	Error err = { 0 };

	tree_open(&tree);

	cr_assert_eq(clone_of(tree.origin, tree.to, &options, &way, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	cr_expect_eq(access(tree.to, F_OK), -1);
}
