/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshots_draft.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"

#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

enum {
	REFLINK_TRY = 64 << 10, /* bytes: a multiple of what file systems reflink in */
	PAGE = 4096,            /* of guests' memory */
};

/* What is there under a name that is asked for. */
typedef enum Found {
	FOUND_NONE,
	FOUND_READY,
	FOUND_UNDER_WAY,
	FOUND_OTHER,
	FOUND_NO_PARENT,
	FOUND_TOO_DEEP,
} Found;

static Found look_for(Snapshots *snapshots, const SnapshotKey *key, const char *request)
	lock_requires(snapshots->lock)
{
	const SnapshotEntry *there = snapshot_find(snapshots, key);

	if (!there || (!there->on_disk && there->state == SNAPSHOT_FAILED && !there->absent))
		return FOUND_NONE;
	if (there->absent || !request || !*request || strcmp(there->request, request) != 0)
		return FOUND_OTHER;
	if (there->state == SNAPSHOT_CREATING)
		return FOUND_UNDER_WAY;
	return there->state == SNAPSHOT_READY ? FOUND_READY : FOUND_OTHER;
}

/* Can a diff be laid over @parent? Its uid, then. */
static Found look_for_parent(Snapshots *snapshots, const SnapshotKey *parent, char ret[static 37])
	lock_requires(snapshots->lock)
{
	const SnapshotEntry *entry = snapshot_find(snapshots, parent);

	if (!entry || entry->absent || entry->state != SNAPSHOT_READY)
		return FOUND_NO_PARENT;
	text_copy(ret, 37, entry->manifest->uid);
	return snapshot_depth(snapshots, entry) >= SNAPSHOT_CHAIN_MAX ? FOUND_TOO_DEEP : FOUND_NONE;
}

/* Those that failed are no more than a few: the one that did first makes way. */
static SnapshotEntry *drop_failed(Snapshots *snapshots, const SnapshotKey *key)
	lock_requires(snapshots->lock)
{
	SnapshotEntry *first = NULL, *same = snapshot_find(snapshots, key);
	size_t count = 0;

	for (SnapshotEntry *entry = snapshots->entries; entry; entry = entry->hh.next)
		if (!entry->on_disk && entry->state == SNAPSHOT_FAILED && !entry->absent) {
			first = first ? first : entry;
			count++;
		}
	if (!same && count >= SNAPSHOT_FAILED_MAX)
		same = first;
	if (same)
		snapshot_drop(snapshots, same);
	return same;
}

/* Puts the draft's entry into the table, if it is nobody else's name. */
static Found reserve(SnapshotDraft *draft, const SnapshotBegin *begin)
{
	Snapshots *snapshots = draft->snapshots;
	SnapshotEntry *entry = draft->entry, *old = NULL;
	SnapshotKey parent = { 0 };
	Found found;

	text_copy(parent.vm_id, sizeof parent.vm_id, begin->vm_id);
	text_copy(parent.snapshot_id, sizeof parent.snapshot_id, begin->parent);
	lock_take(&snapshots->lock);
	found = look_for(snapshots, &entry->key, begin->request);
	if (found == FOUND_NONE && begin->parent)
		found = look_for_parent(snapshots, &parent, draft->parent_uid);
	if (found == FOUND_NONE) {
		old = drop_failed(snapshots, &entry->key);
		snapshot_add(snapshots, entry);
	}
	lock_drop(&snapshots->lock);
	snapshot_entry_free(old);
	return found;
}

static int refuse(Found found, const SnapshotBegin *begin, const SnapshotKey *key, Error *err)
{
	if (found == FOUND_OTHER)
		return error_set_snapshot(err, ERROR_SNAPSHOT_ALREADY_EXISTS, key->vm_id,
					  key->snapshot_id);
	if (found == FOUND_NO_PARENT)
		return error_set_snapshot(err, ERROR_SNAPSHOT_NOT_FOUND, key->vm_id, begin->parent);
	return snapshot_refuse(err, key, CAUSE_INPUT,
			       "its parent '%s' is laid over %d others already: flatten it first",
			       begin->parent, SNAPSHOT_CHAIN_MAX - 1);
}

static void forget(Snapshots *snapshots, SnapshotEntry *entry)
{
	lock_take(&snapshots->lock);
	snapshot_drop(snapshots, entry);
	lock_drop(&snapshots->lock);
	snapshot_entry_free(entry);
}

static int make_dir(SnapshotDraft *draft, uint64_t bytes, Error *err)
{
	const SnapshotKey *key = &draft->entry->key;

	if (disk_room_take(draft->snapshots->room, bytes, draft->dir, err) < 0)
		return snapshot_error(err, key);
	draft->taken = bytes;
	if (mkdir(draft->dir, 0700) < 0)
		return snapshot_errno(err, key, errno, "make %s", draft->dir);
	return 0;
}

static SnapshotDraft *draft_new(Snapshots *snapshots, const SnapshotKey *key,
				const SnapshotBegin *begin)
{
	SnapshotDraft *draft = new0(SnapshotDraft);
	SnapshotEntry *entry = snapshot_entry_new(key);

	entry->state = SNAPSHOT_CREATING;
	entry->created = clock_wall_us();
	entry->total = begin->bytes;
	text_copy(entry->tenant, sizeof entry->tenant, begin->tenant);
	text_copy(entry->request, sizeof entry->request, begin->request);
	text_copy(entry->parent, sizeof entry->parent, begin->parent);
	draft->snapshots = snapshots;
	draft->entry = entry;
	draft->dir = aside_path(snapshots->dir, "draft");
	return draft;
}

static void draft_free(SnapshotDraft *draft)
{
	free(draft->dir);
	free(draft);
}

/* A hole of a diff is a page that was not written: a file system that fills the rest of a block
 * with zeros would have them taken for written ones. */
static int check_blocks(const Snapshots *snapshots, const SnapshotKey *key, Error *err)
{
	struct statfs fs;

	if (fstatfs(snapshots->fd, &fs) < 0)
		return snapshot_errno(err, key, errno, "look at %s", snapshots->dir);
	if (fs.f_bsize <= PAGE)
		return 0;
	return error_set(err, ERROR_UNSUPPORTED,
			 "snapshots of what has changed: %s is in blocks of %ld bytes",
			 snapshots->dir, (long)fs.f_bsize);
}

int snapshots_begin(Snapshots *snapshots, const SnapshotBegin *begin, SnapshotDraft **ret,
		    SnapshotBegun *begun, Error *err)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	SnapshotDraft *asked;
	SnapshotKey key;
	Found found;

	if (snapshot_key(&key, begin->vm_id, begin->snapshot_id, err) < 0)
		return -1;
	if (begin->parent && check_blocks(snapshots, &key, err) < 0)
		return -1;
	asked = draft_new(snapshots, &key, begin);
	found = reserve(asked, begin);
	if (found != FOUND_NONE) {
		snapshot_entry_free(asked->entry);
		draft_free(asked);
		if (found != FOUND_READY && found != FOUND_UNDER_WAY)
			return refuse(found, begin, &key, err);
		*begun = found == FOUND_READY ? SNAPSHOT_BEGUN_READY : SNAPSHOT_BEGUN_UNDER_WAY;
		return 0;
	}
	draft = asked;
	if (make_dir(draft, begin->bytes, err) < 0)
		return -1;
	*ret = take_ptr(draft);
	*begun = SNAPSHOT_BEGUN;
	return 0;
}

const char *snapshot_draft_dir(const SnapshotDraft *draft)
{
	return draft->dir;
}

void snapshot_draft_progress(SnapshotDraft *draft, uint64_t done, uint64_t total)
{
	lock_take(&draft->snapshots->lock);
	draft->entry->done = done;
	draft->entry->total = total;
	snapshot_changed(draft->snapshots, draft->entry);
	lock_drop(&draft->snapshots->lock);
}

/* Can @disk be reflinked to where the draft is? Tried with a piece, for all of it costs as many
 * extents as it has. */
static bool can_reflink(const SnapshotDraft *draft, int disk, uint64_t size)
{
	cleanup_free char *path = text_printf("%s/probe", draft->dir);
	struct file_clone_range range = { .src_fd = disk };
	cleanup_close int fd = -1;
	Error none = { 0 };

	range.src_length = size > REFLINK_TRY ? REFLINK_TRY : 0;
	return disk_aside(&fd, path, 0600, &none) == 0 && ioctl(fd, FICLONERANGE, &range) == 0;
}

/* A copy takes its bytes off the disk now; a reflink not, but it may come to, so it counts. */
static int take_room(SnapshotDraft *draft, int disk, const char *path, Error *err)
{
	DiskRoom *room = draft->snapshots->room;
	uint64_t limit, used = disk_room_read(room, &limit, NULL);
	struct stat st;
	uint64_t bytes;

	if (fstat(disk, &st) < 0)
		return disk_error(err, errno, "look at the origin of %s", path);
	bytes = disk_allocated(&st);
	if (!can_reflink(draft, disk, (uint64_t)st.st_size)) {
		if (disk_room_take(room, bytes, path, err) < 0)
			return -1;
		draft->taken += bytes;
		return 0;
	}
	used += draft->taken;
	if (used > limit || limit - used < bytes)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_EXHAUSTED,
				       "%s may need %" PRIu64 " bytes, and of the %" PRIu64
				       " that %s may have %" PRIu64 " are used",
				       path, bytes, limit, draft->snapshots->dir, used);
	return 0;
}

int snapshot_draft_add_disk(SnapshotDraft *draft, const char *drive_id, int disk,
			    const DiskProgress *progress, Error *err)
{
	const SnapshotKey *key = &draft->entry->key;
	cleanup_free char *name = text_printf(SNAPSHOT_DISK_PREFIX "%s", drive_id);
	cleanup_free char *path = text_printf("%s/%s", draft->dir, name);
	DiskCloneOptions options = { .mode = 0444, .progress = progress };
	DiskCloneWay way;

	if (!snapshot_is_file_name(name))
		return snapshot_refuse(err, key, CAUSE_INPUT, "'%s' is no drive's id", drive_id);
	(void)disk_room_read(draft->snapshots->room, NULL, &options.spare);
	if (take_room(draft, disk, path, err) < 0 ||
	    disk_clone(&way, path, disk, &options, err) < 0)
		return snapshot_error(err, key);
	return 0;
}

/* Nothing of it is on the disk any more. */
static void remove_files(SnapshotDraft *draft)
{
	(void)!file_remove_tree(draft->dir);
	disk_room_settle(draft->snapshots->room, draft->taken, 0);
	draft->is_over = true;
}

void snapshot_draft_fail(SnapshotDraft *draft, const Error *why)
{
	Snapshots *snapshots = draft->snapshots;

	remove_files(draft);
	lock_take(&snapshots->lock);
	draft->entry->state = SNAPSHOT_FAILED;
	draft->entry->problem = *why;
	snapshot_changed(snapshots, draft->entry);
	lock_drop(&snapshots->lock);
}

void snapshot_draft_end(SnapshotDraft *draft)
{
	if (!draft)
		return;
	if (!draft->is_over) {
		remove_files(draft);
		forget(draft->snapshots, draft->entry);
	}
	draft_free(draft);
}
