/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_layout.h"
#include "tests/support/fs_disk.h"

#define GAP ((int64_t)DISK_GAP_MIN)

static char path[] = "/tmp/hearth-layout.XXXXXX";
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

TestSuite(disk_layout, .init = make, .fini = clear);

static DiskLayout scan(void)
{
	DiskLayout layout;
	Error err = { 0 };

	cr_assert_eq(disk_layout_scan(&layout, fd, path, NULL, &err), 0, "%s", err.what);
	return layout;
}

static void expect_run(const DiskLayout *layout, size_t i, uint64_t at, uint64_t end)
{
	cr_assert_lt(i, layout->count);
	cr_expect_eq(layout->runs[i].at, at, "run %zu at %zu", i, (size_t)layout->runs[i].at);
	cr_expect_eq(layout->runs[i].end, end, "run %zu ends at %zu", i,
		     (size_t)layout->runs[i].end);
}

Test(disk_layout, a_disk_of_zeros_has_no_runs)
{
	static const char zeros[3 * GAP];

	cr_expect_eq(scan().count, 0);
	cr_assert_eq(ftruncate(fd, 40 * MIB), 0);
	cr_expect_eq(scan().count, 0);
	cr_assert_eq(pwrite(fd, zeros, sizeof zeros, GAP / 2), sizeof zeros);
	cr_expect_eq(scan().count, 0);
	cr_expect_eq(scan().size, 40 * MIB);
}

Test(disk_layout, zeros_that_were_written_are_a_gap_as_a_hole_is)
{
	static const char zeros[4 * GAP];
	DiskLayout layout;

	fs_write(path, 0, 10 * GAP, 1);
	cr_assert_eq(pwrite(fd, zeros, sizeof zeros, 3 * GAP - 100), sizeof zeros);
	cr_assert_eq(ftruncate(fd, 30 * GAP), 0);
	layout = scan();

	cr_expect_eq(layout.count, 2);
	expect_run(&layout, 0, 0, 3 * GAP);
	expect_run(&layout, 1, 6 * GAP, 10 * GAP);
	cr_expect_eq(layout.data, 7 * GAP);
}

Test(disk_layout, of_many_gaps_the_largest_stay)
{
	uint64_t at = GAP;
	DiskLayout layout;

	/* Gaps of 1, 2 .. 40, in no order. */
	for (uint64_t i = 0; i < 40; i++) {
		fs_write(path, at, GAP, i);
		at += (2 + i * 7 % 40) * GAP;
	}
	cr_assert_eq(ftruncate(fd, (off_t)at), 0);
	layout = scan();

	cr_expect_eq(layout.count, DISK_RUNS_MAX);
	cr_expect_eq(layout.runs[0].at, GAP, "the one before all runs costs nothing");
	for (size_t i = 1; i < layout.count; i++)
		cr_expect_geq(layout.runs[i].at - layout.runs[i - 1].end, 25 * GAP);
}

/* Is each byte that is not zero within a run? */
static void expect_covered(const DiskLayout *layout, const char *bytes, size_t size)
{
	uint64_t at = 0;

	for (size_t i = 0; i <= layout->count; i++) {
		uint64_t end = i < layout->count ? layout->runs[i].at : size;

		for (; at < end; at++)
			cr_assert_eq(bytes[at], 0, "at %zu", (size_t)at);
		if (i < layout->count)
			at = layout->runs[i].end;
	}
}

/* Less than @below, the same each time the test is run. */
static int64_t chance(int64_t below)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (int64_t)(state >> 33) % below;
}

Test(disk_layout, no_byte_is_lost)
{
	for (int round = 0; round < 60; round++) {
		cleanup_free char *bytes = NULL;
		DiskLayout layout;
		size_t size;

		cr_assert_eq(ftruncate(fd, 0), 0);
		cr_assert_eq(ftruncate(fd, chance(8 * MIB)), 0);
		for (int64_t i = chance(60); i > 0; i--)
			fs_write(path, (uint64_t)(chance(8 * MIB)), (size_t)(1 + chance(GAP)),
				 (uint64_t)i);
		layout = scan();

		cr_assert_eq(file_read(&bytes, &size, path, 64 * MIB), 0);
		cr_expect_leq(layout.count, DISK_RUNS_MAX);
		cr_expect_eq(layout.size, size);
		expect_covered(&layout, bytes, size);
	}
}

FS_TEST(disk_layout_extents, a_file_in_one_piece_has_one)
{
	cleanup_free char *file = fs_path(disk, "file");
	cleanup_close int whole = -1;

	fs_write(file, 0, 4 * MIB, 1);
	whole = open(file, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fsync(whole), 0);

	cr_expect_geq(disk_layout_extents(whole), 1);
	cr_expect_leq(disk_layout_extents(whole), 2);
}
