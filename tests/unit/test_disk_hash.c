/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_hash.h"
#include "tests/support/fs_disk.h"

#include <openssl/sha.h>

static char path[] = "/tmp/hearth-hash.XXXXXX";
static int fd = -1;

static void make(void)
{
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
}

static void clear(void)
{
	(void)close(fd);
	(void)unlink(path);
}

TestSuite(disk_hash, .init = make, .fini = clear);

/* All at once. */
static void digest_of(const char *file, char ret[static DISK_DIGEST_SIZE])
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	cleanup_free char *bytes = NULL;
	size_t size;

	cr_assert_eq(file_read(&bytes, &size, file, 1 << 30), 0);
	SHA256((unsigned char *)bytes, size, sum);
	for (size_t i = 0; i < sizeof sum; i++)
		(void)snprintf(ret + 2 * i, 3, "%02x", sum[i]);
}

static void expect_right_digest(void)
{
	char digest[DISK_DIGEST_SIZE], expected[DISK_DIGEST_SIZE];
	Error err = { 0 };

	cr_assert_eq(disk_hash(digest, fd, path, NULL, &err), 0, "%s", err.what);
	digest_of(path, expected);
	cr_expect_str_eq(digest, expected);
	cr_expect(disk_digest_is_valid(digest));
}

Test(disk_hash, of_nothing_it_is_what_the_standard_says)
{
	char digest[DISK_DIGEST_SIZE];
	Error err = { 0 };

	cr_assert_eq(disk_hash(digest, fd, path, NULL, &err), 0);

	cr_expect_str_eq(digest,
			 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(disk_hash, it_does_not_depend_on_pieces)
{
	static const size_t sizes[] = {
		1, 511, 4096, 256 << 10, (256 << 10) + 1, 3 * MIB - 1, 3 * MIB, 9 * MIB + 5
	};

	for (size_t i = 0; i < array_size(sizes); i++) {
		cr_assert_eq(ftruncate(fd, 0), 0);
		fs_write(path, 0, sizes[i], i);
		expect_right_digest();
	}
}

Test(disk_hash, holes_count_as_zeros)
{
	cr_assert_eq(ftruncate(fd, 5 * MIB), 0);
	expect_right_digest();
	fs_write(path, 2 * (uint64_t)MIB, 4096, 1);
	expect_right_digest();
	fs_write(path, 0, 4096, 2);
	expect_right_digest();
	cr_assert_eq(ftruncate(fd, 33 * MIB + 17), 0);
	expect_right_digest();
}

typedef struct Told {
	uint64_t done, total;
	int count, most;
} Told;

static bool listen(void *user, uint64_t done, uint64_t total)
{
	Told *told = user;

	cr_expect_gt(done, told->done);
	told->done = done;
	told->total = total;
	return ++told->count < told->most;
}

Test(disk_hash, it_tells_how_far_it_is)
{
	Told told = { .most = 1000 };
	const DiskProgress progress = { .step = listen, .user = &told };
	char digest[DISK_DIGEST_SIZE];
	Error err = { 0 };

	fs_write(path, 0, 20 * MIB, 1);
	cr_assert_eq(ftruncate(fd, 60 * MIB), 0);
	cr_assert_eq(disk_hash(digest, fd, path, &progress, &err), 0);

	cr_expect_geq(told.count, 6);
	cr_expect_eq(told.total, 60 * MIB);
}

Test(disk_hash, it_can_be_given_up)
{
	Told told = { .most = 2 };
	const DiskProgress progress = { .step = listen, .user = &told };
	char digest[DISK_DIGEST_SIZE] = "before";
	Error err = { 0 };

	cr_assert_eq(ftruncate(fd, (off_t)MIB << 20), 0);

	cr_assert_eq(disk_hash(digest, fd, path, &progress, &err), -1);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_eq(err.cause, CAUSE_TIMEOUT);
	cr_expect_eq(told.count, 2);
	cr_expect_str_eq(digest, "before");
}

Test(disk_hash, a_digest_has_64_digits)
{
	cr_expect_not(disk_digest_is_valid(""));
	cr_expect_not(disk_digest_is_valid("e3b0c44298fc1c149afbf4c8996fb924"));
	cr_expect_not(disk_digest_is_valid(
		"E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
	cr_expect_not(disk_digest_is_valid(
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550"));
}
