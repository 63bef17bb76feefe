/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/templates_fixture.h"

/* Clones, and whether they are of what was imported. */

static void expect_corrupt(const Catalog *c, const char *name)
{
	cleanup_free char *path = fs_path(c->disk, "clone");
	Error err = { 0 };

	cr_expect_eq(catalog_clone(c, name, "clone", 0, &err), -1);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	cr_expect_eq(access(path, F_OK), -1);
}

CATALOG_TEST(templates_clone, a_clone_is_writable_and_its_own)
{
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");
	cleanup_free char *clone = fs_path(c->disk, "clone");
	struct stat st;
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(catalog_clone(c, "debian", "clone", 0, &err), 0, "%s", err.what);

	cr_expect(fs_equal(clone, c->source));
	cr_assert_eq(stat(clone, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_eq(st.st_nlink, 1);
	fs_write(clone, 0, 4096, 5);
	cr_expect(fs_equal(image, c->source));
}

CATALOG_TEST(templates_clone, a_changed_byte_is_corrupt_whatever_its_mtime)
{
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");
	struct timespec times[2];
	struct stat st;
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(stat(image, &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	fs_write(image, 12345, 1, 99);
	cr_assert_eq(utimensat(AT_FDCWD, image, times, 0), 0);

	expect_corrupt(c, "debian");
	catalog_restart(c);
	expect_corrupt(c, "debian");
	fs_write(image, 0, 2 * MIB, 1);
	cr_expect_eq(catalog_clone(c, "debian", "clone", 0, &err), 0, "it is as it was: %s",
		     err.what);
}

CATALOG_TEST_ONCE(templates_clone, a_shortened_image_is_corrupt_at_once)
{
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");

	catalog_must_import(c, "debian");
	cr_assert_eq(truncate(image, IMAGE_SIZE - 512), 0);

	cr_expect_eq(catalog_get(c, "debian").problem.cause, CAUSE_CORRUPT);
	expect_corrupt(c, "debian");
}

CATALOG_TEST_ONCE(templates_clone, an_image_that_is_gone_is_missing)
{
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(unlink(image), 0);

	cr_expect_eq(catalog_clone(c, "debian", "clone", 0, &err), -1);
	cr_expect_eq(err.cause, CAUSE_MISSING, "%s", err.what);
}

CATALOG_TEST_ONCE(templates_clone, a_damaged_cache_calls_nothing_corrupt)
{
	cleanup_free char *hashes = catalog_path(c, ".hashes");
	cleanup_free char *text = NULL;
	TemplateInfo info;
	size_t length;
	char *digest;
	Error err = { 0 };

	catalog_must_import(c, "debian");
	info = catalog_get(c, "debian");
	cr_assert_eq(file_read(&text, &length, hashes, 1 << 20), 0);
	digest = strstr(text, info.stamp.digest);
	cr_assert_not_null(digest);
	digest[5] = digest[5] == 'a' ? 'b' : 'a';
	cr_assert_eq(file_write_atomic(hashes, text, length), 0);
	catalog_restart(c);

	cr_expect_eq(catalog_clone(c, "debian", "clone", 0, &err), 0, "%s", err.what);
}

/* Changes a byte below the file system, of the first that lie there as fs_fill() makes them. */
static void flip_below(const FsDisk *disk, uint64_t seed)
{
	cleanup_free char *bytes = NULL;
	char mark[64], *at;
	size_t size;
	int fd;

	fs_fill(mark, sizeof mark, seed);
	cr_assert_eq(file_read(&bytes, &size, disk->image, (size_t)1 << 30), 0);
	for (at = bytes; (at = memmem(at, size - (size_t)(at - bytes), mark, sizeof mark)); at++) {
		char changed = (char)(at[20] ^ 4);

		fd = open(disk->image, O_WRONLY | O_CLOEXEC);
		cr_assert_eq(pwrite(fd, &changed, 1, at - bytes + 20), 1);
		cr_assert_eq(close(fd), 0);
	}
}

CATALOG_TEST(templates_clone, a_bit_that_flips_on_the_disk_is_found_by_reading)
{
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(unlink(c->source), 0);
	fs_sync(c->disk);
	flip_below(c->disk, 2);

	cr_expect_eq(templates_verify(c->templates, "debian", false, NULL, &err), 0, "%s",
		     err.what);
	cr_expect_eq(templates_verify(c->templates, "debian", true, NULL, &err), -1);
	cr_expect_eq(err.cause, CAUSE_CORRUPT, "%s", err.what);
	expect_corrupt(c, "debian");
}

CATALOG_TEST_ONCE(templates_clone, an_unchanged_one_is_read_again_only_when_asked)
{
	Error err = { 0 };

	catalog_must_import(c, "debian");
	catalog_restart(c);

	cr_expect_eq(templates_verify(c->templates, "debian", false, NULL, &err), 0);
	cr_expect_eq(templates_verify(c->templates, "debian", true, NULL, &err), 0, "%s", err.what);
	cr_expect_eq(templates_verify(c->templates, "debian", false, NULL, &err), 0);
}

/* The source is a small ext4. */
static void make_ext4(Catalog *c)
{
	char *const argv[] = { (char[]){ "mkfs.ext4" }, (char[]){ "-q" }, c->source, NULL };

	cr_assert_eq(truncate(c->source, 0), 0);
	cr_assert_eq(truncate(c->source, 16 * MIB), 0);
	cr_assert(fs_run(argv));
}

static uint64_t size_of_ext4(const char *path)
{
	uint32_t blocks, log_block;
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);

	cr_assert_eq(pread(fd, &blocks, sizeof blocks, 1024 + 4), sizeof blocks);
	cr_assert_eq(pread(fd, &log_block, sizeof log_block, 1024 + 24), sizeof log_block);
	return (uint64_t)blocks << (10 + log_block);
}

CATALOG_TEST(templates_clone, an_ext4_fills_a_larger_disk)
{
	cleanup_free char *clone = fs_path(c->disk, "clone"), *again = fs_path(c->disk, "again");
	cleanup_free char *kept = catalog_path(c, "debian/grown-67108864.ext4");
	char *const check[] = { (char[]){ "e2fsck" }, (char[]){ "-fn" }, clone, NULL };
	struct stat before, after;
	Error err = { 0 };

	make_ext4(c);
	catalog_must_import(c, "debian");
	cr_assert_eq(catalog_clone(c, "debian", "clone", 64 * MIB, &err), 0, "%s", err.what);
	cr_assert_eq(stat(kept, &before), 0);
	cr_assert_eq(catalog_clone(c, "debian", "again", 64 * MIB, &err), 0, "%s", err.what);
	cr_assert_eq(stat(kept, &after), 0);

	cr_expect_eq(size_of_ext4(clone), 64 * MIB);
	cr_expect(fs_run(check));
	cr_expect_eq(before.st_ino, after.st_ino, "it was grown once");
	cr_expect(fs_equal(clone, again));
	cr_expect_eq(templates_verify(c->templates, "debian", true, NULL, &err), 0, "%s", err.what);
}

CATALOG_TEST_ONCE(templates_clone, a_grown_image_that_was_changed_is_made_anew)
{
	cleanup_free char *again = fs_path(c->disk, "again");
	cleanup_free char *kept = catalog_path(c, "debian/grown-67108864.ext4");
	char *const check[] = { (char[]){ "e2fsck" }, (char[]){ "-fn" }, again, NULL };
	Error err = { 0 };

	make_ext4(c);
	catalog_must_import(c, "debian");
	cr_assert_eq(catalog_clone(c, "debian", "clone", 64 * MIB, &err), 0, "%s", err.what);
	fs_write(kept, 5000, 5000, 1);
	cr_assert_eq(catalog_clone(c, "debian", "again", 64 * MIB, &err), 0, "%s", err.what);

	cr_expect_eq(size_of_ext4(again), 64 * MIB);
	cr_expect(fs_run(check));
	catalog_restart(c);
	cr_expect_eq(access(kept, F_OK), -1, "the next agent does not know it");
}

CATALOG_TEST_ONCE(templates_clone, grown_images_make_way_for_templates)
{
	cleanup_free char *kept = catalog_path(c, "debian/grown-67108864.ext4");
	cleanup_free char *data = fs_path(c->disk, "data.img");
	const TemplateImport import = { .name = "data", .path = data };
	TemplateInfo info;
	Error err = { 0 };

	make_ext4(c);
	catalog_must_import(c, "debian");
	c->config.max_bytes = catalog_get(c, "debian").allocated + 30 * (uint64_t)MIB;
	catalog_restart(c);
	cr_assert_eq(catalog_clone(c, "debian", "clone", 64 * MIB, &err), 0, "%s", err.what);
	cr_assert_eq(access(kept, F_OK), 0);
	fs_write(data, 0, 30 * MIB, 3);

	cr_expect_eq(templates_import(c->templates, &import, &info, &err), 0, "%s", err.what);
	cr_expect_eq(access(kept, F_OK), -1);
	cr_expect_eq(catalog_clone(c, "debian", "again", 64 * MIB, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
}

CATALOG_TEST_ONCE(templates_clone, what_is_no_ext4_is_longer_and_nothing_else)
{
	cleanup_free char *clone = fs_path(c->disk, "clone");
	Error err = { 0 };

	catalog_must_import(c, "debian");
	cr_assert_eq(catalog_clone(c, "debian", "clone", 64 * MIB, &err), 0, "%s", err.what);
	cr_assert_eq(truncate(c->source, 64 * MIB), 0);

	cr_expect(fs_equal(clone, c->source));
}

CATALOG_TEST_ONCE(templates_clone, sizes_that_make_no_disk_are_refused)
{
	Error err = { 0 };

	catalog_must_import(c, "debian");

	cr_expect_eq(catalog_clone(c, "debian", "clone", IMAGE_SIZE - 512, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
	error_clear(&err);
	cr_expect_eq(catalog_clone(c, "debian", "clone", IMAGE_SIZE + 1, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT, "%s", err.what);
}
