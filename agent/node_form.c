/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/node_form.h"

#include "agent/wire.h"
#include "base/text.h"

#include <assert.h>

enum {
	CAPABILITIES_MAX = 8
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
	Hearth__V1__Resources capacity, allocatable, allocated;
	BackendForm backends[VM_BACKEND_COUNT_];
	Hearth__V1__BackendInfo *backend_refs[VM_BACKEND_COUNT_];
	NetworkInfo seen;
	Hearth__V1__NodeNetwork network;
	ConditionForm conditions[NODE_CONDITION_COUNT_];
	Hearth__V1__Condition *condition_refs[NODE_CONDITION_COUNT_];
	Hearth__V1__StateCount counts[VM_STATE_COUNT_];
	Hearth__V1__StateCount *count_refs[VM_STATE_COUNT_];
	StoreCordon *stored;
	CordonForm *cordons;
	Hearth__V1__CordonInfo **cordon_refs;
};

static void fill_capabilities(BackendForm *form)
{
	static const struct {
		unsigned bit;
		const char *name;
	} rows[] = {
		{ BACKEND_PAUSE, "pause" },        { BACKEND_POWER_BUTTON, "power_button" },
		{ BACKEND_CONSOLE, "console" },    { BACKEND_PROCESS, "process" },
		{ BACKEND_GUEST, "guest" },        { BACKEND_SNAPSHOT, "snapshot" },
		{ BACKEND_DIFF, "diff_snapshot" }, { BACKEND_PAGER, "pager" },
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
	for (size_t i = 0; i < list->count; i++)
		counts[list->records[i]->status.state]++;
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
		[NODE_NETWORK_READY] = { "NetworkReady", "Ready", "Missing" },
	};
	static_assert(array_size(words) == NODE_CONDITION_COUNT_, "name every condition");
	ConditionForm *at = &form->conditions[condition];
	ConditionStatus status = holds ? CONDITION_TRUE : CONDITION_FALSE;

	hearth__v1__condition__init(&at->message);
	text_copy(at->text, sizeof at->text, holds ? "" : message);
	wire_time(&at->since, agent_condition_since(agent, condition, status));
	at->message.type = message_text(words[condition].type);
	at->message.status = (Hearth__V1__ConditionStatus)status;
	at->message.reason = message_text(holds ? words[condition].good : words[condition].bad);
	at->message.message = at->text;
	at->message.transition_time = &at->since;
	form->condition_refs[condition] = &at->message;
}

static void fill_conditions(NodeForm *form, Agent *agent, Runtime *runtime, bool usable)
{
	char message[ERROR_MESSAGE_MAX] = "", launches[ERROR_WHAT_MAX] = "";
	Error err = { 0 };
	bool writable = !store_failing(runtime_store(runtime), &err);
	bool launched = launcher_look(agent->launcher, launches, sizeof launches);

	if (!writable)
		(void)error_message(&err, message);
	fill_condition(form, agent, NODE_STORE_WRITABLE, writable, message);
	fill_condition(form, agent, NODE_NETWORK_READY, form->seen.ready, form->seen.message);
	fill_condition(form, agent, NODE_ADOPTED, runtime_adopted(runtime),
		       "VMs of an earlier agent are still being looked after");
	fill_condition(form, agent, NODE_READY, writable && usable && launched,
		       !writable ? "the store cannot be written"
		       : !usable ? "the default backend is not available"
				 : launches);
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
		wire_time(&at->time, form->stored[i].time);
		at->message.owner = form->stored[i].owner;
		at->message.reason =
			message_text(form->stored[i].reason ? form->stored[i].reason : "");
		at->message.time = &at->time;
		form->cordon_refs[i] = &at->message;
	}
}

static uint64_t limit_of(const Need *most, Resource resource)
{
	return most->of[resource] == BUDGET_NO_LIMIT ? 0 : most->of[resource];
}

static void fill_resources(Hearth__V1__Resources *ret, const Need *need,
			   const uint64_t addresses[static 2])
{
	hearth__v1__resources__init(ret);
	ret->vcpus = limit_of(need, RESOURCE_VCPUS);
	ret->memory_mib = limit_of(need, RESOURCE_MEMORY);
	ret->vms = need->of[RESOURCE_VMS];
	ret->huge_pages_2m = need->of[RESOURCE_HUGE_PAGES];
	ret->disk_mib = need->of[RESOURCE_DISK];
	ret->ipv4_addresses = addresses[ADDRESS_IPV4];
	ret->ipv6_addresses = addresses[ADDRESS_IPV6];
}

static void fill_capacity(NodeForm *form, const Agent *agent, Runtime *runtime)
{
	NodeCapacity node;
	Need host;

	runtime_capacity(runtime, &node);
	host = node.allocatable;
	host.of[RESOURCE_VCPUS] = agent->cpus;
	host.of[RESOURCE_MEMORY] = node.memory_mib;
	host.of[RESOURCE_DISK] = node.disk_mib;
	fill_resources(&form->capacity, &host, node.addresses);
	fill_resources(&form->allocatable, &node.allocatable, node.addresses);
	fill_resources(&form->allocated, &node.taken, node.addresses_taken);
	form->status.capacity = &form->capacity;
	form->status.allocatable = &form->allocatable;
	form->status.allocated = &form->allocated;
}

static void fill_host(NodeForm *form, Agent *agent, Runtime *runtime)
{
	wire_time(&form->start_time, agent->start_time);
	form->status.boot_id = message_text(runtime_boot_id(runtime));
	form->status.store_id = message_text(store_id(runtime_store(runtime)));
	form->status.agent_version = message_text(HEARTH_VERSION);
	form->status.agent_start_time = &form->start_time;
	form->status.launcher = message_text(launcher_name(agent->launcher));
	form->status.cpu_model = agent->cpu_model;
	form->status.kernel = agent->kernel;
	form->status.leftovers_removed = runtime_leftovers_removed(runtime);
}

static void fill_network(NodeForm *form, Runtime *runtime)
{
	runtime_network(runtime, &form->seen);
	hearth__v1__node_network__init(&form->network);
	form->network.mode = message_text(!form->seen.on       ? "off"
					  : form->seen.bridged ? "bridge"
							       : "routed");
	form->network.enforcement = (Hearth__V1__Enforcement)form->seen.enforcement;
	form->network.degraded = form->seen.degraded;
	form->network.message = form->seen.message;
	form->network.ipv4_pool = form->seen.pool4;
	form->network.ipv6_pool = form->seen.pool6;
	form->status.network = &form->network;
}

NodeForm *node_form_new(Agent *agent, Runtime *runtime)
{
	NodeForm *form = new0(NodeForm);

	hearth__v1__node__init(&form->node);
	hearth__v1__node_status__init(&form->status);
	form->node.node_id = agent->config->node_id;
	form->node.status = &form->status;
	fill_host(form, agent, runtime);
	fill_capacity(form, agent, runtime);
	fill_vms(form, runtime_registry(runtime));
	fill_network(form, runtime);
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
