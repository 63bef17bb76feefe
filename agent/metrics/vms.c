/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/vms.h"

#include "base/text.h"
#include "runtime/pager_metrics.h"
#include "runtime/vmm_metrics.h"

#include <string.h>

/* What is known of one VM, read before anything is written: a family's samples stand together. */
typedef struct Seen {
	const VmRecord *record;
	VmUsage usage;
	bool has_counters;
	NetworkCounters counters;
	VmMetrics metrics; /* of its pager; with all, of its VMM too */
} Seen;

static bool runs(const VmRecord *record)
{
	return vm_state_has_vmm(record->status.state) && record->status.resolved &&
	       record->status.resolved->vmm_pid;
}

static void look_at(Seen *seen, Runtime *runtime, bool all)
{
	const VmRecord *record = seen->record;
	cleanup_free char *run_dir = runtime_run_dir(runtime, record);
	EgressState egress = { .record = NULL };
	Error none = { 0 };

	vmm_metrics_usage(&seen->usage, (pid_t)record->status.resolved->vmm_pid);
	if (runtime_get_egress(runtime, record->vm_id, record->uid, &egress, &none) == 0) {
		seen->has_counters = egress.has_counters;
		seen->counters = egress.counters;
	}
	egress_state_clear(&egress);
	if (all)
		(void)!vmm_metrics_load(&seen->metrics, run_dir);
	(void)!pager_metrics_add(&seen->metrics, run_dir);
}

typedef struct Family {
	const char *name, *type, *help;
	size_t offset; /* in VmUsage */
	bool is_time;
} Family;

static void write_usage(MetricsText *text, const Seen *seen, size_t count)
{
#define AT(member) offsetof(VmUsage, member)
	static const Family families[] = {
		{ "hearth_vm_cpu_seconds_total", "counter", "CPU time of the VM's control group.",
		  AT(cpu_usec), true },
		{ "hearth_vm_cpu_throttled_seconds_total", "counter",
		  "Time that it was kept from a CPU by its limit.", AT(cpu_throttled_usec), true },
		{ "hearth_vm_memory_bytes", "gauge", "Memory of the VM's control group.",
		  AT(memory_bytes), false },
		{ "hearth_vm_memory_peak_bytes", "gauge", "The most that it was.",
		  AT(memory_peak_bytes), false },
		{ "hearth_vm_pids", "gauge", "Threads and processes in it.", AT(pids), false },
	};
#undef AT

	for (size_t f = 0; f < array_size(families); f++) {
		const Family *family = &families[f];

		metrics_head(text, family->name, family->type, family->help);
		for (size_t i = 0; i < count; i++) {
			const char *const *labels = METRICS_LABELS("vm_id", seen[i].record->vm_id);
			uint64_t value;

			memcpy(&value, (const char *)&seen[i].usage + family->offset, sizeof value);
			if (family->is_time)
				metrics_seconds(text, family->name, labels, (int64_t)value);
			else
				metrics_number(text, family->name, labels, value);
		}
	}
}

static void write_packets(MetricsText *text, const char *vm_id, const char *direction,
			  const struct filter_counters *counters)
{
	char verdict[32];

	for (int i = 0; i < FILTER_VERDICT_COUNT_; i++) {
		if (!counters->packets[i])
			continue;
		text_copy(verdict, sizeof verdict, network_verdict_name(i));
		text_lower(verdict);
		metrics_number(
			text, "hearth_vm_egress_packets_total",
			METRICS_LABELS("vm_id", vm_id, "direction", direction, "verdict", verdict),
			counters->packets[i]);
	}
}

static void write_egress(MetricsText *text, const Seen *seen, size_t count)
{
	metrics_head(text, "hearth_vm_egress_packets_total", "counter",
		     "Packets of the VM's network, by what became of them.");
	for (size_t i = 0; i < count; i++) {
		if (!seen[i].has_counters)
			continue;
		write_packets(text, seen[i].record->vm_id, "from_vm", &seen[i].counters.from_vm);
		write_packets(text, seen[i].record->vm_id, "to_vm", &seen[i].counters.to_vm);
	}
}

/* Page faults have a family of their own; the rest are told apart by their names in Firecracker. */
static void write_counted(MetricsText *text, const Seen *seen, size_t count, MetricKind kind,
			  const char *family)
{
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < seen[i].metrics.count; k++) {
			const VmMetric *metric = &seen[i].metrics.items[k];

			if (metric->kind == kind && strncmp(metric->name, "pager.", 6) != 0)
				metrics_number(text, family,
					       METRICS_LABELS("vm_id", seen[i].record->vm_id,
							      "name", metric->name),
					       metric->value);
		}
}

static void write_faults(MetricsText *text, const Seen *seen, size_t count)
{
	metrics_head(text, "hearth_vm_page_faults_total", "counter",
		     "Page faults that the VM's pager has served.");
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < seen[i].metrics.count; k++)
			if (strcmp(seen[i].metrics.items[k].name, "pager.faults") == 0)
				metrics_number(text, "hearth_vm_page_faults_total",
					       METRICS_LABELS("vm_id", seen[i].record->vm_id),
					       seen[i].metrics.items[k].value);
}

void metrics_vms(MetricsText *text, Runtime *runtime, bool all)
{
	cleanup_(vm_list_unrefp) VmList *list = registry_list(runtime_registry(runtime));
	cleanup_free Seen *seen = new0_array(Seen, list->count);
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (!runs(list->records[i]))
			continue;
		seen[count].record = list->records[i];
		look_at(&seen[count++], runtime, all);
	}
	write_usage(text, seen, count);
	write_egress(text, seen, count);
	write_faults(text, seen, count);
	if (all) {
		metrics_head(text, "hearth_vm_vmm_events_total", "counter",
			     "What the VM's VMM has counted, under its own name for it.");
		write_counted(text, seen, count, METRIC_COUNTER, "hearth_vm_vmm_events_total");
		metrics_head(text, "hearth_vm_vmm_value", "gauge",
			     "The same, of what goes up and down.");
		write_counted(text, seen, count, METRIC_GAUGE, "hearth_vm_vmm_value");
	}
	for (size_t i = 0; i < count; i++)
		vmm_metrics_clear(&seen[i].metrics);
}
