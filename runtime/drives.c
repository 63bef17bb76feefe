/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
	AGAINST_MAX = 112,
	KEYS = 2, /* of one drive */
	KEYS_MAX = KEYS * SPEC_DRIVES_MAX,
};

/*
 * One disk and the VMs that use it: many that read it, or one that writes it,
 * since no VMM locks it. A disk goes by two keys, each claimed by itself: the
 * file, so that a hard link or another device node is the same disk, and the
 * real path, so that a disk whose file is missing or replaced before the VM
 * opens it again stays the VM's.
 */
typedef struct DriveUse {
	UT_hash_handle hh;
	size_t readers;
	char writer[64]; /* vm_id, or "" */
	char key[];
} DriveUse;

/* By what was claimed, not by key: those may lead elsewhere by the time it is given back. */
struct DriveClaim {
	size_t count;
	DriveUse *uses[KEYS_MAX];
	bool reads[KEYS_MAX];
};

/* The path that @path leads to; itself where there is nothing (yet). To free. */
static char *real_path(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : text_dup(path);
}

/*
 * Which file or device @path is, in words that are no path; NULL where there is nothing (yet).
 * To free. The time of birth tells a file from an earlier one whose inode it was given.
 */
static char *file_key(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_BTIME, &st) < 0)
		return NULL;
	if (S_ISBLK(st.stx_mode))
		return text_printf("device %" PRIu32 ":%" PRIu32, st.stx_rdev_major,
				   st.stx_rdev_minor);
	if (!(st.stx_mask & STATX_BTIME))
		st.stx_btime = (struct statx_timestamp){ 0 };
	return text_printf("file %" PRIu32 ":%" PRIu32 " %" PRIu64 " %" PRId64 ".%" PRIu32,
			   st.stx_dev_major, st.stx_dev_minor, (uint64_t)st.stx_ino,
			   (int64_t)st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
}

/* NOLINTBEGIN(readability-function-*,clang-analyzer-core.NullDereference): uthash's macros */
static DriveUse *find(Runtime *runtime, const char *key)
{
	DriveUse *use;

	HASH_FIND_STR(runtime->drive_uses, key, use);
	return use;
}

static DriveUse *find_or_add(Runtime *runtime, const char *key)
{
	DriveUse *use = find(runtime, key);

	if (use)
		return use;
	use = must_calloc(1, sizeof *use + strlen(key) + 1);
	(void)stpcpy(use->key, key);
	HASH_ADD_STR(runtime->drive_uses, key, use);
	return use;
}

/* Under the table's lock. */
static void drop(Runtime *runtime, DriveUse *use)
{
	if (use->readers || use->writer[0])
		return;
	HASH_DEL(runtime->drive_uses, use);
	free(use);
}
/* NOLINTEND(readability-function-*,clang-analyzer-core.NullDereference) */

/* Under the table's lock: what stands against @drive, in words, or nothing. */
static bool taken(const DriveUse *use, const VmDrive *drive, char *ret, size_t size)
{
	ret[0] = '\0';
	if (use->writer[0])
		(void)snprintf(ret, size, "vm '%s' writes to it", use->writer);
	else if (use->readers && !drive->read_only)
		(void)snprintf(ret, size, "%zu other drives read it", use->readers);
	return ret[0];
}

static bool has(const DriveClaim *claim, const DriveUse *use)
{
	for (size_t i = 0; i < claim->count; i++)
		if (claim->uses[i] == use)
			return true;
	return false;
}

static void note(DriveClaim *claim, DriveUse *use, const VmDrive *drive, const char *vm_id)
{
	if (drive->read_only)
		use->readers++;
	else
		text_copy(use->writer, sizeof use->writer, vm_id);
	claim->reads[claim->count] = drive->read_only;
	claim->uses[claim->count++] = use;
}

/* Under the table's lock. -1 and @words if @key is taken; -EAGAIN: by a VM of that very name. */
static int claim_key(Runtime *runtime, DriveClaim *claim, const char *key, const VmDrive *drive,
		     const char *vm_id, char words[static AGAINST_MAX])
{
	DriveUse *use = find_or_add(runtime, key);

	if (taken(use, drive, words, AGAINST_MAX))
		return !has(claim, use) && strcmp(use->writer, vm_id) == 0 ? -EAGAIN : -1;
	note(claim, use, drive, vm_id);
	return 0;
}

/* Under the table's lock. */
static void give_back(Runtime *runtime, DriveClaim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		if (claim->reads[i])
			claim->uses[i]->readers--;
		else
			claim->uses[i]->writer[0] = '\0';
		drop(runtime, claim->uses[i]);
	}
	claim->count = 0;
}

static void blame(Error *err, char against[][AGAINST_MAX], size_t count)
{
	char field[64];

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(field, sizeof field, "spec.drives[%zu].path", i);
		if (against[i][0])
			(void)error_add_violation(err, field, "%s", against[i]);
	}
}

int drives_claim(Runtime *runtime, const char *vm_id, const VmSpec *spec, DriveClaim **ret,
		 Error *err)
{
	cleanup_free DriveClaim *claim = new0(DriveClaim);
	char *keys[KEYS_MAX] = { 0 };
	char against[SPEC_DRIVES_MAX][AGAINST_MAX] = { "" };
	bool refused = false, again = false;
	size_t count = spec->drives.count;

	for (size_t i = 0; i < count; i++) {
		keys[i * KEYS] = real_path(spec_drive(spec, i)->path);
		keys[i * KEYS + 1] = file_key(spec_drive(spec, i)->path);
	}

	lock_take(&runtime->table_lock);
	for (size_t k = 0; k < count * KEYS; k++) {
		const VmDrive *drive = spec_drive(spec, k / KEYS);
		char *words = against[k / KEYS];
		int r;

		if (!keys[k] || words[0])
			continue;
		r = claim_key(runtime, claim, keys[k], drive, vm_id, words);
		refused |= r < 0;
		again |= r == -EAGAIN;
	}
	if (refused || !ret)
		give_back(runtime, claim);
	lock_drop(&runtime->table_lock);

	for (size_t k = 0; k < count * KEYS; k++)
		free(keys[k]);
	if (refused)
		blame(err, against, count);
	if (refused)
		return again ? -EAGAIN : -1;
	if (ret)
		*ret = take_ptr(claim);
	return 0;
}

void drives_release(Runtime *runtime, DriveClaim *claim)
{
	if (!claim)
		return;
	lock_take(&runtime->table_lock);
	give_back(runtime, claim);
	lock_drop(&runtime->table_lock);
	free(claim);
}

/* NOLINTBEGIN(readability-function-*,clang-analyzer-core.NullDereference): uthash's macros */
void drives_free(Runtime *runtime)
{
	DriveUse *use, *following;

	HASH_ITER(hh, runtime->drive_uses, use, following)
	{
		HASH_DEL(runtime->drive_uses, use);
		free(use);
	}
}
/* NOLINTEND(readability-function-*,clang-analyzer-core.NullDereference) */
