/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_room.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/statvfs.h>

static uint64_t left_on_tmp(void)
{
	struct statvfs fs;

	cr_assert_eq(statvfs("/tmp", &fs), 0);
	return fs.f_bavail * fs.f_frsize;
}

static bool take(DiskRoom *room, uint64_t bytes)
{
	Error err = { 0 };

	if (disk_room_take(room, bytes, "a disk", &err) == 0)
		return true;
	cr_assert_eq(err.kind, ERROR_ROOTFS);
	cr_assert_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	return false;
}

Test(disk_room, what_is_taken_cannot_be_taken_again)
{
	cleanup_(disk_room_freep) DiskRoom *room = disk_room_new("/tmp", 1000, 0);

	cr_expect(take(room, 600));
	cr_expect_not(take(room, 401));
	cr_expect(take(room, 400));
	cr_expect_not(take(room, 1));
	cr_expect_eq(disk_room_read(room, NULL, NULL), 0, "nothing is on the disk yet");
	disk_room_settle(room, 600, 100);
	cr_expect_eq(disk_room_read(room, NULL, NULL), 100);
	cr_expect_not(take(room, 501));
	cr_expect(take(room, 500));
}

Test(disk_room, what_is_there_anyway_counts)
{
	cleanup_(disk_room_freep) DiskRoom *room = disk_room_new("/tmp", 1000, 0);

	disk_room_add(room, 1500);
	cr_expect_not(take(room, 1));
	disk_room_give(room, 700);
	cr_expect_not(take(room, 201));
	cr_expect(take(room, 200));
}

Test(disk_room, the_disk_keeps_its_spare_bytes)
{
	const uint64_t mib = 1 << 20;
	cleanup_(disk_room_freep) DiskRoom *room = NULL;

	/* Others write to it as well: give or take some. */
	room = disk_room_new("/tmp", 0, left_on_tmp() - 1000 * mib);
	cr_expect_not(take(room, 1500 * mib));
	cr_expect(take(room, 300 * mib));
	cr_expect_not(take(room, 1200 * mib), "what is taken and not yet written is not free");
	disk_room_settle(room, 300 * mib, 0);
	cr_expect(take(room, 500 * mib));
}

Test(disk_room, a_refusal_says_what_is_lacking)
{
	cleanup_(disk_room_freep) DiskRoom *room = disk_room_new("/tmp", 1000, 0);
	Error err = { 0 };

	cr_assert_eq(disk_room_take(room, 1001, "/images/debian", &err), -1);

	cr_expect_str_eq(err.what, "/images/debian needs 1001 bytes, and of the 1000 that /tmp may "
				   "have 1000 are left");
}
