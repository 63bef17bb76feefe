/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vm_job.h"

#include "base/text.h"

VmJob *vm_job_new(Call *call, Runtime *runtime, const char *vm_id, const char *expected_uid)
{
	VmJob *job = new0(VmJob);

	job->call = call_ref(call);
	job->runtime = runtime;
	job->vm_id = text_dup(vm_id);
	job->expected_uid = text_dup(expected_uid);
	return job;
}

void vm_job_free(VmJob *job)
{
	call_unref(job->call);
	free(job->vm_id);
	free(job->expected_uid);
	free(job);
}

void vm_job_run(VmJob *job, void (*work)(void *user))
{
	if (!agent_run_blocking(job->call, job->runtime, job->patience, work, job))
		vm_job_free(job);
}

void vm_job_fail(VmJob *job, Error *err)
{
	error_about_vm(err, job->vm_id);
	call_fail(job->call, err);
}
