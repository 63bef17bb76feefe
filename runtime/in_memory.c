/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/network.h"

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

static int start(Backend *backend, Job *job, Error *err)
{
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
	.capabilities = BACKEND_PAUSE,
	.probe = probe,
	.check = check,
	.start = start,
	.pause = nothing_to_do,
	.resume = nothing_to_do,
	.update = update,
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
