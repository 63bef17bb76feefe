/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/vm_job.h"
#include "agent/wire.h"

/* GetVmMetrics: asks the VMM, on a thread that may block. */

/* The numbers of the one in the other's order. */
static void set_balloon(Hearth__V1__BalloonStatistics *to, const VmBalloonStatistics *from)
{
	hearth__v1__balloon_statistics__init(to);
	to->target_mib = from->target_mib;
	to->actual_mib = from->actual_mib;
	to->swap_in_bytes = from->swap_in_bytes;
	to->swap_out_bytes = from->swap_out_bytes;
	to->major_faults = from->major_faults;
	to->minor_faults = from->minor_faults;
	to->free_bytes = from->free_bytes;
	to->total_bytes = from->total_bytes;
	to->available_bytes = from->available_bytes;
	to->disk_caches_bytes = from->disk_caches_bytes;
	to->hugetlb_allocations = from->hugetlb_allocations;
	to->hugetlb_failures = from->hugetlb_failures;
	to->oom_kills = from->oom_kills;
}

static void set_metric(Hearth__V1__Metric *to, const VmMetric *from)
{
	hearth__v1__metric__init(to);
	to->name = from->name;
	to->value = from->value;
	to->kind = (Hearth__V1__MetricKind)from->kind;
}

static void reply(const VmJob *job, const VmMetrics *metrics)
{
	cleanup_free Hearth__V1__Metric *items = new0_array(Hearth__V1__Metric, metrics->count);
	cleanup_free Hearth__V1__Metric **all = new0_array(Hearth__V1__Metric *, metrics->count);
	Google__Protobuf__Timestamp time;
	Hearth__V1__BalloonStatistics balloon;
	Hearth__V1__Usage usage;
	Hearth__V1__VmMetrics answer;

	hearth__v1__vm_metrics__init(&answer);
	wire_time(&time, metrics->time);
	for (size_t i = 0; i < metrics->count; i++) {
		set_metric(&items[i], &metrics->items[i]);
		all[i] = &items[i];
	}
	wire_usage(&usage, &metrics->usage);
	set_balloon(&balloon, &metrics->balloon);
	answer.vm_id = job->vm_id;
	answer.uid = message_text(metrics->uid);
	answer.time = metrics->time ? &time : NULL;
	answer.flushes = metrics->flushes;
	answer.n_metrics = metrics->count;
	answer.metrics = all;
	answer.usage = &usage;
	answer.balloon = metrics->has_balloon ? &balloon : NULL;
	call_reply(job->call, &answer.base);
}

static void run(void *user)
{
	cleanup_(vm_job_freep) VmJob *job = user;
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };
	Error err = { 0 };

	if (runtime_get_metrics(job->runtime, job->vm_id, job->expected_uid, job->cached, &metrics,
				&err) == 0)
		reply(job, &metrics);
	else
		vm_job_fail(job, &err);
}

static void get_vm_metrics(Call *call, Runtime *runtime,
			   const Hearth__V1__GetVmMetricsRequest *request)
{
	VmJob *job;
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	job = vm_job_new(call, runtime, request->vm_id, request->expected_uid);
	job->patience = PATIENCE_LONG;
	job->cached = request->cached;
	vm_job_run(job, run);
}

DEFINE_HANDLER(VmService, get_vm_metrics, GetVmMetrics, VmMetrics);
