/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/small_disk.h"
#include "tests/unit/templates_fixture.h"

#include <sys/wait.h>

/* Nothing but what finds digests again is left of an import that failed, and the name is free. */
static void expect_nothing(const Catalog *c)
{
	cleanup_free TemplateInfo *infos = NULL;
	cleanup_free char *hashes = catalog_path(c, ".hashes");
	size_t count;
	Error err = { 0 };

	cr_assert_eq(templates_list(c->templates, &infos, &count, &err), 0);
	cr_expect_eq(count, 0);
	cr_expect_eq(fs_count(c->dir), access(hashes, F_OK) == 0 ? 1 : 0);
}

static void expect_refused(const Catalog *c, const char *digest, ErrorCause cause,
			   const char *words)
{
	Error err = { 0 };

	cr_expect_eq(catalog_import(c, "debian", digest, &err), -1, "%s", words);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, cause, "%s", err.what);
	cr_expect_not_null(strstr(err.what, words), "%s", err.what);
	expect_nothing(c);
}

CATALOG_TEST(templates_import, a_full_disk_is_left_as_it_was)
{
	Error err = { 0 };

	fill_small_disk(c->disk->dir);
	expect_refused(c, NULL, CAUSE_EXHAUSTED, "");
	free_small_disk(c->disk->dir);
	fs_sync(c->disk);

	cr_expect_eq(catalog_import(c, "debian", NULL, &err), 0, "%s", err.what);
}

/* The disk fills once the import has begun. */
static bool fill_it(void *user, uint64_t done, uint64_t total)
{
	const Catalog *c = user;
	cleanup_free char *hog = fs_path(c->disk, "hog");

	if (done > total / 2 && access(hog, F_OK) < 0)
		fill_small_disk(c->disk->dir);
	return true;
}

CATALOG_TEST(templates_import, a_disk_that_fills_meanwhile_is_left_as_it_was)
{
	const DiskProgress progress = { .step = fill_it, .user = c };
	const TemplateImport import = { .name = "debian",
					.path = c->source,
					.progress = &progress };
	TemplateInfo info;
	Error err = { 0 };
	int r = templates_import(c->templates, &import, &info, &err);

	free_small_disk(c->disk->dir);
	if (r == 0)
		cr_skip_test("it had its room already");
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	expect_nothing(c);
}

Test(templates_import, a_quota_is_as_a_full_disk)
{
	cleanup_(fs_remove) FsDisk disk;
	cleanup_(catalog_close) Catalog c = { 0 };
	cleanup_free char *dir = NULL;
	char btrfs[] = "btrfs", quota[] = "quota", qgroup[] = "qgroup";

	fs_open(&disk, "btrfs");
	catalog_open(&c, &disk);
	fs_sync(&disk);
	dir = text_dup(disk.dir);
	cr_assert(fs_run((char *[]){ btrfs, quota, (char[]){ "enable" }, dir, NULL }));
	cr_assert(fs_run(
		(char *[]){ btrfs, qgroup, (char[]){ "limit" }, (char[]){ "5M" }, dir, NULL }));

	expect_refused(&c, NULL, CAUSE_EXHAUSTED, "quota");
}

CATALOG_TEST_ONCE(templates_import, what_is_no_raw_image_is_refused)
{
	static const struct {
		const char *text, *words;
		size_t length;
	} rows[] = {
		{ "QFI\xfb....", "a qcow2 image", 8 },
		{ "\x1f\x8b....", "compressed by gzip", 6 },
		{ "", "has 0 bytes", 0 },
		{ "x", "a raw image has sectors of 512", 1 },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		cr_assert_eq(file_write_atomic(c->source, rows[i].text, rows[i].length), 0);
		expect_refused(c, NULL, CAUSE_INPUT, rows[i].words);
	}
	cr_assert_eq(unlink(c->source), 0);
	expect_refused(c, NULL, CAUSE_MISSING, "No such file");
	cr_assert_eq(symlink("/etc/passwd", c->source), 0);
	expect_refused(c, NULL, CAUSE_INPUT, "symbolic links");
	cr_assert_eq(unlink(c->source), 0);
	cr_assert_eq(mkfifo(c->source, 0600), 0);
	expect_refused(c, NULL, CAUSE_INPUT, "no regular file");
}

CATALOG_TEST_ONCE(templates_import, another_digest_than_asked_for_is_corrupt)
{
	expect_refused(c, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		       CAUSE_CORRUPT, "is to have e3b0c442");
	expect_refused(c, "e3b0", CAUSE_INPUT, "no SHA-256");
}

CATALOG_TEST_ONCE(templates_import, a_retry_does_nothing_twice)
{
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");
	struct stat before, after;
	TemplateInfo info;
	Error err = { 0 };

	catalog_must_import(c, "debian");
	info = catalog_get(c, "debian");
	cr_assert_eq(stat(image, &before), 0);

	cr_expect_eq(catalog_import(c, "debian", info.stamp.digest, &err), 0, "%s", err.what);
	cr_assert_eq(stat(image, &after), 0);
	cr_expect_eq(before.st_ino, after.st_ino);
	cr_expect_eq(catalog_import(c, "debian", NULL, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
	error_clear(&err);
	info.stamp.digest[0] = info.stamp.digest[0] == 'a' ? 'b' : 'a';
	cr_expect_eq(catalog_import(c, "debian", info.stamp.digest, &err), -1);
	cr_expect_eq(err.cause, CAUSE_EXISTS, "%s", err.what);
}

CATALOG_TEST_ONCE(templates_import, limits_hold)
{
	Error err = { 0 };

	c->config.max_image_bytes = IMAGE_SIZE - 1;
	catalog_restart(c);
	expect_refused(c, NULL, CAUSE_INPUT, "an image may have");
	c->config.max_image_bytes = IMAGE_SIZE;
	c->config.spare_bytes = UINT64_C(1) << 40;
	catalog_restart(c);
	expect_refused(c, NULL, CAUSE_EXHAUSTED, "are not to be used");
	c->config.spare_bytes = 0;
	c->config.max_bytes = 2 * (uint64_t)MIB;
	catalog_restart(c);
	expect_refused(c, NULL, CAUSE_EXHAUSTED, "are left");

	c->config.max_bytes = 5 * (uint64_t)MIB;
	catalog_restart(c);
	catalog_must_import(c, "one");
	cr_expect_eq(catalog_import(c, "two", NULL, &err), -1, "each has 3 MiB");
	cr_expect_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	catalog_restart(c);
	error_clear(&err);
	cr_expect_eq(catalog_import(c, "two", NULL, &err), -1, "what is there counts");
	error_clear(&err);
	cr_assert_eq(templates_delete(c->templates, "one", &err), 0);
	cr_expect_eq(catalog_import(c, "two", NULL, &err), 0, "%s", err.what);
}

static bool change_source(void *user, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	fs_write(user, 100, 1, 5);
	return true;
}

static bool give_up_late(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	return done <= total / 2;
}

static int import_with(Catalog *c, bool (*step)(void *, uint64_t, uint64_t), Error *err)
{
	const DiskProgress progress = { .step = step, .user = c->source };
	const TemplateImport import = { .name = "debian",
					.path = c->source,
					.progress = &progress };
	TemplateInfo info;

	return templates_import(c->templates, &import, &info, err);
}

CATALOG_TEST_ONCE(templates_import, an_image_that_changes_meanwhile_is_refused)
{
	Error err = { 0 };

	cr_assert_eq(import_with(c, change_source, &err), -1);
	cr_expect_eq(err.cause, CAUSE_INPUT);
	cr_expect_not_null(strstr(err.what, "was changed while it was imported"), "%s", err.what);
	expect_nothing(c);
}

CATALOG_TEST_ONCE(templates_import, one_that_is_given_up_leaves_nothing)
{
	Error err = { 0 };

	cr_assert_eq(import_with(c, give_up_late, &err), -1);
	cr_expect_eq(err.cause, CAUSE_TIMEOUT, "%s", err.what);
	expect_nothing(c);
	catalog_must_import(c, "debian");
}

static bool die_late(void *user, uint64_t done, uint64_t total)
{
	(void)user;
	if (done > total / 2)
		_exit(7);
	return true;
}

CATALOG_TEST(templates_import, what_an_agent_that_died_left_is_removed)
{
	Error err = { 0 };
	int status;
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (child == 0)
		_exit(import_with(c, die_late, &err));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(WEXITSTATUS(status), 7);
	cr_expect_eq(fs_count(c->dir), 1, "what is left");
	catalog_restart(c);

	expect_nothing(c);
	catalog_must_import(c, "debian");
}

CATALOG_TEST(templates_import, holes_and_zeros_come_in_few_extents)
{
	static const char zeros[DISK_GAP_MIN];
	cleanup_free char *image = catalog_path(c, "debian/rootfs.ext4");
	cleanup_close int fd = open(c->source, O_RDWR | O_CLOEXEC);

	/* 300 pieces, each between zeros that were written. */
	cr_assert_eq(ftruncate(fd, 0), 0);
	for (uint64_t i = 0; i < 300; i++) {
		fs_write(c->source, 2 * i * sizeof zeros, sizeof zeros, i);
		cr_assert_eq(pwrite(fd, zeros, sizeof zeros, (off_t)((2 * i + 1) * sizeof zeros)),
			     sizeof zeros);
	}
	cr_assert_eq(ftruncate(fd, 100 * MIB), 0);
	catalog_must_import(c, "debian");

	cr_expect(fs_equal(image, c->source));
	cr_expect_leq(catalog_get(c, "debian").extents, 2 * DISK_RUNS_MAX);
	cr_expect_leq(fs_allocated(image), 40 * (uint64_t)MIB, "the end stays a hole");
}
