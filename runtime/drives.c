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
	DRIVE_ID_MAX = 33,
	KEYS = 2, /* of one drive */
	KEYS_MAX = KEYS * SPEC_DRIVES_MAX,
};

/*
 * One disk and the VMs that use it: many that read it, or one that writes it,
 * since no VMM locks it. A disk goes by two keys, each claimed by itself: the
 * file, so that a hard link or another device node is the same disk, and the
 * real path, so that a disk whose file is missing or replaced before the VM
 * opens it again stays the VM's.
 *
 * A VM has one claim, and while its drives change one more, so that neither
 * the old disk nor the new one is anybody else's before it is known which it is.
 */
typedef struct Hold Hold;
typedef struct DriveUse {
	UT_hash_handle hh;
	Hold *holds;
	size_t writers; /* of those */
	char key[];
} DriveUse;

/* By what was claimed, not by key: those may lead elsewhere by the time it is given back. */
struct Hold {
	DriveUse *use;
	const DriveClaim *claim;
	bool reads;
	char drive_id[DRIVE_ID_MAX];
	Hold *next, *previous; /* of the same use */
};

struct DriveClaim {
	char vm_id[64];
	FieldTexts templates;                                   /* pinned */
	char snapshot_of[ERROR_ID_MAX], snapshot[ERROR_ID_MAX]; /* likewise; or empty */
	size_t count;
	Hold holds[];
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
	if (use->holds)
		return;
	HASH_DEL(runtime->drive_uses, use);
	free(use);
}
/* NOLINTEND(readability-function-*,clang-analyzer-core.NullDereference) */

/* Under the table's lock: does @hold stand against @drive of @claim? */
static bool stands_against(const Hold *hold, const DriveClaim *claim, const VmDrive *drive,
			   ClaimFor purpose)
{
	if (hold->reads && drive->read_only)
		return false;
	if (hold->claim == claim || strcmp(hold->claim->vm_id, claim->vm_id) != 0)
		return true;
	/* The VM's own, from before: at rest it has nothing open. */
	return purpose == CLAIM_FOR_CREATE || purpose == CLAIM_FOR_LOAD ||
	       (purpose == CLAIM_FOR_LIVE && strcmp(hold->drive_id, drive->drive_id) != 0);
}

/* Under the table's lock. */
static const Hold *find_against(const DriveUse *use, const DriveClaim *claim, const VmDrive *drive,
				ClaimFor purpose)
{
	/* A disk that all read may have very many. */
	if (drive->read_only && !use->writers)
		return NULL;
	for (const Hold *hold = use->holds; hold; hold = hold->next)
		if (stands_against(hold, claim, drive, purpose))
			return hold;
	return NULL;
}

static void explain(const Hold *hold, const char *vm_id, char words[static AGAINST_MAX])
{
	size_t others = 0;

	for (const Hold *other = hold->use->holds; other; other = other->next)
		others += other->reads && strcmp(other->claim->vm_id, vm_id) != 0;
	if (strcmp(hold->claim->vm_id, vm_id) == 0)
		(void)snprintf(words, AGAINST_MAX, "the VM's drive '%s' uses it", hold->drive_id);
	else if (hold->reads)
		(void)snprintf(words, AGAINST_MAX, "%zu other drives read it", others);
	else
		(void)snprintf(words, AGAINST_MAX, "vm '%s' writes to it", hold->claim->vm_id);
}

/* Under the table's lock. */
static void note(DriveClaim *claim, DriveUse *use, const VmDrive *drive)
{
	Hold *hold = &claim->holds[claim->count++];

	*hold = (Hold){ .use = use, .claim = claim, .reads = drive->read_only, .next = use->holds };
	text_copy(hold->drive_id, sizeof hold->drive_id, drive->drive_id);
	if (use->holds)
		use->holds->previous = hold;
	use->holds = hold;
	use->writers += !drive->read_only;
}

/* Under the table's lock. -1 and @words if @key is taken; -EAGAIN: by a VM of that very name. */
static int claim_key(Runtime *runtime, DriveClaim *claim, const char *key, const VmDrive *drive,
		     ClaimFor purpose, char words[static AGAINST_MAX])
{
	DriveUse *use = find_or_add(runtime, key);
	const Hold *against = find_against(use, claim, drive, purpose);

	if (!against) {
		note(claim, use, drive);
		return 0;
	}
	explain(against, claim->vm_id, words);
	return purpose == CLAIM_FOR_CREATE && against->claim != claim &&
			       strcmp(against->claim->vm_id, claim->vm_id) == 0
		       ? -EAGAIN
		       : -1;
}

/* Under the table's lock. */
static void give_back(Runtime *runtime, DriveClaim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		Hold *hold = &claim->holds[i];

		hold->use->writers -= !hold->reads;
		if (hold->next)
			hold->next->previous = hold->previous;
		*(hold->previous ? &hold->previous->next : &hold->use->holds) = hold->next;
		drop(runtime, hold->use);
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

/* Claims every drive of @spec, or says in @against what each is refused for: 0, -1, -EAGAIN. */
static int claim_all(Runtime *runtime, DriveClaim *claim, const VmSpec *spec, ClaimFor purpose,
		     char against[][AGAINST_MAX])
{
	char *keys[KEYS_MAX] = { 0 };
	size_t count = spec->drives.count * KEYS;
	int result = 0;

	for (size_t i = 0; i < spec->drives.count; i++) {
		if (drive_is_own(spec_drive(spec, i)))
			continue;
		keys[i * KEYS] = real_path(spec_drive(spec, i)->path);
		keys[i * KEYS + 1] = file_key(spec_drive(spec, i)->path);
	}

	lock_take(&runtime->table_lock);
	for (size_t k = 0; k < count; k++) {
		const VmDrive *drive = spec_drive(spec, k / KEYS);
		char *words = against[k / KEYS];
		int r;

		if (!keys[k] || words[0])
			continue;
		r = claim_key(runtime, claim, keys[k], drive, purpose, words);
		if (r < 0 && result != -EAGAIN)
			result = r;
	}
	if (result < 0)
		give_back(runtime, claim);
	lock_drop(&runtime->table_lock);

	for (size_t k = 0; k < count; k++)
		free(keys[k]);
	return result;
}

/* So that it stays while its VM, or an agent that takes its memory up, may need it. */
static int pin_snapshot(Runtime *runtime, DriveClaim *claim, const VmSpec *spec, ClaimFor purpose,
			Error *err)
{
	const VmRestoreFrom *from = spec->restore_from;
	Error missing = { 0 };

	if (!from)
		return 0;
	if (snapshots_pin(runtime->snapshots, from->vm_id, from->snapshot_id, &missing) == 0) {
		text_copy(claim->snapshot_of, sizeof claim->snapshot_of, from->vm_id);
		text_copy(claim->snapshot, sizeof claim->snapshot, from->snapshot_id);
		return 0;
	}
	if (purpose == CLAIM_FOR_LOAD)
		return 0;
	*err = missing;
	return -1;
}

/* So that those stay that have not been cloned yet. */
static int pin_templates(Runtime *runtime, DriveClaim *claim, const VmSpec *spec, ClaimFor purpose,
			 Error *err)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(spec, i);
		Error missing = { 0 };

		if (!drive_has_template(drive))
			continue;
		if (templates_pin(runtime->templates, drive->template_id, &missing) == 0) {
			field_texts_add(&claim->templates, drive->template_id);
		} else if (purpose != CLAIM_FOR_LOAD) {
			*err = missing;
			return -1;
		}
	}
	return 0;
}

int drives_claim(Runtime *runtime, const char *vm_id, const VmSpec *spec, ClaimFor purpose,
		 DriveClaim **ret, Error *err)
{
	DriveClaim *claim =
		must_calloc(1, sizeof *claim + spec->drives.count * KEYS * sizeof(Hold));
	char against[SPEC_DRIVES_MAX][AGAINST_MAX] = { "" };
	int r;

	text_copy(claim->vm_id, sizeof claim->vm_id, vm_id);
	r = claim_all(runtime, claim, spec, purpose, against);
	if (r < 0)
		blame(err, against, spec->drives.count);
	else
		r = pin_templates(runtime, claim, spec, purpose, err);
	if (r == 0)
		r = pin_snapshot(runtime, claim, spec, purpose, err);
	if (r == 0 && ret)
		*ret = claim;
	else
		drives_release(runtime, claim);
	return r;
}

void drives_release(Runtime *runtime, DriveClaim *claim)
{
	if (!claim)
		return;
	lock_take(&runtime->table_lock);
	give_back(runtime, claim);
	lock_drop(&runtime->table_lock);
	for (size_t i = 0; i < claim->templates.count; i++)
		templates_unpin(runtime->templates, claim->templates.items[i]);
	if (claim->snapshot[0])
		snapshots_unpin(runtime->snapshots, claim->snapshot_of, claim->snapshot);
	drives_forget(claim);
}

void drives_forget(DriveClaim *claim)
{
	if (!claim)
		return;
	field_texts_clear(&claim->templates);
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
