/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "runtime/firecracker_internal.h"
#include "runtime/firecracker_live.h"
#include "runtime/vmm_process.h"

#include <assert.h>
#include <errno.h>

/* Where the VMM finds @drive's disk. */
static const char *path_in_vmm(const Job *job, const VmDrive *drive)
{
	(void)job;
	return drive->path;
}

/* What leads @job's VMM from @from, NULL for anything, to @to. */
static FirecrackerLive *plan(const Job *job, const VmSpec *from, const VmSpec *to)
{
	const char *paths[SPEC_DRIVES_MAX];

	assert(to->drives.count <= SPEC_DRIVES_MAX);
	for (size_t i = 0; i < to->drives.count; i++)
		paths[i] = path_in_vmm(job, spec_drive(to, i));
	return firecracker_live_new(from, to, paths);
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
	if (r < 0 && process_wait(vmm, 0) < 0)
		job->poisoned = true;
}

static int change(Job *job, int vmm, const VmSpec *to, Error *err)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	cleanup_(firecracker_live_freep) FirecrackerLive *live = plan(job, job->spec, to);
	cleanup_(firecracker_live_freep) FirecrackerLive *back = plan(job, to, job->spec);
	size_t done = 0;

	assert(live->count == back->count);
	if (firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0)
		return -1;
	if (send_all(api, live, &done, err) == 0)
		return 0;
	firecracker_api_close(take_ptr(api)); /* one at a time */
	if (done)
		undo(job, vmm, back, done);
	return -1;
}

/* Not given up for anything: it is itself an undo. */
static int make_whole(const Job *job, int vmm, const VmSpec *to, Error *err)
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
	return send_all(api, live, &done, err);
}

/* Is it known that the VMM has ended? @vmm is its pidfd, or -1 where none could be had. */
static bool has_ended(const Job *job, int vmm)
{
	cleanup_close int again = -1;
	KeeperState state;
	int r;

	if (vmm >= 0)
		return process_wait(vmm, 0) == 0;
	r = keeper_load(&state, job->run_dir);
	if (r == 0)
		r = keeper_open_vmm(&again, &state);
	return r == -ENOENT || r == -ESRCH;
}

int firecracker_update(Backend *backend, Job *job, const VmSpec *to, Error *err)
{
	cleanup_close int vmm = -1;
	int r;

	(void)backend;
	job_step(job, "update");
	r = vmm_process_open(&vmm, job, "firecracker", err);
	if (r == 0)
		r = job->whole ? make_whole(job, vmm, to, err) : change(job, vmm, to, err);
	if (r < 0 && job->whole)
		job->poisoned = !has_ended(job, vmm);
	return r;
}
