/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	AGAINST_MAX = 112
};

/*
 * One disk and the VMs that use it: many that read it, or one that writes it,
 * since no VMM locks it. Disks are told apart by their real path, so that a
 * symbolic link is the disk it leads to.
 */
typedef struct DriveUse {
	UT_hash_handle hh;
	size_t readers;
	char writer[64]; /* vm_id, or "" */
	char path[];
} DriveUse;

/* By what was claimed, not by path: that may lead elsewhere by the time it is given back. */
struct DriveClaim {
	size_t count;
	DriveUse *uses[SPEC_DRIVES_MAX];
	bool reads[SPEC_DRIVES_MAX];
};

/* The path that @path leads to; itself where there is nothing (yet). To free. */
static char *real_path(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : text_dup(path);
}

/* NOLINTBEGIN(readability-function-*,clang-analyzer-core.NullDereference): uthash's macros */
static DriveUse *find(Runtime *runtime, const char *path)
{
	DriveUse *use;

	HASH_FIND_STR(runtime->drive_uses, path, use);
	return use;
}

static DriveUse *find_or_add(Runtime *runtime, const char *path)
{
	DriveUse *use = find(runtime, path);

	if (use)
		return use;
	use = must_calloc(1, sizeof *use + strlen(path) + 1);
	(void)stpcpy(use->path, path);
	HASH_ADD_STR(runtime->drive_uses, path, use);
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
	char *paths[SPEC_DRIVES_MAX] = { 0 };
	char against[SPEC_DRIVES_MAX][AGAINST_MAX];
	bool refused = false, again = false;
	size_t count = spec->drives.count;

	for (size_t i = 0; i < count; i++)
		paths[i] = real_path(spec_drive(spec, i)->path);

	lock_take(&runtime->table_lock);
	for (size_t i = 0; i < count; i++) {
		DriveUse *use = find_or_add(runtime, paths[i]);

		if (taken(use, spec_drive(spec, i), against[i], sizeof against[i])) {
			refused = true;
			again = again || (!has(claim, use) && strcmp(use->writer, vm_id) == 0);
		} else {
			note(claim, use, spec_drive(spec, i), vm_id);
		}
	}
	if (refused || !ret)
		give_back(runtime, claim);
	lock_drop(&runtime->table_lock);

	for (size_t i = 0; i < count; i++)
		free(paths[i]);
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
