/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/vm_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Drives that are a VM's own: clones of templates, as files of its run directory. They are made
 * with the first start that needs them, and have been the VM's since: one that is gone is not made
 * again, for the guest's data would be gone with it, and nobody told.
 */

enum {
	MIB = 1 << 20
};

static const char own_prefix[] = "disk-";

/* Another template makes another file, so that none is taken for what it is not. To free. */
static char *file_of(const VmDrive *drive)
{
	const char *id = drive->from_snapshot ? "" : drive->template_id;

	return text_printf("%s%s-%016" PRIx64, own_prefix, drive->drive_id,
			   text_hash(id, strlen(id)));
}

static bool has_own(const VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++)
		if (drive_is_own(spec_drive(spec, i)))
			return true;
	return false;
}

VmSpec *disks_host_spec(VmSpec *spec, const char *run_dir)
{
	VmSpec *found;

	if (!has_own(spec))
		return spec_ref(spec);
	found = spec_copy(spec);
	for (size_t i = 0; i < found->drives.count; i++) {
		VmDrive *drive = (VmDrive *)found->drives.items + i;
		cleanup_free char *file = NULL;

		if (!drive_is_own(drive))
			continue;
		file = file_of(drive);
		free(drive->path);
		drive->path = text_printf("%s/%s", run_dir, file);
	}
	return found;
}

static int check_size(const VmDrive *drive, size_t i, const TemplateInfo *info, Error *err)
{
	cleanup_free char *field = text_printf("spec.drives[%zu].size_mib", i);
	uint64_t least = (info->size + MIB - 1) / MIB;

	if (!drive->size_mib || drive->size_mib >= least)
		return 0;
	return error_add_violation(
		err, field, "must be at least the %" PRIu64 " MiB of the template, is %" PRIu32,
		least, drive->size_mib);
}

int disks_check(const Runtime *runtime, const VmSpec *spec, Error *err)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(spec, i);
		TemplateInfo info;

		if (!drive_has_template(drive))
			continue;
		if (templates_get(runtime->templates, drive->template_id, &info, err) < 0)
			return -1;
		if (error_is_set(&info.problem)) {
			*err = info.problem;
			return -1;
		}
		(void)!check_size(drive, i, &info, err);
	}
	return error_is_set(err) ? -1 : 0;
}

static const VmDrive *find_drive(const VmSpec *spec, const char *drive_id)
{
	for (size_t i = 0; i < spec->drives.count; i++)
		if (text_equal(spec_drive(spec, i)->drive_id, drive_id))
			return spec_drive(spec, i);
	return NULL;
}

int disks_check_update(const VmSpec *spec, const VmSpec *next, Error *err)
{
	for (size_t i = 0; i < next->drives.count; i++) {
		const VmDrive *drive = spec_drive(next, i);
		const VmDrive *was = find_drive(spec, drive->drive_id);
		cleanup_free char *field = NULL;

		if (!was || !(drive_is_own(was) || drive_is_own(drive)) ||
		    (text_equal(was->template_id, drive->template_id) &&
		     was->size_mib == drive->size_mib))
			continue;
		field = text_printf("spec.drives[%zu].template_id", i);
		(void)error_add_violation(
			err, field,
			"the drive is made already: take it away, and give the VM "
			"another");
	}
	return error_is_set(err) ? -1 : 0;
}

static int make_disk(Runtime *runtime, Job *job, const VmDrive *drive, Error *err)
{
	const DiskProgress progress = job_progress(job);
	const TemplateClone clone = {
		.name = drive->template_id,
		.to = drive->path,
		.size = (uint64_t)drive->size_mib * MIB,
		.durable = true,
		.progress = &progress,
	};
	DiskCloneWay way;

	return templates_clone(runtime->templates, &clone, &way, err);
}

static void note_made(Job *job, const char *file)
{
	if (!field_texts_has(&job->resolved->disks, file))
		field_texts_add(&job->resolved->disks, file);
}

/* That of @file is not there: once it was is another thing. */
static int make_anew(Runtime *runtime, Job *job, const VmDrive *drive, const char *file, Error *err)
{
	if (field_texts_has(&job->resolved->disks, file))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_MISSING,
				       "%s, which drive '%s' has been made as, is gone",
				       drive->path, drive->drive_id);
	return make_disk(runtime, job, drive, err);
}

static int make_missing(Runtime *runtime, Job *job, const VmDrive *drive, Error *err)
{
	cleanup_free char *file = file_of(drive);
	struct stat st;
	int r = 0;

	if (drive->from_snapshot && restore_is_due(job->spec, job->resolved))
		r = restore_disk(job, drive, err);
	else if (lstat(drive->path, &st) < 0)
		r = errno == ENOENT ? make_anew(runtime, job, drive, file, err)
				    : disk_error(err, errno, "look at %s", drive->path);
	if (r == 0)
		note_made(job, file);
	return r;
}

static bool is_wanted(const VmSpec *spec, const char *file)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		cleanup_free char *own =
			drive_is_own(spec_drive(spec, i)) ? file_of(spec_drive(spec, i)) : NULL;

		if (text_equal(own, file))
			return true;
	}
	return false;
}

/* Of drives that UpdateVm has taken from the VM. */
static void remove_others(const Job *job)
{
	cleanup_closedir DIR *dir = opendir(job->run_dir);
	const struct dirent *file;

	while (dir && (file = readdir(dir)))
		if (strncmp(file->d_name, own_prefix, sizeof own_prefix - 1) == 0 &&
		    !is_wanted(job->spec, file->d_name))
			(void)unlinkat(dirfd(dir), file->d_name, 0);
}

/* What is noted of them, likewise. */
static void forget_others(const Job *job)
{
	FieldTexts *made = &job->resolved->disks;
	size_t kept = 0;

	for (size_t i = 0; i < made->count; i++) {
		if (is_wanted(job->spec, made->items[i]))
			made->items[kept++] = made->items[i];
		else
			free(made->items[i]);
	}
	made->count = kept;
}

int disks_make(Runtime *runtime, Job *job, Error *err)
{
	if (job->resolved->disks.count) {
		remove_others(job);
		forget_others(job);
	}
	if (!has_own(job->spec))
		return 0;
	job_step(job, "disks");
	for (size_t i = 0; i < job->spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(job->spec, i);

		if (drive_is_own(drive) && make_missing(runtime, job, drive, err) < 0)
			return -1;
	}
	return 0;
}

void disks_set_condition(VmRecord *record, const Error *failure)
{
	const FieldTexts *made = &record->status.resolved->disks;
	char message[ERROR_MESSAGE_MAX];
	bool all = true;

	if (!has_own(record->spec))
		return;
	for (size_t i = 0; i < record->spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(record->spec, i);
		cleanup_free char *file = drive_is_own(drive) ? file_of(drive) : NULL;

		all = all && (!file || field_texts_has(made, file));
	}
	if (failure && failure->kind == ERROR_ROOTFS)
		record_set_condition(record, "ImageReady", CONDITION_FALSE, "Failed",
				     error_message(failure, message));
	else
		record_set_condition(record, "ImageReady", all ? CONDITION_TRUE : CONDITION_FALSE,
				     all ? "Made" : "NotMadeYet", NULL);
}
