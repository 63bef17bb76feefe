/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "runtime/firecracker_internal.h"
#include "runtime/firecracker_live.h"
#include "runtime/image_path.h"
#include "runtime/jail.h"
#include "runtime/vmm_process.h"

#include <assert.h>
#include <errno.h>

static bool is_jailed(const Job *job)
{
	return !text_equal(job->resolved->jail_path, "");
}

/* Where the VMM finds @drive's disk; to free. */
static char *path_in_vmm(const Job *job, const VmDrive *drive)
{
	cleanup_free char *name = NULL;

	if (!is_jailed(job))
		return text_dup(drive->path);
	name = jail_drive_name(drive);
	return text_printf("/%s", name);
}

/* What leads @job's VMM from @from, NULL for anything, to @to. */
static FirecrackerLive *plan(const Job *job, const VmSpec *from, const VmSpec *to)
{
	char *own[SPEC_DRIVES_MAX] = { NULL };
	const char *paths[SPEC_DRIVES_MAX];
	FirecrackerLive *live;

	assert(to->drives.count <= SPEC_DRIVES_MAX);
	for (size_t i = 0; i < to->drives.count; i++)
		paths[i] = own[i] = path_in_vmm(job, spec_drive(to, i));
	live = firecracker_live_new(from, to, paths);
	for (size_t i = 0; i < to->drives.count; i++)
		free(own[i]);
	return live;
}

static bool has_moved(const VmSpec *from, const VmSpec *to, size_t i)
{
	return !text_equal(spec_drive(from, i)->path, spec_drive(to, i)->path);
}

/* Makes a drive's disk visible in the VMM's jail; or, without @drive, only removes @gone. */
static int attach(const Firecracker *firecracker, const Job *job, const VmDrive *drive,
		  const char *gone, Error *err)
{
	cleanup_free char *name = drive ? jail_drive_name(drive) : NULL, *real = NULL;
	KeeperJailFile file;
	const KeeperJailConfig inside = {
		.root = job->resolved->jail_path,
		.uid = job->resolved->jail_uid,
		.files = &file,
		.count = drive ? 1 : 0,
	};
	int r = drive ? image_path_resolve(&real, drive->path, firecracker->config.image_dirs) : 0;

	if (r < 0)
		return error_set_errno(err, ERROR_JAILER, -r, "resolve %s", drive->path);
	if (drive)
		file = (KeeperJailFile){ name, real, drive->read_only };
	return keeper_attach(firecracker->config.keeper_path, job->run_dir, &inside, gone, err);
}

/* Puts the disks of @to that @from does not have into the jail, if there is one. */
static int attach_all(const Firecracker *firecracker, const Job *job, const VmSpec *from,
		      const VmSpec *to, Error *err)
{
	for (size_t i = 0; is_jailed(job) && i < to->drives.count; i++)
		if (has_moved(from, to, i) &&
		    attach(firecracker, job, spec_drive(to, i), NULL, err) < 0)
			return -1;
	return 0;
}

/* Takes the disks of @from that @to does not have out of the jail; what stays, stays unused. */
static void detach_all(const Firecracker *firecracker, const Job *job, const VmSpec *from,
		       const VmSpec *to)
{
	for (size_t i = 0; is_jailed(job) && i < to->drives.count; i++) {
		cleanup_free char *gone = jail_drive_name(spec_drive(from, i));
		Error ignored = { 0 };

		if (has_moved(from, to, i))
			(void)!attach(firecracker, job, NULL, gone, &ignored);
	}
}

static int send(FirecrackerApi *api, const FirecrackerChange *change, Error *err)
{
	const FirecrackerCall call = {
		.kind = FIRECRACKER_ACT,
		.method = change->method,
		.path = change->path,
		.body = change->body,
	};

	return firecracker_api_call(api, &call, NULL, err);
}

/*
 * Sends @live: 0, or -1 with *@done, how many may have been carried out. One that was refused has
 * not been; one without an answer may have been.
 */
static int send_all(FirecrackerApi *api, const FirecrackerLive *live, size_t *done, Error *err)
{
	for (size_t i = 0; i < live->count; i++) {
		*done = i + 1;
		if (send(api, &live->changes[i], err) == 0)
			continue;
		if (firecracker_api_refused(api))
			*done = i;
		return -1;
	}
	return 0;
}

/* Takes the first @done changes back, the latest first. */
static void undo(Job *job, int vmm, const FirecrackerLive *back, size_t done)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	Error ignored = { 0 };
	int r = firecracker_connect(&api, job, vmm, -1, 0, &ignored);

	while (r == 0 && done > 0)
		r = send(api, &back->changes[--done], &ignored);
	if (r < 0 && !vmm_process_ends(vmm))
		job->poisoned = true;
}

static int change(const Firecracker *firecracker, Job *job, int vmm, const VmSpec *to, Error *err)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	cleanup_(firecracker_live_freep) FirecrackerLive *live = plan(job, job->spec, to);
	cleanup_(firecracker_live_freep) FirecrackerLive *back = plan(job, to, job->spec);
	size_t done = 0;

	assert(live->count == back->count);
	if (attach_all(firecracker, job, job->spec, to, err) < 0 ||
	    firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0)
		return -1;
	if (send_all(api, live, &done, err) == 0) {
		detach_all(firecracker, job, job->spec, to);
		return 0;
	}
	firecracker_api_close(take_ptr(api)); /* one at a time */
	if (done)
		undo(job, vmm, back, done);
	if (!job->poisoned)
		detach_all(firecracker, job, to, job->spec);
	return -1;
}

/* Not given up for anything: it is itself an undo. */
static int make_whole(const Firecracker *firecracker, const Job *job, int vmm, const VmSpec *to,
		      Error *err)
{
	const FirecrackerCall look = { FIRECRACKER_LOOK, "GET", "/vm/config", NULL };
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	cleanup_(firecracker_live_freep) FirecrackerLive *live = plan(job, NULL, to);
	json_t *config = NULL;
	size_t done;

	if (firecracker_connect(&api, job, vmm, -1, 0, err) < 0 ||
	    firecracker_api_call(api, &look, &config, err) < 0)
		return -1;
	firecracker_live_spare(live, config);
	json_decref(config);
	/* One that is missing is not needed if the VMM has it still; else the VMM says so. */
	for (size_t i = 0; is_jailed(job) && i < to->drives.count; i++) {
		Error ignored = { 0 };

		(void)!attach(firecracker, job, spec_drive(to, i), NULL, &ignored);
	}
	return send_all(api, live, &done, err);
}

/* Is it known that the VMM has ended? @vmm is its pidfd, or -1 where none could be had. */
static bool has_ended(const Job *job, int vmm)
{
	cleanup_close int again = -1;
	KeeperState state;
	int r;

	if (vmm >= 0)
		return vmm_process_ends(vmm);
	r = keeper_load(&state, job->run_dir);
	if (r == 0)
		r = keeper_open_vmm(&again, &state);
	return r == -ENOENT || r == -ESRCH;
}

int firecracker_update(Backend *backend, Job *job, const VmSpec *to, Error *err)
{
	const Firecracker *firecracker = container_of(backend, Firecracker, backend);
	cleanup_close int vmm = -1;
	int r;

	job_step(job, "update");
	r = vmm_process_open(&vmm, job, "firecracker", err);
	if (r == 0)
		r = job->whole ? make_whole(firecracker, job, vmm, to, err)
			       : change(firecracker, job, vmm, to, err);
	if (r < 0 && job->whole)
		job->poisoned = !has_ended(job, vmm);
	return r;
}
