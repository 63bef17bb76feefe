/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/network.h"

#include <string.h>

/*
 * VMs that are records only: the same states, store and API, and no process,
 * for control-plane development and scale tests. They outlive the agent as any
 * other VM does, and end with the host's boot.
 */

static void probe(Backend *backend, BackendInfo *ret)
{
	(void)backend;
	ret->available = true;
	text_copy(ret->version, sizeof ret->version, HEARTH_VERSION);
}

static int check(Backend *backend, const VmSpec *spec, Error *err)
{
	(void)backend;
	(void)spec;
	(void)err;
	return 0;
}

static const char state_text[] = "hearth in_memory\n";

static char *state_path(const char *dir)
{
	return text_printf("%s/" SNAPSHOT_STATE, dir);
}

static int write_snapshot(Backend *backend, Job *job, const char *dir, bool diff, FieldTexts *names,
			  Error *err)
{
	cleanup_free char *path = state_path(dir);
	int r = file_write_atomic(path, state_text, sizeof state_text - 1);

	(void)backend;
	(void)job;
	(void)diff;
	(void)names;
	return r < 0 ? error_set_errno(err, ERROR_SNAPSHOT_FAILED, -r, "write %s", path) : 0;
}

static int read_snapshot(const char *dir, Error *err)
{
	cleanup_free char *path = state_path(dir);
	cleanup_free char *text = NULL;
	int r = file_read(&text, NULL, path, sizeof state_text);

	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "read %s", path);
	return strcmp(text, state_text) == 0 ? 0
					     : error_set_cause(err, ERROR_VMM_FAILED, CAUSE_CORRUPT,
							       "%s is no state of a VM", path);
}

static int start(Backend *backend, Job *job, Error *err)
{
	if (job->restore && read_snapshot(job->restore->dir, err) < 0)
		return -1;
	job->resolved->vcpus = spec_vcpus(job->spec);
	job->resolved->memory_mib = spec_memory_mib(job->spec);
	job->resolved->start_time = clock_wall_us();
	return network_attach(backend->network, job, err);
}

static int nothing_to_do(Backend *backend, Job *job, Error *err)
{
	(void)backend;
	(void)job;
	(void)err;
	return 0;
}

static int update(Backend *backend, Job *job, const VmSpec *to, Error *err)
{
	(void)to;
	return nothing_to_do(backend, job, err);
}

static int stop(Backend *backend, Job *job, const StopLadder *ladder, Error *err)
{
	(void)ladder;
	return nothing_to_do(backend, job, err);
}

static int look(Backend *backend, Job *job, VmState *ret, Error *err)
{
	*ret = VM_STATE_UNSET; /* as recorded */
	return nothing_to_do(backend, job, err);
}

static int exit_fd(Backend *backend, Job *job, int *ret, Error *err)
{
	*ret = -1;
	return nothing_to_do(backend, job, err);
}

static void read_exit(Backend *backend, Job *job, VmmExit *ret)
{
	(void)backend;
	(void)job;
	ret->reason = EXIT_UNKNOWN;
	ret->time = clock_wall_us();
}

static void release(Backend *backend)
{
	free(backend);
}

static const BackendOps in_memory_ops = {
	.id = VM_BACKEND_IN_MEMORY,
	.capabilities = BACKEND_PAUSE | BACKEND_SNAPSHOT,
	.probe = probe,
	.check = check,
	.start = start,
	.pause = nothing_to_do,
	.resume = nothing_to_do,
	.update = update,
	.snapshot = write_snapshot,
	.stop = stop,
	.look = look,
	.exit_fd = exit_fd,
	.read_exit = read_exit,
	.free = release,
};

Backend *in_memory_new(void)
{
	Backend *backend = new0(Backend);

	backend->ops = &in_memory_ops;
	return backend;
}
