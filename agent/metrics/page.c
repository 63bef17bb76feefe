/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics/page.h"

#include "agent/metrics/process.h"
#include "agent/metrics/rpcs.h"
#include "agent/metrics/vms.h"
#include "agent/node_form.h"
#include "base/text.h"
#include "runtime/snapshot.h"

#include <string.h>

/* An enum's value as it is in the API, without what all of them begin with, in lower case. */
static void short_name(char ret[static 32], const ProtobufCEnumDescriptor *type, int value,
		       const char *prefix)
{
	const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
	const char *name = found ? found->name : "unknown";

	if (strncmp(name, prefix, strlen(prefix)) == 0)
		name += strlen(prefix);
	text_copy(ret, 32, name);
	text_lower(ret);
}

static void write_resources(MetricsText *text, const char *name, const char *help,
			    const Hearth__V1__Resources *resources)
{
	const struct {
		const char *resource;
		uint64_t value;
	} rows[] = {
		{ "vcpus", resources->vcpus },
		{ "memory_bytes", resources->memory_mib << 20 },
		{ "huge_page_bytes", resources->huge_pages_2m << 21 },
		{ "disk_bytes", resources->disk_mib << 20 },
		{ "vms", resources->vms },
		{ "ipv4_addresses", resources->ipv4_addresses },
		{ "ipv6_addresses", resources->ipv6_addresses },
	};

	metrics_head(text, name, "gauge", help);
	for (size_t i = 0; i < array_size(rows); i++)
		metrics_number(text, name, METRICS_LABELS("resource", rows[i].resource),
			       rows[i].value);
}

static void write_conditions(MetricsText *text, const Hearth__V1__NodeStatus *status)
{
	char name[32];

	metrics_head(text, "hearth_node_condition", "gauge",
		     "1 if the condition of the node holds, else 0.");
	for (size_t i = 0; i < status->n_conditions; i++)
		metrics_number(text, "hearth_node_condition",
			       METRICS_LABELS("type", status->conditions[i]->type),
			       status->conditions[i]->status ==
				       HEARTH__V1__CONDITION_STATUS__CONDITION_STATUS_TRUE);
	metrics_head(text, "hearth_backend_available", "gauge",
		     "1 if VMs can be started on the backend, else 0.");
	for (size_t i = 0; i < status->n_backends; i++) {
		short_name(name, &hearth__v1__backend__descriptor,
			   (int)status->backends[i]->backend, "BACKEND_");
		metrics_number(text, "hearth_backend_available", METRICS_LABELS("backend", name),
			       status->backends[i]->available ? 1 : 0);
	}
	metrics_head(text, "hearth_node_cordons", "gauge", "Cordons that keep new VMs away.");
	metrics_number(text, "hearth_node_cordons", METRICS_NO_LABELS, status->n_cordons);
}

/* Each, so that one that nobody is in is 0 and not missing. */
static void write_states(MetricsText *text, const Hearth__V1__NodeStatus *status)
{
	uint64_t counts[VM_STATE_COUNT_] = { 0 };

	for (size_t i = 0; i < status->n_vm_counts; i++)
		counts[status->vm_counts[i]->state] = status->vm_counts[i]->count;
	metrics_head(text, "hearth_vms", "gauge", "VMs by their state.");
	for (VmState state = VM_CREATED; state < VM_STATE_COUNT_; state++)
		if (state != VM_DESTROYED)
			metrics_number(text, "hearth_vms",
				       METRICS_LABELS("state", vm_state_name(state)),
				       counts[state]);
}

static void write_node(MetricsText *text, Agent *agent, Runtime *runtime)
{
	cleanup_(node_form_freep) NodeForm *form = node_form_new(agent, runtime);
	const Hearth__V1__Node *node = (const Hearth__V1__Node *)node_form_message(form);
	const Hearth__V1__NodeStatus *status = node->status;

	write_resources(text, "hearth_node_allocatable", "What VMs may have together; 0: no limit.",
			status->allocatable);
	write_resources(text, "hearth_node_allocated", "What they have of it.", status->allocated);
	write_conditions(text, status);
	write_states(text, status);
	metrics_head(text, "hearth_leftovers_removed_total", "counter",
		     "What belonged to no VM and was removed.");
	metrics_number(text, "hearth_leftovers_removed_total", METRICS_NO_LABELS,
		       status->leftovers_removed);
}

static void write_operations(MetricsText *text, Runtime *runtime)
{
	static const char *const outcomes[OPERATION_OUTCOME_COUNT_] = {
		[OPERATION_SUCCEEDED] = "succeeded",
		[OPERATION_FAILED] = "failed",
		[OPERATION_PREEMPTED] = "preempted",
	};
	const RuntimeCounts *counts = runtime_counts(runtime);

	metrics_head(text, "hearth_operations_total", "counter",
		     "Operations on VMs that are over, by what came of them.");
	for (VmOp op = 0; op < VM_OP_COUNT_; op++)
		for (size_t i = OPERATION_SUCCEEDED; i < OPERATION_OUTCOME_COUNT_; i++)
			metrics_number(
				text, "hearth_operations_total",
				METRICS_LABELS("operation", vm_op_name(op), "outcome", outcomes[i]),
				atomic_load(&counts->outcomes[op][i]));
	metrics_head(text, "hearth_operation_duration_seconds", "histogram",
		     "How long they took, from their acceptance.");
	for (VmOp op = 0; op < VM_OP_COUNT_; op++)
		metrics_histogram(text, "hearth_operation_duration_seconds",
				  METRICS_LABELS("operation", vm_op_name(op)),
				  &counts->operations[op]);
}

static void write_queues(MetricsText *text, Runtime *runtime)
{
	RuntimeQueues queues;

	runtime_queues(runtime, &queues);
	metrics_head(text, "hearth_queue_depth", "gauge",
		     "What waits for a thread: operations, ends of VMMs, short and long work.");
	metrics_number(text, "hearth_queue_depth", METRICS_LABELS("queue", "operations"),
		       queues.operations);
	metrics_number(text, "hearth_queue_depth", METRICS_LABELS("queue", "urgent"),
		       queues.urgent);
	metrics_number(text, "hearth_queue_depth", METRICS_LABELS("queue", "desk"), queues.desk);
	metrics_number(text, "hearth_queue_depth", METRICS_LABELS("queue", "asking"),
		       queues.asking);
	metrics_head(text, "hearth_store_commit_duration_seconds", "histogram",
		     "How long commits of the store took, each of one or more changes.");
	metrics_histogram(text, "hearth_store_commit_duration_seconds", METRICS_NO_LABELS,
			  store_commits(runtime_store(runtime)));
}

static void write_snapshots(MetricsText *text, Runtime *runtime)
{
	static const char *const names[] = {
		[SNAPSHOT_CREATING] = "creating",
		[SNAPSHOT_READY] = "ready",
		[SNAPSHOT_FAILED] = "failed",
	};
	uint64_t counts[array_size(names)] = { 0 }, bytes = 0;
	SnapshotInfo *infos;
	size_t count;

	snapshots_list(runtime_snapshots(runtime), NULL, NULL, &infos, &count);
	for (size_t i = 0; i < count; i++) {
		counts[infos[i].state]++;
		bytes += infos[i].allocated;
	}
	snapshot_infos_free(infos, count);
	metrics_head(text, "hearth_snapshots", "gauge", "Snapshots by their state.");
	for (size_t i = SNAPSHOT_CREATING; i < array_size(names); i++)
		metrics_number(text, "hearth_snapshots", METRICS_LABELS("state", names[i]),
			       counts[i]);
	metrics_head(text, "hearth_snapshot_bytes", "gauge",
		     "What they have of the disk; what is shared counts for each.");
	metrics_number(text, "hearth_snapshot_bytes", METRICS_NO_LABELS, bytes);
}

static void write_templates(MetricsText *text, Runtime *runtime)
{
	cleanup_free TemplateInfo *infos = NULL;
	uint64_t damaged = 0, bytes = 0;
	Error none = { 0 };
	size_t count;

	if (templates_list(runtime_templates(runtime), &infos, &count, &none) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		damaged += error_is_set(&infos[i].problem);
		bytes += infos[i].allocated;
	}
	metrics_head(text, "hearth_templates", "gauge", "Templates by their state.");
	metrics_number(text, "hearth_templates", METRICS_LABELS("state", "ready"), count - damaged);
	metrics_number(text, "hearth_templates", METRICS_LABELS("state", "damaged"), damaged);
	metrics_head(text, "hearth_template_bytes", "gauge", "What they have of the disk.");
	metrics_number(text, "hearth_template_bytes", METRICS_NO_LABELS, bytes);
}

char *metrics_page(Agent *agent, MetricsVms vms, size_t *length)
{
	Runtime *runtime = atomic_load_explicit(&agent->runtime, memory_order_acquire);
	MetricsText text = { .bytes = NULL };

	metrics_head(&text, "hearth_build_info", "gauge", "1; the version is in its label.");
	metrics_number(&text, "hearth_build_info", METRICS_LABELS("version", HEARTH_VERSION), 1);
	metrics_process(&text);
	rpcs_write(&text);
	if (runtime) { /* the store is open */
		write_node(&text, agent, runtime);
		write_operations(&text, runtime);
		write_queues(&text, runtime);
		write_snapshots(&text, runtime);
		write_templates(&text, runtime);
		if (vms != METRICS_VMS_NONE)
			metrics_vms(&text, runtime, vms == METRICS_VMS_ALL);
	}
	*length = text.length;
	return text.bytes;
}
