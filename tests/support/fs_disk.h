/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A file system of the test's own in a file, for Criterion suites: each test is a process of its
 * own, and what it has mounted goes with it. */

#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (INT64_C(1) << 20)

enum {
	FS_DISK_MIB = 320, /* the least that mkfs.xfs takes */
};

typedef struct FsDisk {
	char dir[40]; /* where it is mounted */
	char image[48];
	const char *type; /* "xfs", "btrfs" or "ext4" */
} FsDisk;

/* Return: does the program end with 0? */
static inline bool fs_run(char *const argv[])
{
	ProcessResult result = { 0 };
	int r = process_run(&result, argv, 60 * (int64_t)USEC_PER_SEC);

	if (r == 0 && result.code != 0)
		cr_log_warn("%s: %s", argv[0], result.output);
	r = r < 0 ? r : result.code;
	free(result.output);
	return r == 0;
}

static inline bool fs_make(const FsDisk *disk)
{
	cleanup_free char *mkfs = text_printf("mkfs.%s", disk->type);
	cleanup_free char *image = text_dup(disk->image);
	char *const argv[] = { mkfs, (char[]){ "-q" }, image, NULL };
	int fd = open(disk->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, (off_t)FS_DISK_MIB << 20), 0);
	cr_assert_eq(close(fd), 0);
	return fs_run(argv);
}

static inline bool fs_mount(const FsDisk *disk)
{
	cleanup_free char *image = text_dup(disk->image), *dir = text_dup(disk->dir);
	char *const argv[] = {
		(char[]){ "mount" }, (char[]){ "-o" }, (char[]){ "loop" }, image, dir, NULL
	};

	return fs_run(argv);
}

static inline void fs_remove(FsDisk *disk)
{
	(void)umount2(disk->dir, MNT_DETACH);
	(void)rmdir(disk->dir);
	(void)unlink(disk->image);
}

/* Skips the test, with the reason, where that cannot be mounted. */
static inline void fs_open(FsDisk *disk, const char *type)
{
	*disk = (FsDisk){ .dir = "/tmp/hearth-fs.XXXXXX", .type = type };
	if (unshare(CLONE_NEWNS) < 0)
		cr_skip_test("mounting needs root");
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_not_null(mkdtemp(disk->dir));
	(void)snprintf(disk->image, sizeof disk->image, "%s.img", disk->dir);
	if (!fs_make(disk) || !fs_mount(disk)) {
		fs_remove(disk);
		cr_skip_test("no %s on a loop device here", type);
	}
}

/* A path on it; to free. */
static inline char *fs_path(const FsDisk *disk, const char *name)
{
	return text_printf("%s/%s", disk->dir, name);
}

/* All that was freed is free. */
static inline void fs_sync(const FsDisk *disk)
{
	cleanup_close int fd = open(disk->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(syncfs(fd), 0);
}

/* How many names there are in @path, "." and ".." left out. */
static inline size_t fs_count(const char *path)
{
	cleanup_closedir DIR *dir = opendir(path);
	const struct dirent *file;
	size_t count = 0;

	cr_assert_not_null(dir, "%s", path);
	while ((file = readdir(dir)))
		count += strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0;
	return count;
}

/* Bytes of a disk, the same for the same place and seed, none of them zero. */
static inline void fs_fill(char *bytes, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		bytes[i] = (char)((seed >> 56) | 1);
	}
}

/* Writes @size such bytes at @at of @path, which is made if need be. */
static inline void fs_write(const char *path, uint64_t at, size_t size, uint64_t seed)
{
	cleanup_free char *bytes = must_realloc(NULL, size, 1);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	fs_fill(bytes, size, seed);
	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(pwrite(fd, bytes, size, (off_t)at), (ssize_t)size);
	cr_assert_eq(close(fd), 0);
}

/* Do both files hold the same? */
static inline bool fs_equal(const char *a, const char *b)
{
	cleanup_free char *of_a = NULL, *of_b = NULL;
	size_t size_a, size_b;

	cr_assert_eq(file_read(&of_a, &size_a, a, 1 << 30), 0, "%s", a);
	cr_assert_eq(file_read(&of_b, &size_b, b, 1 << 30), 0, "%s", b);
	return size_a == size_b && memcmp(of_a, of_b, size_a) == 0;
}

static inline uint64_t fs_allocated(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "%s", path);
	return (uint64_t)st.st_blocks * 512;
}

/* A test on each of the file systems: body(disk). */
#define FS_TEST_ON(suite, name, type)            \
	Test(suite, name##_on_##type)            \
	{                                        \
		cleanup_(fs_remove) FsDisk disk; \
                                                 \
		fs_open(&disk, #type);           \
		name(&disk);                     \
	}
#define FS_TEST(suite, name)                  \
	static void name(const FsDisk *disk); \
	FS_TEST_ON(suite, name, xfs)          \
	FS_TEST_ON(suite, name, btrfs)        \
	FS_TEST_ON(suite, name, ext4)         \
	static void name(const FsDisk *disk)
