/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_room.h"

#include "base/lock.h"
#include "base/text.h"
#include "runtime/images/disk_file.h"

#include <inttypes.h>
#include <sys/statvfs.h>

struct DiskRoom {
	char *dir;
	uint64_t limit, spare;
	Lock lock;
	uint64_t used;     /* under lock: on the disk */
	uint64_t promised; /* under lock: taken and not settled */
};

DiskRoom *disk_room_new(const char *dir, uint64_t limit, uint64_t spare)
{
	DiskRoom *room = new0(DiskRoom);

	room->dir = text_dup(dir);
	room->limit = limit ? limit : UINT64_MAX;
	room->spare = spare;
	lock_init(&room->lock);
	return room;
}

void disk_room_free(DiskRoom *room)
{
	if (!room)
		return;
	free(room->dir);
	free(room);
}

static uint64_t less(uint64_t all, uint64_t part)
{
	return all > part ? all - part : 0;
}

/* With @bytes promised: is there room for all that is? */
static int check(const DiskRoom *room, uint64_t used, uint64_t others, uint64_t bytes,
		 const char *what, Error *err)
{
	uint64_t allowed = less(less(room->limit, used), others);
	struct statvfs fs;
	uint64_t left;

	if (bytes > allowed)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_EXHAUSTED,
				       "%s needs %" PRIu64 " bytes, and of the %" PRIu64
				       " that %s may have %" PRIu64 " are left",
				       what, bytes, room->limit, room->dir, allowed);
	if (statvfs(room->dir, &fs) < 0)
		return disk_error(err, errno, "look at the disk of %s", room->dir);
	left = less(fs.f_bavail * fs.f_frsize, others);
	if (bytes > less(left, room->spare))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_EXHAUSTED,
				       "%s needs %" PRIu64 " bytes, and of the disk of %s %" PRIu64
				       " are left, of which %" PRIu64 " are not to be used",
				       what, bytes, room->dir, left, room->spare);
	return 0;
}

int disk_room_take(DiskRoom *room, uint64_t bytes, const char *what, Error *err)
{
	uint64_t used, others;

	/* Promised before the disk is looked at: what others write is in the one or in the other.
	 */
	lock_take(&room->lock);
	used = room->used;
	others = room->promised;
	room->promised += bytes;
	lock_drop(&room->lock);

	if (check(room, used, others, bytes, what, err) == 0)
		return 0;
	disk_room_settle(room, bytes, 0);
	return -1;
}

void disk_room_settle(DiskRoom *room, uint64_t taken, uint64_t used)
{
	lock_take(&room->lock);
	room->promised -= taken;
	room->used += used;
	lock_drop(&room->lock);
}

void disk_room_add(DiskRoom *room, uint64_t bytes)
{
	disk_room_settle(room, 0, bytes);
}

void disk_room_give(DiskRoom *room, uint64_t bytes)
{
	lock_take(&room->lock);
	room->used = less(room->used, bytes);
	lock_drop(&room->lock);
}

uint64_t disk_room_read(DiskRoom *room, uint64_t *limit, uint64_t *spare)
{
	uint64_t used;

	if (limit)
		*limit = room->limit;
	if (spare)
		*spare = room->spare;
	lock_take(&room->lock);
	used = room->used;
	lock_drop(&room->lock);
	return used;
}
