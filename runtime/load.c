/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "runtime/vm.h"

#include <string.h>

/* What the store has, when an agent starts. */

typedef struct Loading {
	Runtime *runtime;
	Error *err;
} Loading;

/* One VM of the store. What is not yet re-adopted says so until it is. */
static void load_vm(Runtime *runtime, VmRecord *record)
{
	VmBackend id =
		record->status.resolved ? record->status.resolved->backend : VM_BACKEND_UNSET;
	Backend *backend = id < VM_BACKEND_COUNT_ ? runtime->backends[id] : NULL;
	cleanup_(vm_unrefp) Vm *vm = NULL;
	cleanup_(record_unrefp) VmRecord *shown = record_ref(record);
	Error ignored = { 0 };
	VmState state = record->status.state;

	if (!backend) /* of a backend that this agent does not have: it is let alone */
		backend = runtime->backends[VM_BACKEND_IN_MEMORY];
	vm = vm_new(runtime, record, backend);
	if (vm->jail_uid) /* outside a range that has been moved it is nobody else's */
		(void)!lease_claim(runtime->uids_to_lease, vm->jail_uid);
	vm_claim_network(runtime, record->status.resolved);
	vm_load(runtime, vm);
	if (drives_claim(runtime, vm->id, record->spec, CLAIM_FOR_LOAD, &vm->drives, &ignored) < 0)
		error_clear(&ignored); /* it was allowed once: its VMM has the disk, or had */

	if ((backend->ops->capabilities & BACKEND_PROCESS) &&
	    (state == VM_RUNNING || state == VM_PAUSED)) {
		record_unref(shown);
		shown = record_copy(record);
		shown->revision = record->revision;
		vm_set_not_adopted(shown);
	}
	registry_load(runtime->registry, take_ptr(shown));
}

static void load_whole(void *user, VmRecord *record)
{
	const Loading *loading = user;

	if (record_is_whole(record)) {
		load_vm(loading->runtime, record);
		return;
	}
	if (!error_is_set(loading->err))
		(void)error_set_cause(loading->err, ERROR_STORE, CAUSE_CORRUPT,
				      "the record of vm '%s' is damaged; run hearthd once with "
				      "--rebuild, which keeps what can be read and what runs",
				      record->vm_id);
	record_unref(record);
}

/* The same for a VM at rest whose node had no network. */
static void lease_network(Runtime *runtime, Vm *vm, Error *err)
{
	static const VmResolved nothing;
	VmResolved *resolved = vm->latest->status.resolved;
	VmState state = vm->latest->status.state;

	if (network_interface(resolved) || vm_state_is_busy(state) || vm_state_has_vmm(state) ||
	    state == VM_POISONED)
		return;
	(void)!vm_lease_network(runtime, vm->backend, vm->latest->spec, &nothing, resolved, err);
	vm->network_slot = resolved->network_slot;
}

/*
 * VMs of an agent that did not jail get a user each, now that it is known which are taken. Their
 * next record, the intent of any start, makes it durable.
 */
static void lease_missing(Runtime *runtime)
{
	size_t count;
	cleanup_free Vm **all = vm_all(runtime, &count);

	for (size_t i = 0; i < count; i++) {
		Error none_left = { 0 };

		if (vm_lease_uid(runtime, all[i]->backend, all[i]->latest, &none_left) < 0)
			error_clear(&none_left); /* its start will say so */
		lease_network(runtime, all[i], &none_left);
		all[i]->jail_uid = all[i]->latest->status.resolved->jail_uid;
		vm_unref(all[i]);
	}
}

static void load_change(void *user, Change *change)
{
	Runtime *runtime = user;

	registry_load_change(runtime->registry, change);
}

int runtime_load(Runtime *runtime, Error *err)
{
	StoreConfig config = { .state_dir = runtime->state_dir,
			       .history = runtime->config.history };
	Loading loading = { runtime, err };
	char boot_before[37];
	int r = process_boot_id(runtime->boot_id);

	if (r < 0)
		return error_set_errno(err, ERROR_STORE, -r, "read the host's boot id");
	if (store_open(&runtime->store, &config, err) < 0)
		return -1;
	runtime->registry = registry_new(store_revision(runtime->store), config.history);
	if (store_load_changes(runtime->store, config.history, load_change, runtime, err) < 0 ||
	    store_load_vms(runtime->store, load_whole, &loading, err) < 0 || error_is_set(err))
		return -1;
	lease_missing(runtime);
	if (store_start(runtime->store, registry_publish, runtime->registry, err) < 0)
		return -1;
	if (store_exchange_boot_id(runtime->store, runtime->boot_id, boot_before, err) < 0)
		return -1;
	runtime->host_rebooted = boot_before[0] && strcmp(boot_before, runtime->boot_id) != 0;
	return runtime_refresh_cordon(runtime, err);
}
