/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "runtime/cgroup.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/pager_metrics.h"
#include "runtime/vmm_metrics.h"
#include "runtime/vmm_process.h"

#include <string.h>

enum {
	FLUSH_TIMEOUT = 3 * USEC_PER_SEC, /* from Firecracker's answer to the keeper's file */
	FLUSH_TICK = USEC_PER_MSEC,
};

/* Whatever went wrong, to who asks for metrics it is that. */
static int as_metrics(Error *err)
{
	Error cause = *err;

	error_clear(err);
	return error_set_cause(err, ERROR_METRICS, cause.cause, "%s", cause.what);
}

static int flush(FirecrackerApi *api, const Job *job, int vmm, Error *err)
{
	uint64_t before = vmm_metrics_flushes(job->run_dir);
	json_t *body = firecracker_action_new("FlushMetrics");
	const FirecrackerCall call = { FIRECRACKER_ACT, "PUT", "/actions", body };
	int64_t deadline;
	int r = firecracker_api_call(api, &call, NULL, err);

	json_decref(body);
	if (r < 0)
		return as_metrics(err);
	deadline = clock_mono_us() + FLUSH_TIMEOUT;
	while (vmm_metrics_flushes(job->run_dir) <= before) {
		if (process_wait(vmm, 0) == 0)
			return error_set(err, ERROR_METRICS, "firecracker has ended");
		if (clock_mono_us() >= deadline)
			return error_set_cause(err, ERROR_METRICS, CAUSE_TIMEOUT,
					       "firecracker was told to flush, and nothing came");
		clock_sleep_us(FLUSH_TICK);
	}
	return 0;
}

/* Which of the answer's members goes where. */
#define AT(member) offsetof(VmBalloonStatistics, member)
static const struct {
	const char *name;
	size_t offset;
} balloon_members[] = {
	{ "target_mib", AT(target_mib) },
	{ "amount_mib", AT(target_mib) }, /* without statistics */
	{ "actual_mib", AT(actual_mib) },
	{ "swap_in", AT(swap_in_bytes) },
	{ "swap_out", AT(swap_out_bytes) },
	{ "major_faults", AT(major_faults) },
	{ "minor_faults", AT(minor_faults) },
	{ "free_memory", AT(free_bytes) },
	{ "total_memory", AT(total_bytes) },
	{ "available_memory", AT(available_bytes) },
	{ "disk_caches", AT(disk_caches_bytes) },
	{ "hugetlb_allocations", AT(hugetlb_allocations) },
	{ "hugetlb_failures", AT(hugetlb_failures) },
	{ "oom_kill", AT(oom_kills) },
};
#undef AT

static int read_balloon(FirecrackerApi *api, const VmBalloon *balloon, VmMetrics *ret, Error *err)
{
	const FirecrackerCall call = {
		.kind = FIRECRACKER_LOOK,
		.method = "GET",
		.path = balloon->stats_interval ? "/balloon/statistics" : "/balloon",
	};
	json_t *root = NULL;

	if (firecracker_api_call(api, &call, &root, err) < 0)
		return as_metrics(err);
	for (size_t i = 0; i < array_size(balloon_members); i++) {
		const json_t *value = json_object_get(root, balloon_members[i].name);
		void *to = (char *)&ret->balloon + balloon_members[i].offset;

		if (json_is_integer(value) && json_integer_value(value) >= 0)
			*(uint64_t *)to = (uint64_t)json_integer_value(value);
	}
	ret->has_balloon = true;
	json_decref(root);
	return 0;
}

static void read_usage(const Job *job, VmUsage *ret)
{
	CgroupHost cgroups;
	CgroupUsage group;
	char why[128];

	vmm_metrics_usage(ret, (pid_t)job->resolved->vmm_pid);
	if (text_equal(job->resolved->cgroup, "") ||
	    cgroup_find(&cgroups, NULL, why, sizeof why) < 0)
		return;
	cgroup_usage(&group, &cgroups, job->resolved->cgroup);
	if (group.cpu_usec)
		ret->cpu_usec = group.cpu_usec;
	ret->cpu_throttled_usec = group.cpu_throttled_usec;
	ret->memory_bytes = group.memory_bytes;
	if (group.memory_peak_bytes)
		ret->memory_peak_bytes = group.memory_peak_bytes;
	ret->pids = group.pids;
}

int firecracker_metrics(Backend *backend, Job *job, bool cached, VmMetrics *ret, Error *err)
{
	cleanup_close int vmm = -1;
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	const VmBalloon *balloon = spec_balloon(job->spec);
	int r;

	(void)backend;
	if (vmm_process_open(&vmm, job, "firecracker", err) < 0 ||
	    firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0)
		return as_metrics(err);
	if (!cached && flush(api, job, vmm, err) < 0)
		return -1;
	r = vmm_metrics_load(ret, job->run_dir);
	if (r < 0 && r != -ENOENT)
		return error_set_errno(err, ERROR_METRICS, -r, "read %s/metrics.json",
				       job->run_dir);
	if (balloon && read_balloon(api, balloon, ret, err) < 0)
		return -1;
	read_usage(job, &ret->usage);
	r = pager_metrics_add(ret, job->run_dir);
	/* Most VMs have no pager; one of another version has its numbers elsewhere. */
	if (r < 0 && r != -ENOENT && r != -EINVAL)
		return error_set_errno(err, ERROR_METRICS, -r, "read %s/pager.state", job->run_dir);
	return 0;
}
