/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A question about one VM, on its way to a thread that may block and has to
 * answer the call. One owner at a time: who makes it, then the thread.
 */

#include "agent/agent.h"

typedef struct VmJob {
	Call *call;
	Runtime *runtime;
	char *vm_id, *expected_uid;
	Patience patience;  /* short, if nothing else is said */
	bool cached;        /* GetVmMetrics */
	NetworkProbe probe; /* ExplainEgress */
} VmJob;

VmJob *vm_job_new(Call *call, Runtime *runtime, const char *vm_id, const char *expected_uid);
void vm_job_free(VmJob *job);
DEFINE_CLEANUP(VmJob *, vm_job_free);

/* Calls @work, which takes @job over, on such a thread; or the call fails with QUEUE_FULL. */
void vm_job_run(VmJob *job, void (*work)(void *user));

/* Fails the call with @err, which gets to be about the VM. */
void vm_job_fail(VmJob *job, Error *err);
