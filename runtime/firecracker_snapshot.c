/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/firecracker_internal.h"
#include "runtime/firecracker_json.h"
#include "runtime/jail.h"
#include "runtime/vmm_process.h"

#include <fcntl.h>
#include <string.h>

/*
 * A snapshot by Firecracker itself. It writes two files, which are made here, outside of its jail,
 * and put into it for as long as that takes. While it writes it answers nothing.
 */

enum {
	FINISH_TIMEOUT = 60 * USEC_PER_SEC, /* of one that was given up */
	FILES = 2,
};

static const struct {
	const char *file, *name;
} files[FILES] = {
	{ SNAPSHOT_MEMORY, JAIL_SNAPSHOT_MEMORY },
	{ SNAPSHOT_STATE, JAIL_SNAPSHOT_STATE },
};

int firecracker_check_snapshot(const Firecracker *firecracker, Error *err)
{
	if (!firecracker->config.jail.jailer_path)
		return error_set(err, ERROR_UNSUPPORTED,
				 "snapshots by firecracker without a jail: its state has the paths "
				 "of its disks");
	return 0;
}

/* Where the VMM has the drive that it calls @id. */
static const char *path_in_vmm(const json_t *config, const char *id)
{
	const json_t *drives = json_object_get(config, "drives"), *drive;
	size_t i;

	json_array_foreach(drives, i, drive) if (
		text_equal(json_string_value(json_object_get(drive, "drive_id")),
			   id)) return json_string_value(json_object_get(drive, "path_on_host"));
	return NULL;
}

static int list_drives(FirecrackerApi *api, const VmSpec *spec, FieldTexts *names, Error *err)
{
	const FirecrackerCall look = { FIRECRACKER_LOOK, "GET", "/vm/config", NULL };
	json_t *config = NULL;
	int r = firecracker_api_call(api, &look, &config, err);

	for (size_t i = 0; r == 0 && i < spec->drives.count; i++) {
		cleanup_free char *id = firecracker_id(spec_drive(spec, i)->drive_id);
		const char *path = path_in_vmm(config, id);

		if (path)
			field_texts_add(names, path);
		else
			r = error_set(err, ERROR_SNAPSHOT_FAILED, "firecracker has no drive '%s'",
				      id);
	}
	json_decref(config);
	return r;
}

static int make_file(const char *path, Error *err)
{
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? error_set_errno(err, ERROR_SNAPSHOT_FAILED, errno, "make %s", path) : 0;
}

static int attach(const Firecracker *firecracker, const Job *job, const KeeperJailFile *file,
		  const char *gone, Error *err)
{
	const KeeperJailConfig inside = {
		.root = job->resolved->jail_path,
		.uid = job->resolved->jail_uid,
		.files = file,
		.count = file ? 1 : 0,
	};

	return keeper_attach(firecracker->config.keeper_path, job->run_dir, &inside, gone, err);
}

static void detach_files(const Firecracker *firecracker, const Job *job)
{
	for (size_t i = 0; i < FILES; i++) {
		Error ignored = { 0 };

		(void)!attach(firecracker, job, NULL, files[i].name, &ignored);
	}
}

static int attach_files(const Firecracker *firecracker, const Job *job, const char *dir, Error *err)
{
	detach_files(firecracker, job); /* of an agent that died before it could */
	for (size_t i = 0; i < FILES; i++) {
		cleanup_free char *path = text_printf("%s/%s", dir, files[i].file);
		cleanup_free char *name = text_dup(files[i].name);
		const KeeperJailFile file = { name, path, false };

		if (make_file(path, err) < 0 || attach(firecracker, job, &file, NULL, err) < 0)
			return -1;
	}
	return 0;
}

static int write_files(FirecrackerApi *api, bool diff, Error *err)
{
	json_t *body = json_pack("{s:s, s:s, s:s}", "snapshot_type", diff ? "Diff" : "Full",
				 "snapshot_path", "/" JAIL_SNAPSHOT_STATE, "mem_file_path",
				 "/" JAIL_SNAPSHOT_MEMORY);
	const FirecrackerCall call = { FIRECRACKER_SNAPSHOT, "PUT", "/snapshot/create", body };
	int r = firecracker_api_call(api, &call, NULL, err);

	json_decref(body);
	return r;
}

/* It may be writing still: it is of use again when it answers. */
static void wait_until_done(Job *job, int vmm)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	FirecrackerInfo info;
	Error ignored = { 0 };

	if (firecracker_connect(&api, job, vmm, -1, FINISH_TIMEOUT, &ignored) == 0 &&
	    firecracker_api_info(api, &info, &ignored) == 0)
		return;
	if (!vmm_process_ends(vmm))
		job->poisoned = true;
}

static int take(const Firecracker *firecracker, Job *job, const char *dir, bool diff,
		FieldTexts *names, Error *err)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	cleanup_close int vmm = -1;

	if (vmm_process_open(&vmm, job, "firecracker", err) < 0 ||
	    firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0 ||
	    list_drives(api, job->spec, names, err) < 0 ||
	    attach_files(firecracker, job, dir, err) < 0)
		return -1;
	if (write_files(api, diff, err) == 0)
		return 0;
	if (!firecracker_api_refused(api)) {
		firecracker_api_close(take_ptr(api)); /* one at a time */
		wait_until_done(job, vmm);
	}
	return -1;
}

int firecracker_snapshot(Backend *backend, Job *job, const char *dir, bool diff,
			 FieldTexts *drive_names, Error *err)
{
	const Firecracker *firecracker = container_of(backend, Firecracker, backend);
	int r;

	if (firecracker_check_snapshot(firecracker, err) < 0)
		return -1;
	if (text_equal(job->resolved->jail_path, ""))
		return error_set(err, ERROR_UNSUPPORTED,
				 "snapshot of a VM that was started without a jail (firecracker)");
	r = take(firecracker, job, dir, diff, drive_names, err);
	detach_files(firecracker, job);
	if (r < 0 && err->kind == ERROR_VMM_FAILED)
		err->kind = ERROR_SNAPSHOT_FAILED;
	return r;
}
