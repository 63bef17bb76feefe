/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <stdio.h>
#include <string.h>

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

/* The path that @path leads to; itself where there is nothing (yet). To free. */
static char *real_path(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : text_dup(path);
}

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

static void drop_if_unused(Runtime *runtime, DriveUse *use)
{
	if (use->readers || use->writer[0])
		return;
	HASH_DEL(runtime->drive_uses, use);
	free(use);
}

/* Under the table's lock: what stands against @drive, in words, or nothing. */
static bool taken(Runtime *runtime, const VmDrive *drive, const char *path, char *ret, size_t size)
{
	const DriveUse *use = find(runtime, path);

	ret[0] = '\0';
	if (use && use->writer[0])
		(void)snprintf(ret, size, "vm '%s' writes to it", use->writer);
	else if (use && use->readers && !drive->read_only)
		(void)snprintf(ret, size, "%zu other drives read it", use->readers);
	return ret[0];
}

static void note(Runtime *runtime, const char *vm_id, const VmDrive *drive, const char *path)
{
	DriveUse *use = find_or_add(runtime, path);

	if (drive->read_only)
		use->readers++;
	else
		text_copy(use->writer, sizeof use->writer, vm_id);
}

int drives_claim(Runtime *runtime, const char *vm_id, const VmSpec *spec, Error *err)
{
	char *paths[SPEC_DRIVES_MAX] = { 0 };
	char against[SPEC_DRIVES_MAX][112];
	char field[32];
	bool refused = false;
	size_t count = spec->drives.count;

	for (size_t i = 0; i < count; i++)
		paths[i] = real_path(spec_drive(spec, i)->path);

	lock_take(&runtime->table_lock);
	for (size_t i = 0; i < count; i++) {
		bool bad = taken(runtime, spec_drive(spec, i), paths[i], against[i],
				 sizeof against[i]);

		refused = refused || bad;
	}
	for (size_t i = 0; i < count && !refused; i++)
		note(runtime, vm_id, spec_drive(spec, i), paths[i]);
	lock_drop(&runtime->table_lock);

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(field, sizeof field, "spec.drives[%zu].path", i);
		if (against[i][0])
			(void)error_add_violation(err, field, "%s", against[i]);
		free(paths[i]);
	}
	return refused ? -1 : 0;
}

void drives_release(Runtime *runtime, const char *vm_id, const VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(spec, i);
		cleanup_free char *path = real_path(drive->path);
		DriveUse *use;

		lock_take(&runtime->table_lock);
		use = find(runtime, path);
		if (use && drive->read_only && use->readers)
			use->readers--;
		else if (use && !drive->read_only && strcmp(use->writer, vm_id) == 0)
			use->writer[0] = '\0';
		if (use)
			drop_if_unused(runtime, use);
		lock_drop(&runtime->table_lock);
	}
}

void drives_free(Runtime *runtime)
{
	DriveUse *use, *following;

	HASH_ITER(hh, runtime->drive_uses, use, following)
	{
		HASH_DEL(runtime->drive_uses, use);
		free(use);
	}
}
