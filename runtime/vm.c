/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/vm.h"

#include "base/text.h"
#include "runtime/egress.h"

#include <assert.h>
#include <string.h>

/* What each state says of the conditions. */
/* clang-format off */
static const struct {
	ConditionStatus running;
	const char *reason;
} condition_rules[VM_STATE_COUNT_] = {
	[VM_STATE_UNSET]  = { CONDITION_UNKNOWN, "Unknown" },
	[VM_CREATED]      = { CONDITION_FALSE,   "NeverStarted" },
	[VM_STARTING]     = { CONDITION_FALSE,   "Starting" },
	[VM_RUNNING]      = { CONDITION_TRUE,    "Running" },
	[VM_PAUSING]      = { CONDITION_TRUE,    "Running" },
	[VM_PAUSED]       = { CONDITION_FALSE,   "Paused" },
	[VM_RESUMING]     = { CONDITION_FALSE,   "Paused" },
	[VM_SNAPSHOTTING] = { CONDITION_UNKNOWN, "Snapshotting" },
	[VM_STOPPING]     = { CONDITION_TRUE,    "Running" },
	[VM_STOPPED]      = { CONDITION_FALSE,   "Stopped" },
	[VM_FAILED]       = { CONDITION_FALSE,   "Failed" },
	[VM_BACKOFF]      = { CONDITION_FALSE,   "BackOff" },
	[VM_POISONED]     = { CONDITION_UNKNOWN, "Poisoned" },
	[VM_DESTROYING]   = { CONDITION_FALSE,   "Destroying" },
	[VM_DESTROYED]    = { CONDITION_FALSE,   "Destroyed" },
};
/* clang-format on */

Vm *vm_new(Runtime *runtime, VmRecord *record, Backend *backend)
{
	Vm *vm = new0(Vm);

	assert(record->status.resolved && record->status.resolved->instance_id);

	vm->refs = 1;
	vm->runtime = runtime;
	lock_init(&vm->lock);
	text_copy(vm->id, sizeof vm->id, record->vm_id);
	text_copy(vm->uid, sizeof vm->uid, record->uid);
	text_copy(vm->instance_id, sizeof vm->instance_id, record->status.resolved->instance_id);
	vm->backend = backend;
	vm->jail_uid = record->status.resolved->jail_uid;
	vm->network_slot = record->status.resolved->network_slot;
	vm->latest = record;
	return vm;
}

Vm *vm_ref(Vm *vm)
{
	atomic_fetch_add_explicit(&vm->refs, 1, memory_order_relaxed);
	return vm;
}

void vm_unref(Vm *vm)
{
	if (!vm || atomic_fetch_sub_explicit(&vm->refs, 1, memory_order_acq_rel) > 1)
		return;
	record_unref(vm->latest);
	drives_forget(vm->drives);
	drives_forget(vm->doubtful_drives);
	guest_link_unref(vm->guest);
	free(vm);
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
Vm *vm_find(Runtime *runtime, const char *id)
{
	Vm *vm;

	lock_take(&runtime->table_lock);
	HASH_FIND_STR(runtime->table, id, vm);
	if (vm)
		vm_ref(vm);
	lock_drop(&runtime->table_lock);
	return vm;
}

/* Under the table's lock. */
static int may_enter(const Runtime *runtime, const Vm *vm)
{
	const Vm *other;

	HASH_FIND_STR(runtime->table, vm->id, other);
	if (other)
		return -EEXIST;
	HASH_FIND(hh_uid, runtime->uids, vm->uid, strlen(vm->uid), other);
	if (other)
		return -EADDRINUSE;
	return 0;
}

/* Under the table's lock. */
static void add(Runtime *runtime, Vm *vm)
{
	(void)vm_ref(vm); /* not in the macro, which evaluates it more than once */
	HASH_ADD_STR(runtime->table, id, vm);
	HASH_ADD_KEYPTR(hh_uid, runtime->uids, vm->uid, strlen(vm->uid), vm);
	runtime->vm_count++;
}

/* NOLINTEND(readability-function-*) */

int vm_enter(Runtime *runtime, Vm *vm)
{
	int r;

	lock_take(&runtime->table_lock);
	r = may_enter(runtime, vm);
	if (r == 0)
		add(runtime, vm);
	lock_drop(&runtime->table_lock);
	return r;
}

int vm_may_enter(Runtime *runtime, const Vm *vm)
{
	int r;

	lock_take(&runtime->table_lock);
	r = may_enter(runtime, vm);
	lock_drop(&runtime->table_lock);
	return r;
}

void vm_load(Runtime *runtime, Vm *vm)
{
	lock_take(&vm->lock);
	vm_force_place(vm);
	lock_drop(&vm->lock);
	lock_take(&runtime->table_lock);
	add(runtime, vm);
	lock_drop(&runtime->table_lock);
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
void vm_leave(Runtime *runtime, Vm *vm)
{
	lock_take(&runtime->table_lock);
	HASH_DEL(runtime->table, vm);
	HASH_DELETE(hh_uid, runtime->uids, vm);
	runtime->vm_count--;
	lock_drop(&runtime->table_lock);
	vm_give_place(vm);
	vm_unref(vm);
}

/* NOLINTEND(readability-function-*) */

void vm_never_was(Vm *vm)
{
	drives_release(vm->runtime, take_ptr(vm->drives)); /* before anybody may take its name */
	vm_return_uid(vm->runtime, vm->jail_uid);
	lock_take(&vm->lock);
	vm_return_network(vm->runtime, vm->latest->status.resolved, NULL);
	vm_give_room(vm);
	vm->gone = true;
	vm_leave(vm->runtime, vm);
	lock_drop(&vm->lock);
}

int vm_check_network(const Runtime *runtime, Backend *backend, const VmSpec *spec, Error *err)
{
	Network *network = backend->network;

	if (network && network->ops->leases)
		vm_check_addresses(runtime, spec, err);
	if (error_is_set(err))
		return -1;
	if (egress_has_names(spec->egress) && !(network && network->names))
		return error_set(err, ERROR_UNSUPPORTED,
				 "egress by name (spec.egress.rules.fqdn): "
				 "this network has no resolver");
	return network && network->ops->check ? network->ops->check(network, spec, err) : 0;
}

/* Violations of both are told of at once. */
int vm_check_spec(const Runtime *runtime, Backend *backend, const VmSpec *spec, Error *err)
{
	int r = backend->ops->check(backend, spec, err);
	Error more = { 0 };

	if (vm_check_network(runtime, backend, spec, &more) == 0 &&
	    vm_check_guest(backend, spec, &more) == 0 && disks_check(runtime, spec, &more) == 0)
		return r;
	if (r < 0)
		error_merge_violations(err, &more);
	else
		*err = more;
	return -1;
}

int vm_lease_uid(Runtime *runtime, const Backend *backend, VmRecord *record, Error *err)
{
	if (!runtime->config.backend.jail.jailer_path ||
	    !(backend->ops->capabilities & BACKEND_JAIL) || record->status.resolved->jail_uid)
		return 0;
	if (lease_take(runtime->uids_to_lease, &record->status.resolved->jail_uid) < 0)
		return error_add_capacity(err, "jail_uids", 1, 0);
	return 0;
}

void vm_return_uid(Runtime *runtime, uint32_t uid)
{
	if (uid)
		lease_return(runtime->uids_to_lease, uid);
}

char *vm_run_dir(const Vm *vm)
{
	return text_printf("%s/vms/%s", vm->runtime->state_dir, vm->instance_id);
}

VmRecord *vm_published(const Vm *vm)
{
	VmRecord *record = registry_get(vm->runtime->registry, vm->id);

	if (!record || strcmp(record->uid, vm->uid) == 0)
		return record;
	record_unref(record); /* its predecessor's, whose end is not durable yet */
	return NULL;
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
Vm **vm_all(Runtime *runtime, size_t *count)
{
	Vm **all, *vm, *following;
	size_t n = 0;

	lock_take(&runtime->table_lock);
	all = new0_array(Vm *, runtime->vm_count);
	HASH_ITER(hh, runtime->table, vm, following)
	all[n++] = vm_ref(vm);
	lock_drop(&runtime->table_lock);
	*count = n;
	return all;
}
/* NOLINTEND(readability-function-*) */

/* What says of a VM's network who holds it to its policy. */
/* clang-format off */
static const struct {
	ConditionStatus status;
	const char *ready, *enforced, *message;
} network_rules[VM_ENFORCEMENT_COUNT_] = {
	[VM_ENFORCEMENT_UNSET]    = { CONDITION_FALSE, "Detached", "Detached", NULL },
	[VM_ENFORCEMENT_NONE]     = { CONDITION_TRUE,  "InMemory", "InMemory", "no packet passes" },
	[VM_ENFORCEMENT_BPF]      = { CONDITION_TRUE,  "Attached", "Bpf",      NULL },
	[VM_ENFORCEMENT_IPTABLES] = { CONDITION_TRUE,  "Attached", "Iptables",
	                              NETWORK_IPTABLES_LACKS },
};
/* clang-format on */

static bool is_of_network(const Error *err)
{
	return err && (err->kind == ERROR_NETWORK_CONFIG || err->kind == ERROR_NETWORK_SETUP ||
		       err->kind == ERROR_FIREWALL);
}

void vm_set_network_conditions(VmRecord *record, const Error *failure)
{
	const VmResolved *resolved = record->status.resolved;
	const VmResolvedInterface *interface = resolved ? network_interface(resolved) : NULL;
	VmEnforcement by = interface ? interface->enforcement : VM_ENFORCEMENT_UNSET;
	char failed[ERROR_MESSAGE_MAX];

	if (!interface)
		return;
	if (by == VM_ENFORCEMENT_UNSET && is_of_network(failure)) {
		(void)error_message(failure, failed);
		record_set_condition(record, "NetworkReady", CONDITION_FALSE, "Failed", failed);
		record_set_condition(record, "EgressEnforced", CONDITION_FALSE, "Failed", failed);
		return;
	}
	record_set_condition(record, "NetworkReady", network_rules[by].status,
			     network_rules[by].ready, NULL);
	record_set_condition(record, "EgressEnforced", network_rules[by].status,
			     network_rules[by].enforced, network_rules[by].message);
}

void vm_set_state(VmRecord *record, VmState state)
{
	record->status.state = state;
	record_set_condition(record, "VmmRunning", condition_rules[state].running,
			     condition_rules[state].reason, NULL);
	vm_set_ready(record, condition_rules[state].running, condition_rules[state].reason);
	if (state != VM_BACKOFF)
		record->status.next_restart_time = 0;
}

void vm_set_not_adopted(VmRecord *record)
{
	static const char *const types[] = { "VmmRunning", "Ready", "NetworkReady",
					     "EgressEnforced", "GuestConnected" };

	for (size_t i = 0; i < array_size(types); i++)
		if (record_condition(record, types[i]))
			record_set_condition(record, types[i], CONDITION_UNKNOWN, "NotYetAdopted",
					     NULL);
}

VmRecord *vm_next_record(Vm *vm, VmState state)
{
	VmRecord *record = record_copy(vm->latest);

	vm_set_state(record, state);
	return record;
}

void vm_submit(Vm *vm, Change *change)
{
	VmRecord *old = vm->latest;

	vm->latest = record_ref(change->record);
	vm_settle_room(vm);
	store_submit(vm->runtime->store, change);
	record_unref(old);
}
