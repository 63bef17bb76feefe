/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/node_form.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>

enum {
	CAPABILITIES_MAX = 4
};

typedef struct BackendForm {
	BackendInfo info;
	Hearth__V1__BackendInfo message;
	char *capabilities[CAPABILITIES_MAX];
} BackendForm;

typedef struct ConditionForm {
	Hearth__V1__Condition message;
	Google__Protobuf__Timestamp since;
	char text[ERROR_WHAT_MAX];
} ConditionForm;

typedef struct CordonForm {
	Hearth__V1__CordonInfo message;
	Google__Protobuf__Timestamp time;
} CordonForm;

/* Messages and all they point to, in one piece, but for the cordons. */
struct NodeForm {
	Hearth__V1__Node node;
	Hearth__V1__NodeStatus status;
	Google__Protobuf__Timestamp start_time;
	Hearth__V1__Resources capacity, allocated;
	BackendForm backends[VM_BACKEND_COUNT_];
	Hearth__V1__BackendInfo *backend_refs[VM_BACKEND_COUNT_];
	ConditionForm conditions[NODE_CONDITION_COUNT_];
	Hearth__V1__Condition *condition_refs[NODE_CONDITION_COUNT_];
	Hearth__V1__StateCount counts[VM_STATE_COUNT_];
	Hearth__V1__StateCount *count_refs[VM_STATE_COUNT_];
	StoreCordon *stored;
	CordonForm *cordons;
	Hearth__V1__CordonInfo **cordon_refs;
};

/* Does a VM in this state take up its share of the host? */
static const bool allocates[VM_STATE_COUNT_] = {
	[VM_STARTING] = true, [VM_RUNNING] = true,  [VM_PAUSING] = true,
	[VM_PAUSED] = true,   [VM_RESUMING] = true, [VM_STOPPING] = true,
};

static void set_time(Google__Protobuf__Timestamp *ret, int64_t usec)
{
	google__protobuf__timestamp__init(ret);
	ret->seconds = usec / USEC_PER_SEC;
	ret->nanos = (int32_t)(usec % USEC_PER_SEC * 1000);
}

static void fill_capabilities(BackendForm *form)
{
	static const struct {
		unsigned bit;
		const char *name;
	} rows[] = {
		{ BACKEND_PAUSE, "pause" },
		{ BACKEND_POWER_BUTTON, "power_button" },
		{ BACKEND_CONSOLE, "console" },
		{ BACKEND_PROCESS, "process" },
	};
	static_assert(array_size(rows) == CAPABILITIES_MAX, "count the capabilities");

	form->message.capabilities = form->capabilities;
	for (size_t i = 0; i < array_size(rows); i++)
		if (form->info.capabilities & rows[i].bit)
			form->capabilities[form->message.n_capabilities++] =
				message_text(rows[i].name);
}

/* Answers whether the default backend can start VMs. */
static bool fill_backends(NodeForm *form, Runtime *runtime)
{
	BackendInfo infos[VM_BACKEND_COUNT_];
	size_t count = runtime_backends(runtime, infos);
	bool usable = false;

	form->status.backends = form->backend_refs;
	form->status.n_backends = count;
	for (size_t i = 0; i < count; i++) {
		BackendForm *at = &form->backends[i];

		at->info = infos[i];
		form->backend_refs[i] = &at->message;
		hearth__v1__backend_info__init(&at->message);
		at->message.backend = (Hearth__V1__Backend)at->info.backend;
		at->message.available = at->info.available;
		at->message.message = at->info.message;
		at->message.version = at->info.version;
		at->message.accelerator = at->info.accelerator;
		at->message.is_default = at->info.is_default;
		fill_capabilities(at);
		usable = usable || (at->info.is_default && at->info.available);
	}
	return usable;
}

static void fill_vms(NodeForm *form, Registry *registry)
{
	cleanup_(vm_list_unrefp) VmList *list = registry_list(registry);
	uint64_t counts[VM_STATE_COUNT_] = { 0 };

	form->status.revision = list->revision;
	for (size_t i = 0; i < list->count; i++) {
		const VmRecord *record = list->records[i];

		counts[record->status.state]++;
		if (!allocates[record->status.state])
			continue;
		form->allocated.vms++;
		form->allocated.vcpus += spec_vcpus(record->spec);
		form->allocated.memory_mib += spec_memory_mib(record->spec);
	}
	form->status.vm_counts = form->count_refs;
	for (VmState state = VM_CREATED; state < VM_STATE_COUNT_; state++) {
		if (!counts[state])
			continue;
		hearth__v1__state_count__init(&form->counts[state]);
		form->counts[state].state = (Hearth__V1__VmState)state;
		form->counts[state].count = counts[state];
		form->count_refs[form->status.n_vm_counts++] = &form->counts[state];
	}
}

static void fill_condition(NodeForm *form, Agent *agent, NodeCondition condition, bool holds,
			   const char *message)
{
	static const struct {
		const char *type, *good, *bad;
	} words[] = {
		[NODE_READY] = { "Ready", "Ready", "NotReady" },
		[NODE_ADOPTED] = { "Adopted", "Adopted", "Adopting" },
		[NODE_STORE_WRITABLE] = { "StoreWritable", "Writable", "WriteFailed" },
	};
	static_assert(array_size(words) == NODE_CONDITION_COUNT_, "name every condition");
	ConditionForm *at = &form->conditions[condition];
	ConditionStatus status = holds ? CONDITION_TRUE : CONDITION_FALSE;

	hearth__v1__condition__init(&at->message);
	text_copy(at->text, sizeof at->text, holds ? "" : message);
	set_time(&at->since, agent_condition_since(agent, condition, status));
	at->message.type = message_text(words[condition].type);
	at->message.status = (Hearth__V1__ConditionStatus)status;
	at->message.reason = message_text(holds ? words[condition].good : words[condition].bad);
	at->message.message = at->text;
	at->message.transition_time = &at->since;
	form->condition_refs[condition] = &at->message;
}

static void fill_conditions(NodeForm *form, Agent *agent, Runtime *runtime, bool usable)
{
	char message[ERROR_WHAT_MAX] = "";
	bool writable = !store_failing(runtime_store(runtime), message, sizeof message);

	fill_condition(form, agent, NODE_STORE_WRITABLE, writable, message);
	fill_condition(form, agent, NODE_ADOPTED, runtime_adopted(runtime),
		       "VMs of an earlier agent are still being looked after");
	fill_condition(form, agent, NODE_READY, writable && usable,
		       writable ? "the default backend is not available"
				: "the store cannot be written");
	form->status.conditions = form->condition_refs;
	form->status.n_conditions = NODE_CONDITION_COUNT_;
}

/* A store that cannot be read is a condition already; the rest of the node is still worth saying.
 */
static void fill_cordons(NodeForm *form, Store *store)
{
	Error ignored = { 0 };
	size_t count = 0;

	if (store_list_cordons(store, &form->stored, &count, &ignored) < 0)
		return;
	form->cordons = new0_array(CordonForm, count);
	form->cordon_refs = new0_array(Hearth__V1__CordonInfo *, count);
	form->status.cordons = form->cordon_refs;
	form->status.n_cordons = count;
	for (size_t i = 0; i < count; i++) {
		CordonForm *at = &form->cordons[i];

		hearth__v1__cordon_info__init(&at->message);
		set_time(&at->time, form->stored[i].time);
		at->message.owner = form->stored[i].owner;
		at->message.reason =
			message_text(form->stored[i].reason ? form->stored[i].reason : "");
		at->message.time = &at->time;
		form->cordon_refs[i] = &at->message;
	}
}

static void fill_host(NodeForm *form, Agent *agent, Runtime *runtime)
{
	hearth__v1__resources__init(&form->capacity);
	hearth__v1__resources__init(&form->allocated);
	set_time(&form->start_time, agent->start_time);
	form->capacity.vcpus = agent->cpus;
	form->capacity.memory_mib = agent->memory_mib;
	form->capacity.vms = agent->config->max_vms;
	form->status.capacity = &form->capacity;
	form->status.allocated = &form->allocated;
	form->status.boot_id = message_text(runtime_boot_id(runtime));
	form->status.store_id = message_text(store_id(runtime_store(runtime)));
	form->status.agent_version = message_text(HEARTH_VERSION);
	form->status.agent_start_time = &form->start_time;
	form->status.launcher = message_text("child");
	form->status.cpu_model = agent->cpu_model;
	form->status.kernel = agent->kernel;
}

NodeForm *node_form_new(Agent *agent, Runtime *runtime)
{
	NodeForm *form = new0(NodeForm);

	hearth__v1__node__init(&form->node);
	hearth__v1__node_status__init(&form->status);
	form->node.node_id = agent->config->node_id;
	form->node.status = &form->status;
	fill_host(form, agent, runtime);
	fill_vms(form, runtime_registry(runtime));
	fill_conditions(form, agent, runtime, fill_backends(form, runtime));
	fill_cordons(form, runtime_store(runtime));
	return form;
}

void node_form_free(NodeForm *form)
{
	if (form->stored)
		store_cordons_free(form->stored, form->status.n_cordons);
	free(form->cordons);
	free(form->cordon_refs);
	free(form);
}

const ProtobufCMessage *node_form_message(const NodeForm *form)
{
	return &form->node.base;
}
