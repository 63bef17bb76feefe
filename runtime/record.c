/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/record.h"

#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

/* clang-format off */
static const char *const state_names[] = {
	[VM_CREATED]    = "created",
	[VM_STARTING]   = "starting",
	[VM_RUNNING]    = "running",
	[VM_PAUSING]    = "pausing",
	[VM_PAUSED]     = "paused",
	[VM_RESUMING]   = "resuming",
	[VM_STOPPING]   = "stopping",
	[VM_STOPPED]    = "stopped",
	[VM_FAILED]     = "failed",
	[VM_BACKOFF]    = "backoff",
	[VM_POISONED]   = "poisoned",
	[VM_SNAPSHOTTING] = "snapshotting",
	[VM_DESTROYING] = "destroying",
	[VM_DESTROYED]  = "destroyed",
};
static_assert(array_size(state_names) == VM_STATE_COUNT_, "name every state");

static const char *const condition_names[] = {
	[CONDITION_TRUE]    = "true",
	[CONDITION_FALSE]   = "false",
	[CONDITION_UNKNOWN] = "unknown",
};
static_assert(array_size(condition_names) == CONDITION_STATUS_COUNT_, "name every status");

static const char *const outcome_names[] = {
	[OPERATION_SUCCEEDED]   = "succeeded",
	[OPERATION_FAILED]      = "failed",
	[OPERATION_PREEMPTED]   = "preempted",
};
static_assert(array_size(outcome_names) == OPERATION_OUTCOME_COUNT_, "name every outcome");

static const char *const exit_names[] = {
	[EXIT_REQUESTED]      = "requested",
	[EXIT_GUEST_SHUTDOWN] = "guest_shutdown",
	[EXIT_GUEST_REBOOT]   = "guest_reboot",
	[EXIT_GUEST_PANIC]    = "guest_panic",
	[EXIT_GUEST_EXITED]   = "guest_exited",
	[EXIT_VMM_ERROR]      = "vmm_error",
	[EXIT_VMM_SIGNAL]     = "vmm_signal",
	[EXIT_VMM_OOM]        = "vmm_oom",
	[EXIT_PAGER_FAILED]   = "pager_failed",
	[EXIT_KEEPER_LOST]    = "keeper_lost",
	[EXIT_HOST_REBOOT]    = "host_reboot",
	[EXIT_UNKNOWN]        = "unknown",
};
static_assert(array_size(exit_names) == EXIT_REASON_COUNT_, "name every reason");

static const char *const exit_words[] = {
	[EXIT_REQUESTED]      = "Requested",
	[EXIT_GUEST_SHUTDOWN] = "GuestShutdown",
	[EXIT_GUEST_REBOOT]   = "GuestReboot",
	[EXIT_GUEST_PANIC]    = "GuestPanic",
	[EXIT_GUEST_EXITED]   = "GuestExited",
	[EXIT_VMM_ERROR]      = "VmmError",
	[EXIT_VMM_SIGNAL]     = "VmmSignal",
	[EXIT_VMM_OOM]        = "VmmOutOfMemory",
	[EXIT_PAGER_FAILED]   = "PagerFailed",
	[EXIT_KEEPER_LOST]    = "KeeperLost",
	[EXIT_HOST_REBOOT]    = "HostReboot",
	[EXIT_UNKNOWN]        = "Unknown",
};
static_assert(array_size(exit_words) == EXIT_REASON_COUNT_, "a word for every reason");

static const char *const rung_names[] = {
	[RUNG_ENDED]     = "ended",
	[RUNG_TIMED_OUT] = "timed_out",
	[RUNG_FAILED]    = "failed",
	[RUNG_SKIPPED]   = "skipped",
};
static_assert(array_size(rung_names) == RUNG_OUTCOME_COUNT_, "name every outcome");

static const char *const enforcement_names[] = {
	[VM_ENFORCEMENT_NONE]     = "none",
	[VM_ENFORCEMENT_BPF]      = "bpf",
	[VM_ENFORCEMENT_IPTABLES] = "iptables",
};
static_assert(array_size(enforcement_names) == VM_ENFORCEMENT_COUNT_, "name every one");

#define AT(member) .offset = offsetof(VmCondition, member)
static const Field condition_fields[] = {
	{ "type",            FIELD_TEXT, AT(type) },
	{ "status",          FIELD_ENUM, AT(status), .names = condition_names, .name_count = CONDITION_STATUS_COUNT_ },
	{ "reason",          FIELD_TEXT, AT(reason) },
	{ "message",         FIELD_TEXT, AT(message) },
	{ "transition_time", FIELD_TIME, AT(transition_time) },
};
#undef AT
const FieldTable vm_condition_table = {
	"Condition", sizeof(VmCondition), condition_fields, array_size(condition_fields),
};

#define AT(member) .offset = offsetof(VmStep, member)
static const Field step_fields[] = {
	{ "name",       FIELD_TEXT, AT(name) },
	{ "start_time", FIELD_TIME, AT(start_time) },
	{ "end_time",   FIELD_TIME, AT(end_time) },
};
#undef AT
const FieldTable vm_step_table = {
	"Step", sizeof(VmStep), step_fields, array_size(step_fields),
};

#define AT(member) .offset = offsetof(VmFailure, member)
static const Field failure_fields[] = {
	{ "kind",    FIELD_TEXT, AT(kind) },
	{ "cause",   FIELD_TEXT, AT(cause) },
	{ "message", FIELD_TEXT, AT(message) },
};
#undef AT
const FieldTable vm_failure_table = {
	"Failure", sizeof(VmFailure), failure_fields, array_size(failure_fields),
};

#define AT(member) .offset = offsetof(VmOperation, member)
static const Field operation_fields[] = {
	{ "operation_id", FIELD_TEXT,   AT(operation_id) },
	{ "verb",         FIELD_TEXT,   AT(verb) },
	{ "stage",        FIELD_TEXT,   AT(stage) },
	{ "start_time",   FIELD_TIME,   AT(start_time) },
	{ "end_time",     FIELD_TIME,   AT(end_time) },
	{ "outcome",      FIELD_ENUM,   AT(outcome), .names = outcome_names, .name_count = OPERATION_OUTCOME_COUNT_ },
	{ "error",        FIELD_OBJECT, AT(error), .table = &vm_failure_table },
	{ "principal",    FIELD_TEXT,   AT(principal) },
	{ "steps",        FIELD_LIST,   AT(steps), .table = &vm_step_table },
};
#undef AT
const FieldTable vm_operation_table = {
	"Operation", sizeof(VmOperation), operation_fields, array_size(operation_fields),
};

#define AT(member) .offset = offsetof(VmRung, member)
static const Field rung_fields[] = {
	{ "name",       FIELD_TEXT, AT(name) },
	{ "outcome",    FIELD_ENUM, AT(outcome), .names = rung_names, .name_count = RUNG_OUTCOME_COUNT_ },
	{ "message",    FIELD_TEXT, AT(message) },
	{ "start_time", FIELD_TIME, AT(start_time) },
	{ "end_time",   FIELD_TIME, AT(end_time) },
};
#undef AT
const FieldTable vm_rung_table = {
	"StopRung", sizeof(VmRung), rung_fields, array_size(rung_fields),
};

#define AT(member) .offset = offsetof(VmExit, member)
static const Field exit_fields[] = {
	{ "reason",       FIELD_ENUM, AT(reason), .names = exit_names, .name_count = EXIT_REASON_COUNT_ },
	{ "requested",    FIELD_BOOL, AT(requested) },
	{ "exit_code",    FIELD_I32,  AT(exit_code) },
	{ "signal",       FIELD_I32,  AT(signal) },
	{ "time",         FIELD_TIME, AT(time) },
	{ "console_tail", FIELD_TEXT, AT(console_tail) },
	{ "rungs",        FIELD_LIST, AT(rungs), .table = &vm_rung_table },
};
#undef AT
const FieldTable vm_exit_table = {
	"Exit", sizeof(VmExit), exit_fields, array_size(exit_fields),
};

#define AT(member) .offset = offsetof(VmResolvedInterface, member)
static const Field resolved_interface_fields[] = {
	{ "interface_id", FIELD_TEXT, AT(interface_id) },
	{ "host_device",  FIELD_TEXT, AT(host_device) },
	{ "inner_mac",    FIELD_TEXT, AT(inner_mac) },
	{ "inner_ipv4_address", FIELD_TEXT, AT(inner_ipv4_address) },
	{ "guest_mac",    FIELD_TEXT, AT(guest_mac) },
	{ "ipv4_address", FIELD_TEXT, AT(ipv4_address) },
	{ "ipv6_address", FIELD_TEXT, AT(ipv6_address) },
	{ "ipv4_gateway", FIELD_TEXT, AT(ipv4_gateway) },
	{ "ipv6_gateway", FIELD_TEXT, AT(ipv6_gateway) },
	{ "enforcement",  FIELD_ENUM, AT(enforcement), .names = enforcement_names, .name_count = VM_ENFORCEMENT_COUNT_ },
};
#undef AT
const FieldTable vm_resolved_interface_table = {
	"ResolvedInterface", sizeof(VmResolvedInterface), resolved_interface_fields,
	array_size(resolved_interface_fields),
};

#define AT(member) .offset = offsetof(VmResolved, member)
static const Field resolved_fields[] = {
	{ "backend",     FIELD_ENUM, AT(backend), .names = vm_backend_names, .name_count = VM_BACKEND_COUNT_ },
	{ "instance_id", FIELD_TEXT, AT(instance_id) },
	{ "vcpus",       FIELD_U32,  AT(vcpus) },
	{ "memory_mib",  FIELD_U64,  AT(memory_mib) },
	{ "boot_args",   FIELD_TEXT, AT(boot_args) },
	{ "accelerator", FIELD_TEXT, AT(accelerator) },
	{ "vmm_version", FIELD_TEXT, AT(vmm_version) },
	{ "vmm_pid",     FIELD_U32,  AT(vmm_pid) },
	{ "keeper_pid",  FIELD_U32,  AT(keeper_pid) },
	{ "start_time",  FIELD_TIME, AT(start_time) },
	{ "jail_uid",    FIELD_U32,  AT(jail_uid) },
	{ "jail_path",   FIELD_TEXT, AT(jail_path) },
	{ "cgroup",      FIELD_TEXT, AT(cgroup) },
	{ "limits",      FIELD_OBJECT, AT(limits), .table = &vm_limits_table },
	{ "vsock_path",  FIELD_TEXT, AT(vsock_path) },
	{ "network_interfaces", FIELD_LIST, AT(network_interfaces), .table = &vm_resolved_interface_table },
	{ "network_slot", FIELD_U32, AT(network_slot) },
	{ "disks", FIELD_TEXTS, AT(disks) },
	{ "restored", FIELD_BOOL, AT(restored) },
	{ "identity_shared", FIELD_BOOL, AT(identity_shared) },
	{ "diff_base", FIELD_TEXT, AT(diff_base) },
};
#undef AT
const FieldTable vm_resolved_table = {
	"Resolved", sizeof(VmResolved), resolved_fields, array_size(resolved_fields),
};

#define AT(member) .offset = offsetof(VmGuestStatus, member)
static const Field guest_status_fields[] = {
	{ "connected",     FIELD_BOOL,  AT(connected) },
	{ "ready",         FIELD_BOOL,  AT(ready) },
	{ "agent_version", FIELD_TEXT,  AT(agent_version) },
	{ "boot_id",       FIELD_TEXT,  AT(boot_id) },
	{ "secrets",       FIELD_TEXTS, AT(secrets) },
};
#undef AT
const FieldTable vm_guest_status_table = {
	"GuestStatus", sizeof(VmGuestStatus), guest_status_fields, array_size(guest_status_fields),
};

#define AT(member) .offset = offsetof(VmStatus, member)
static const Field status_fields[] = {
	{ "state",               FIELD_ENUM,   AT(state), .names = state_names, .name_count = VM_STATE_COUNT_ },
	{ "observed_generation", FIELD_U64,    AT(observed_generation) },
	{ "conditions",          FIELD_LIST,   AT(conditions), .table = &vm_condition_table },
	{ "operation",           FIELD_OBJECT, AT(operation), .table = &vm_operation_table },
	{ "last_operation",      FIELD_OBJECT, AT(last_operation), .table = &vm_operation_table },
	{ "last_exit",           FIELD_OBJECT, AT(last_exit), .table = &vm_exit_table },
	{ "restart_count",       FIELD_U32,    AT(restart_count) },
	{ "next_restart_time",   FIELD_TIME,   AT(next_restart_time) },
	{ "resolved",            FIELD_OBJECT, AT(resolved), .table = &vm_resolved_table },
	{ "guest",               FIELD_OBJECT, AT(guest), .table = &vm_guest_status_table },
};
#undef AT
const FieldTable vm_status_table = {
	"VmStatus", sizeof(VmStatus), status_fields, array_size(status_fields),
};

#define AT(member) .offset = offsetof(VmRecord, member)
static const Field record_fields[] = {
	{ "vm_id",       FIELD_TEXT, AT(vm_id), .flags = FIELD_REQUIRED },
	{ "uid",         FIELD_TEXT, AT(uid), .flags = FIELD_REQUIRED },
	{ "tenant",      FIELD_TEXT, AT(tenant) },
	{ "generation",  FIELD_U64,  AT(generation) },
	{ "revision",    FIELD_U64,  AT(revision), .flags = FIELD_LATE },
	{ "create_time", FIELD_TIME, AT(create_time) },
	{ "delete_time", FIELD_TIME, AT(delete_time) },
	{ "digest",      FIELD_TEXT, AT(digest) },
};
#undef AT
const FieldTable vm_record_table = {
	"Vm", sizeof(VmRecord), record_fields, array_size(record_fields),
};
/* clang-format on */

VmRecord *record_new(void)
{
	VmRecord *record = new0(VmRecord);

	atomic_init(&record->refs, 1);
	return record;
}

VmRecord *record_ref(VmRecord *record)
{
	atomic_fetch_add_explicit(&record->refs, 1, memory_order_relaxed);
	return record;
}

void record_unref(VmRecord *record)
{
	if (!record || atomic_fetch_sub_explicit(&record->refs, 1, memory_order_acq_rel) > 1)
		return;
	spec_unref(record->spec);
	fields_clear(&vm_status_table, &record->status);
	fields_clear(&vm_record_table, record);
	free(record);
}

VmRecord *record_copy(const VmRecord *record)
{
	VmRecord *copy = record_new();

	fields_copy(&vm_record_table, copy, record);
	fields_copy(&vm_status_table, &copy->status, &record->status);
	if (record->spec)
		copy->spec = spec_ref(record->spec);
	return copy;
}

char *record_to_text(const VmRecord *record)
{
	json_t *json = json_object();
	char *text;

	(void)json_object_set_new(json, "vm", fields_to_json(&vm_record_table, record));
	if (record->spec)
		(void)json_object_set_new(json, "spec",
					  fields_to_json(&vm_spec_table, record->spec));
	(void)json_object_set_new(json, "status",
				  fields_to_json(&vm_status_table, &record->status));
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	if (!text)
		abort();
	return text;
}

static int record_from_json(VmRecord *record, const json_t *json)
{
	if (fields_from_json(&vm_record_table, record, json_object_get(json, "vm")) < 0 ||
	    fields_from_json(&vm_spec_table, record->spec, json_object_get(json, "spec")) < 0 ||
	    fields_from_json(&vm_status_table, &record->status, json_object_get(json, "status")) <
		    0)
		return -EINVAL;
	return record->vm_id && record->uid ? 0 : -EINVAL;
}

int record_from_text(VmRecord **ret, const char *text, uint64_t revision)
{
	cleanup_(record_unrefp) VmRecord *record = record_new();
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	int r;

	record->revision = revision;
	record->spec = spec_new();
	r = record_from_json(record, json);
	json_decref(json);
	if (r < 0)
		return r;
	*ret = take_ptr(record);
	return 0;
}

bool record_is_whole(const VmRecord *record)
{
	const VmResolved *resolved = record->status.resolved;
	const char *instance = resolved && resolved->instance_id ? resolved->instance_id : "";

	return text_is_id(record->vm_id) && record->uid[0] &&
	       strlen(instance) == RECORD_INSTANCE_DIGITS &&
	       strspn(instance, "0123456789abcdef") == RECORD_INSTANCE_DIGITS;
}

static VmCondition *condition_at(const VmRecord *record, size_t i)
{
	return (VmCondition *)record->status.conditions.items + i;
}

static VmCondition *find_condition(const VmRecord *record, const char *type)
{
	for (size_t i = 0; i < record->status.conditions.count; i++)
		if (text_equal(condition_at(record, i)->type, type))
			return condition_at(record, i);
	return NULL;
}

void record_set_condition(VmRecord *record, const char *type, ConditionStatus status,
			  const char *reason, const char *message)
{
	VmCondition *condition = find_condition(record, type);

	if (!condition) {
		condition = field_list_add(&record->status.conditions, &vm_condition_table);
		condition->type = text_dup(type);
	}
	if (condition->status != status)
		condition->transition_time = clock_wall_us();
	condition->status = status;
	field_set_text(&condition->reason, reason);
	field_set_text(&condition->message, message);
}

const VmCondition *record_condition(const VmRecord *record, const char *type)
{
	return find_condition(record, type);
}

void record_end_run(VmResolved *resolved)
{
	FieldList *list = &resolved->network_interfaces;
	size_t kept = 0;

	resolved->vmm_pid = resolved->keeper_pid = 0;
	field_set_text(&resolved->jail_path, NULL);
	field_set_text(&resolved->cgroup, NULL);
	field_set_text(&resolved->diff_base, NULL);
	field_set_text(&resolved->vsock_path, NULL);
	free(take_ptr(resolved->limits));
	for (size_t i = 0; i < list->count; i++) {
		VmResolvedInterface *interface = (VmResolvedInterface *)list->items + i;

		if (!interface->guest_mac) { /* nothing leased */
			fields_clear(&vm_resolved_interface_table, interface);
			continue;
		}
		field_set_text(&interface->host_device, NULL);
		interface->enforcement = VM_ENFORCEMENT_UNSET;
		((VmResolvedInterface *)list->items)[kept++] = *interface;
	}
	list->count = kept;
	if (!kept)
		free(take_ptr(list->items));
}

VmResolvedInterface *record_interface(VmResolved *resolved, const char *interface_id)
{
	FieldList *list = &resolved->network_interfaces;
	VmResolvedInterface *interface;

	for (size_t i = 0; i < list->count; i++) {
		interface = (VmResolvedInterface *)list->items + i;
		if (text_equal(interface->interface_id, interface_id))
			return interface;
	}
	interface = field_list_add(list, &vm_resolved_interface_table);
	interface->interface_id = text_dup(interface_id);
	return interface;
}

const char *vm_state_name(VmState state)
{
	assert(state > VM_STATE_UNSET && state < VM_STATE_COUNT_);
	return state_names[state];
}

const char *exit_reason_name(ExitReason reason)
{
	assert(reason > EXIT_UNSET && reason < EXIT_REASON_COUNT_);
	return exit_names[reason];
}

const char *exit_reason_word(ExitReason reason)
{
	assert(reason > EXIT_UNSET && reason < EXIT_REASON_COUNT_);
	return exit_words[reason];
}
