/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/handlers.h"
#include "agent/request.h"
#include "base/clock.h"
#include "base/text.h"

/* GetVmMetrics: asks the VMM, on a thread that may block. */

typedef struct MetricsJob {
	Call *call;
	Runtime *runtime;
	char *vm_id, *expected_uid;
	bool cached;
} MetricsJob;

static void job_free(MetricsJob *job)
{
	call_unref(job->call);
	free(job->vm_id);
	free(job->expected_uid);
	free(job);
}
DEFINE_CLEANUP(MetricsJob *, job_free);

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

static void set_usage(Hearth__V1__Usage *to, const VmUsage *from)
{
	hearth__v1__usage__init(to);
	to->cpu_usec = from->cpu_usec;
	to->cpu_throttled_usec = from->cpu_throttled_usec;
	to->memory_bytes = from->memory_bytes;
	to->memory_peak_bytes = from->memory_peak_bytes;
	to->pids = from->pids;
}

static void set_metric(Hearth__V1__Metric *to, const VmMetric *from)
{
	hearth__v1__metric__init(to);
	to->name = from->name;
	to->value = from->value;
	to->kind = (Hearth__V1__MetricKind)from->kind;
}

static void reply(const MetricsJob *job, const VmMetrics *metrics)
{
	cleanup_free Hearth__V1__Metric *items = new0_array(Hearth__V1__Metric, metrics->count);
	cleanup_free Hearth__V1__Metric **all = new0_array(Hearth__V1__Metric *, metrics->count);
	Google__Protobuf__Timestamp time;
	Hearth__V1__BalloonStatistics balloon;
	Hearth__V1__Usage usage;
	Hearth__V1__VmMetrics answer;

	hearth__v1__vm_metrics__init(&answer);
	google__protobuf__timestamp__init(&time);
	time.seconds = metrics->time / USEC_PER_SEC;
	time.nanos = (int32_t)(metrics->time % USEC_PER_SEC) * 1000;
	for (size_t i = 0; i < metrics->count; i++) {
		set_metric(&items[i], &metrics->items[i]);
		all[i] = &items[i];
	}
	set_usage(&usage, &metrics->usage);
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
	cleanup_(job_freep) MetricsJob *job = user;
	cleanup_(vmm_metrics_clear) VmMetrics metrics = { 0 };
	Error err = { 0 };

	if (runtime_get_metrics(job->runtime, job->vm_id, job->expected_uid, job->cached, &metrics,
				&err) == 0) {
		reply(job, &metrics);
		return;
	}
	error_about_vm(&err, job->vm_id);
	call_fail(job->call, &err);
}

static void get_vm_metrics(Call *call, Runtime *runtime,
			   const Hearth__V1__GetVmMetricsRequest *request)
{
	MetricsJob *job;
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	job = new0(MetricsJob);
	job->call = call_ref(call);
	job->runtime = runtime;
	job->vm_id = text_dup(request->vm_id);
	job->expected_uid = text_dup(request->expected_uid);
	job->cached = request->cached;
	if (runtime_run_blocking(runtime, run, job))
		return;
	(void)error_set(&err, ERROR_QUEUE_FULL, "too many calls wait for a thread");
	call_fail(call, &err);
	job_free(job);
}

DEFINE_HANDLER(VmService, get_vm_metrics, GetVmMetrics, VmMetrics);
