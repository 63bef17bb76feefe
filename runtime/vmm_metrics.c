/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vmm_metrics.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

#include <jansson.h>
#include <string.h>

enum {
	FILE_MAX = 2 * 1024 * 1024, /* more than a keeper's leaves come to */
	STATUS_MAX = 16 * 1024,
	BYTES_PER_KIB = 1024,
};

void vmm_metrics_clear(VmMetrics *metrics)
{
	for (size_t i = 0; i < metrics->count; i++)
		free(metrics->items[i].name);
	free(metrics->items);
	*metrics = (VmMetrics){ 0 };
}

static bool has_number(const json_t *root, const char *name, json_int_t least)
{
	const json_t *number = json_object_get(root, name);

	return json_is_integer(number) && json_integer_value(number) >= least;
}

/* A newer keeper's has more members; those read here keep their meaning. */
static bool is_metrics_file(const json_t *root)
{
	return has_number(root, "version", 1) && has_number(root, "flushes", 0) &&
	       has_number(root, "time", 0) && json_is_object(json_object_get(root, "metrics"));
}

/* The file, or NULL with *@r. */
static json_t *read_json(const char *run_dir, int *r)
{
	cleanup_free char *path = text_printf("%s/metrics.json", run_dir);
	cleanup_free char *text = NULL;
	json_t *root = NULL;
	size_t length;

	*r = file_read(&text, &length, path, FILE_MAX);
	if (*r < 0)
		return NULL;
	root = json_loadb(text, length, 0, NULL);
	if (is_metrics_file(root))
		return root;
	json_decref(root);
	*r = -EINVAL;
	return NULL;
}

/* "name": [kind, value] */
static bool take(VmMetric *ret, const char *name, const json_t *pair)
{
	json_int_t kind = json_integer_value(json_array_get(pair, 0));
	const json_t *value = json_array_get(pair, 1);

	if (kind <= METRIC_UNSET || kind >= METRIC_KIND_COUNT_ || !json_is_integer(value) ||
	    json_integer_value(value) < 0)
		return false;
	*ret = (VmMetric){ text_dup(name), (uint64_t)json_integer_value(value), (MetricKind)kind };
	return true;
}

int vmm_metrics_load(VmMetrics *ret, const char *run_dir)
{
	const char *name;
	json_t *pair, *all;
	int r;
	json_t *root = read_json(run_dir, &r);

	if (!root)
		return r;
	all = json_object_get(root, "metrics");
	ret->flushes = (uint64_t)json_integer_value(json_object_get(root, "flushes"));
	ret->time = json_integer_value(json_object_get(root, "time"));
	ret->items = new0_array(VmMetric, json_object_size(all));
	json_object_foreach(all, name, pair)
	{
		if (take(&ret->items[ret->count], name, pair))
			ret->count++;
	}
	json_decref(root);
	return 0;
}

uint64_t vmm_metrics_flushes(const char *run_dir)
{
	int r;
	json_t *root = read_json(run_dir, &r);
	json_int_t flushes = json_integer_value(json_object_get(root, "flushes"));

	json_decref(root);
	return (uint64_t)flushes;
}

/* The number behind @key in /proc/PID/status. */
static uint64_t status_number(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

void vmm_metrics_usage(VmUsage *ret, pid_t pid)
{
	cleanup_free char *stat_path = text_printf("/proc/%d/stat", (int)pid);
	cleanup_free char *status_path = text_printf("/proc/%d/status", (int)pid);
	cleanup_free char *stat = NULL, *status = NULL;
	unsigned long long user = 0, system = 0;
	const char *after;

	*ret = (VmUsage){ 0 };
	if (file_read(&stat, NULL, stat_path, STATUS_MAX) == 0 && (after = strrchr(stat, ')')))
		/* NOLINTNEXTLINE(cert-err34-c): the kernel's numbers, which fit */
		(void)sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
			     &user, &system);
	ret->cpu_usec = (user + system) * USEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
	if (file_read(&status, NULL, status_path, STATUS_MAX) < 0)
		return;
	ret->memory_bytes = status_number(status, "\nVmRSS:") * BYTES_PER_KIB;
	ret->memory_peak_bytes = status_number(status, "\nVmHWM:") * BYTES_PER_KIB;
	ret->pids = status_number(status, "\nThreads:");
}
