/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/hash_cache.h"
#include "tests/support/fs_disk.h"

static const char a_digest[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static const char b_digest[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

typedef struct Fixture {
	char dir[40], path[64], disk[64];
	HashCache *cache;
} Fixture;

static void fixture_open(Fixture *f)
{
	*f = (Fixture){ .dir = "/tmp/hearth-hashes.XXXXXX" };
	cr_assert_not_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof f->path, "%s/.hashes", f->dir);
	(void)snprintf(f->disk, sizeof f->disk, "%s/disk", f->dir);
	f->cache = hash_cache_open(f->path);
}

static void fixture_close(Fixture *f)
{
	hash_cache_close(f->cache);
	(void)!file_remove_tree(f->dir);
}

static void reopen(Fixture *f)
{
	hash_cache_close(f->cache);
	f->cache = hash_cache_open(f->path);
}

static DiskIdentity identity_of(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	DiskIdentity identity;

	cr_assert_eq(disk_identity_get(&identity, fd), 0, "%s", path);
	return identity;
}

/* A disk nobody has touched for a while. */
static DiskIdentity make_disk(const Fixture *f)
{
	DiskIdentity identity;

	fs_write(f->disk, 0, 100000, 1);
	identity = identity_of(f->disk);
	cr_assert(disk_identity_settle(&identity));
	return identity;
}

static bool knows(const Fixture *f, const DiskIdentity *identity)
{
	char digest[DISK_DIGEST_SIZE];

	return hash_cache_find(f->cache, identity, digest);
}

static int read_disk(const Fixture *f, const DiskProgress *progress, Error *err)
{
	cleanup_close int fd = open(f->disk, O_RDONLY | O_CLOEXEC);
	char digest[DISK_DIGEST_SIZE];

	return hash_cache_read(f->cache, fd, f->disk, progress, digest, err);
}

Test(hash_cache, what_was_read_once_is_known_to_the_next_agent)
{
	cleanup_(fixture_close) Fixture f;
	char digest[DISK_DIGEST_SIZE];
	DiskIdentity identity;
	Error err = { 0 };

	fixture_open(&f);
	identity = make_disk(&f);
	cr_expect_not(knows(&f, &identity));
	cr_assert_eq(read_disk(&f, NULL, &err), 0, "%s", err.what);
	cr_expect(knows(&f, &identity));
	hash_cache_put(f.cache, &identity, a_digest);
	reopen(&f);

	cr_assert(hash_cache_find(f.cache, &identity, digest));
	cr_expect_str_eq(digest, a_digest);
	hash_cache_forget(f.cache, &identity);
	cr_expect_not(knows(&f, &identity));
	reopen(&f);
	cr_expect_not(knows(&f, &identity));
}

Test(hash_cache, any_change_makes_it_unknown)
{
	cleanup_(fixture_close) Fixture f;
	DiskIdentity identity, other;
	uint64_t *members[] = { &other.device, &other.inode, &other.size };
	int64_t *times[] = { &other.mtime, &other.ctime };

	fixture_open(&f);
	identity = make_disk(&f);
	hash_cache_put(f.cache, &identity, a_digest);

	for (size_t i = 0; i < array_size(members); i++) {
		other = identity;
		++*members[i];
		cr_expect_not(knows(&f, &other), "%zu", i);
	}
	for (size_t i = 0; i < array_size(times); i++) {
		other = identity;
		++*times[i];
		cr_expect_not(knows(&f, &other), "%zu", i);
	}
	cr_expect(knows(&f, &identity));
}

FS_TEST(hash_cache, a_disk_whose_mtime_was_put_back_is_unknown)
{
	cleanup_free char *path = fs_path(disk, "disk");
	struct timespec times[2];
	DiskIdentity before, after;
	struct stat st;

	fs_write(path, 0, 100000, 1);
	before = identity_of(path);
	cr_assert(disk_identity_settle(&before));
	cr_assert_eq(stat(path, &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	fs_write(path, 0, 100000, 2);
	cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	after = identity_of(path);

	cr_expect_eq(before.mtime, after.mtime);
	cr_expect_eq(before.size, after.size);
	cr_expect_not(disk_identity_equal(&before, &after));
}

FS_TEST(hash_cache, once_settled_no_write_goes_unseen)
{
	cleanup_free char *path = fs_path(disk, "disk");

	for (uint64_t i = 0; i < 100; i++) {
		DiskIdentity before, after;

		fs_write(path, 0, 512, i);
		before = identity_of(path);
		cr_assert(disk_identity_settle(&before));
		fs_write(path, 0, 512, i);
		after = identity_of(path);

		cr_expect_not(disk_identity_equal(&before, &after));
	}
}

Test(hash_cache, what_was_written_a_moment_ago_is_not_kept)
{
	cleanup_(fixture_close) Fixture f;
	DiskIdentity identity;
	Error err = { 0 };

	fixture_open(&f);
	hash_cache_close(f.cache);
	f.cache = hash_cache_open("/nonexistent/hashes"); /* to save it would take the moment */
	for (int i = 0; i < 20; i++) {
		bool settled;

		fs_write(f.disk, 0, 512, 1);
		identity = identity_of(f.disk);
		cr_assert_eq(read_disk(&f, NULL, &err), 0, "%s", err.what);
		settled = disk_identity_is_settled(&identity);

		cr_expect(settled || !knows(&f, &identity));
	}
}

Test(hash_cache, a_stamp_of_whole_seconds_takes_as_long_to_settle)
{
	DiskIdentity identity = { .ctime = clock_wall_us() / USEC_PER_SEC * INT64_C(1000000000) };

	cr_expect_not(disk_identity_is_settled(&identity));
	identity.ctime -= INT64_C(3000000000);
	cr_expect(disk_identity_is_settled(&identity));
	identity.ctime += INT64_C(3600000000000) + 1;
	cr_expect_not(disk_identity_is_settled(&identity), "it is from the future");
}

static bool write_to_it(void *user, uint64_t done, uint64_t total)
{
	(void)total;
	fs_write(user, done - 1, 1, 7);
	return true;
}

Test(hash_cache, a_disk_that_changes_while_it_is_read_has_no_digest)
{
	cleanup_(fixture_close) Fixture f;
	DiskProgress progress = { .step = write_to_it };
	DiskIdentity identity;
	Error err = { 0 };

	fixture_open(&f);
	progress.user = f.disk;
	fs_write(f.disk, 0, 20 << 20, 1);
	identity = identity_of(f.disk);
	cr_assert(disk_identity_settle(&identity));

	cr_assert_eq(read_disk(&f, &progress, &err), -1);
	cr_expect_eq(err.kind, ERROR_ROOTFS);
	cr_expect_not_null(strstr(err.what, "was changed while it was read"), "%s", err.what);
	cr_expect_not(knows(&f, &identity));
}

Test(hash_cache, a_damaged_file_costs_what_is_damaged)
{
	cleanup_(fixture_close) Fixture f;
	DiskIdentity one = { 1, 2, 3, 4, 5 }, two = { 1, 2, 3, -4, 6 };
	cleanup_free char *text = NULL;
	char *digest;
	size_t length;

	fixture_open(&f);
	hash_cache_put(f.cache, &one, a_digest);
	hash_cache_put(f.cache, &two, b_digest);
	reopen(&f);
	cr_expect(knows(&f, &one));
	cr_expect(knows(&f, &two));
	cr_assert_eq(file_read(&text, &length, f.path, 1 << 20), 0);
	digest = strstr(text, a_digest);
	cr_assert_not_null(digest);
	digest[10] = 'x';

	cr_assert_eq(file_write_atomic(f.path, text, length), 0);
	reopen(&f);
	cr_expect_not(knows(&f, &one));
	cr_expect(knows(&f, &two));
	cr_assert_eq(file_write_atomic(f.path, text, length - 2), 0);
	reopen(&f);
	cr_expect_not(knows(&f, &two));
	cr_assert_eq(file_write_atomic(f.path, "\0\xff\n", 3), 0);
	reopen(&f);
	cr_expect_not(knows(&f, &two));
}

Test(hash_cache, the_one_looked_for_least_lately_makes_way)
{
	cleanup_(fixture_close) Fixture f;
	DiskIdentity identity = { .device = 1 };
	cleanup_fclose FILE *file = NULL;

	fixture_open(&f);
	file = fopen(f.path, "w");
	cr_assert_not_null(file);
	(void)fputs("hearth-hashes 1\n", file);
	for (int i = 0; i < HASH_CACHE_MAX; i++)
		(void)fprintf(file, "1 %d 0 0 0 %s\n", i, a_digest);
	cr_assert_eq(fflush(file), 0);
	reopen(&f);
	cr_expect(knows(&f, &identity), "the first one");
	identity.inode = HASH_CACHE_MAX;
	hash_cache_put(f.cache, &identity, b_digest);

	cr_expect(knows(&f, &identity));
	identity.inode = 0;
	cr_expect(knows(&f, &identity));
	identity.inode = 1;
	cr_expect_not(knows(&f, &identity));
}

Test(hash_cache, one_that_cannot_be_written_is_in_memory)
{
	DiskIdentity identity = { 1, 2, 3, 4, 5 };
	cleanup_(hash_cache_closep) HashCache *cache = hash_cache_open("/nonexistent/hashes");
	char digest[DISK_DIGEST_SIZE];

	hash_cache_put(cache, &identity, a_digest);

	cr_assert(hash_cache_find(cache, &identity, digest));
	cr_expect_str_eq(digest, a_digest);
}
