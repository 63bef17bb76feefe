/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/vm_snapshot.h"

#include <errno.h>
#include <string.h>

/* One CreateVm on its way. */
typedef struct Create {
	Work work;
	Runtime *runtime;
	VmRecord *record;
	bool own_uid; /* the caller's */
	bool validate_only;
	bool filled; /* with what its snapshot has */
	ReturnWhen when;
	char *principal;
	VmReply *reply;
	void *user;
} Create;

static void create_free(Create *create)
{
	Runtime *runtime = create->runtime;

	record_unref(create->record);
	free(create->principal);
	free(create);
	runtime->live_operations--;
}

/* Does the running operation of @vm bring about what @create asks for, with its answer to come? */
static bool to_be_joined(const Vm *vm, const Create *create) lock_requires(vm->lock)
{
	const Operation *running = vm->running;

	if (!running || create->validate_only)
		return false;
	if (running->errand != ERRAND_CREATE && (running->errand || running->op != VM_OP_START))
		return false;
	return create->when != RETURN_WHEN_ACCEPTED || !running->accepted;
}

/* The VM is there already: the same request once more, or another's. 0; 1: it is just leaving. */
static int answer_again(Create *create, Vm *vm)
{
	cleanup_(record_unrefp) VmRecord *published = vm_published(vm);
	bool same, gone, joined = false;
	Error err = { 0 };

	lock_take(&vm->lock);
	gone = vm->gone;
	same = strcmp(vm->latest->digest, create->record->digest) == 0;
	if (same && !gone && to_be_joined(vm, create)) {
		operation_add_waiter(vm->running, create->reply, create->user, create->when);
		joined = true;
	}
	lock_drop(&vm->lock);

	if (gone || joined)
		return gone;
	if (same) /* one asked to validate only may come before there is anything to show */
		create->reply(create->user, published ? published : create->record, NULL);
	else
		(void)error_set_vm(&err, ERROR_VM_ALREADY_EXISTS, vm->id);
	if (!same)
		create->reply(create->user, NULL, &err);
	return 0;
}

static int check_cordon(Runtime *runtime, Error *err)
{
	cleanup_free char *cordon = NULL;

	lock_take(&runtime->lock);
	cordon = text_dup(runtime->cordon);
	lock_drop(&runtime->lock);
	return cordon ? error_set(err, ERROR_CORDONED, "%s", cordon) : 0;
}

/* All that can stand against a new VM, before anything on the host is touched. */
static int check_host(Create *create, Backend *backend, Error *err)
{
	const VmRecord *record = create->record;
	int used = 0;

	if (!backend)
		return error_set(err, ERROR_UNSUPPORTED, "backend %d",
				 (int)record->status.resolved->backend);
	if (vm_check_spec(create->runtime, backend, record->spec, err) < 0)
		return -1;
	if (create->own_uid)
		used = store_uid_used(create->runtime->store, record->uid, err);
	if (used > 0)
		return error_set(err, ERROR_CONFLICT, "uid '%s' has been used", record->uid);
	return used;
}

/* The new VM is durable, or cannot be made so. */
static void run_created(Work *work)
{
	Operation *operation = container_of(work, Operation, work);
	bool failed = error_is_set(&operation->error);

	if (failed)
		vm_forget(operation->vm);
	operation_release(operation, failed ? NULL : operation->claimed);
}

static void created(Change *change, const Error *err)
{
	Operation *operation = change->user;

	if (err) {
		operation->error = *err;
		error_about_vm(&operation->error, operation->vm->id);
		vm_never_was(operation->vm);
	}
	operation->work.run = run_created;
	workers_submit(operation->runtime->desk, &operation->work);
}

static Operation *operation_of(Create *create, Vm *vm)
{
	VmDesired desired = spec_desired(create->record->spec);
	bool start = desired != VM_DESIRED_STOPPED;
	Operation *operation =
		operation_new(vm, start ? VM_OP_START : VM_OP_COUNT_, "create", create->principal);

	operation_add_waiter(operation, create->reply, create->user, create->when);
	operation->keep_desired = true;
	operation->creating = true;
	operation->then_pause = desired == VM_DESIRED_PAUSED;
	if (!start) {
		operation->errand = ERRAND_CREATE;
		operation->claimed = record_ref(create->record);
	}
	return operation;
}

/* A VM that is not to run is done with once it is recorded. */
static void note_operation(VmRecord *record, const Operation *operation)
{
	VmOperation *shown = new0(VmOperation);

	shown->operation_id = text_dup(operation->id);
	shown->verb = text_dup(operation->verb);
	shown->principal = text_dup(operation->principal);
	shown->start_time = record->create_time;
	shown->end_time = clock_wall_after(shown->start_time);
	shown->outcome = OPERATION_SUCCEEDED;
	record->status.last_operation = shown;
}

/* Submits the new VM, and its start if it is to run. */
static void submit(Create *create, Vm *vm, Operation *operation) lock_requires(vm->lock)
{
	Change *change = change_new(CHANGE_ADDED, record_ref(create->record), "Created");

	change->principal = text_dup(create->principal);
	change->operation_id = text_dup(operation->id);
	if (!operation->errand) {
		vm->next = operation; /* so that it keeps the room it has */
		vm_submit(vm, change);
		vm->next = NULL;
		vm_begin(vm, operation, vm_rule(VM_CREATED, VM_OP_START));
		return;
	}
	note_operation(create->record, operation);
	change->done = created;
	change->user = operation;
	vm->running = operation;
	vm_submit(vm, change);
}

/*
 * Enters the checked VM into the table, claimed already, so that nobody who finds it comes before
 * its creation: 0, -1 with *@err if there is no room for it, or what vm_enter() says.
 */
static int enter(Create *create, Vm *vm, Error *err)
{
	Operation *operation = operation_of(create, vm);
	int r;

	lock_take(&vm->lock);
	/* First its name: an equal of it takes no room, not even for a moment. */
	r = vm_enter(create->runtime, vm);
	if (r == 0 && vm_take_place(vm, !operation->errand, err) < 0) {
		vm->gone = true;
		vm_leave(create->runtime, vm);
		r = -1;
	}
	if (r == 0)
		submit(create, vm, operation);
	lock_drop(&vm->lock);

	if (r == 0) {
		vm_arm_expiry(vm);
		return 0;
	}
	free(operation->waiters); /* who waits is answered otherwise */
	operation_free(operation);
	return r;
}

/* Is there room for it now, of everything? What it takes, it takes later: then it is certain. */
static int check_room(Create *create, const Backend *backend, Error *err)
{
	const VmSpec *spec = create->record->spec;
	Need need = vm_place_of(create->runtime, backend), room = vm_room_of(backend, spec);

	runtime_look_at_capacity(create->runtime);
	if (spec_desired(spec) != VM_DESIRED_STOPPED)
		need_add(&need, &room);
	(void)!budget_check(create->runtime->budget, &need, err);
	if (spec_desired(spec) != VM_DESIRED_STOPPED)
		(void)!vm_check_descriptors(create->runtime, backend, err);
	vm_check_address_room(create->runtime, backend, spec, err);
	return error_is_set(err) ? -1 : 0;
}

/* What stands against this create may be its equal, a moment ahead: then that is answered for. */
static bool is_equal_ahead(const Create *create, int r, Error *err)
{
	cleanup_(vm_unrefp) Vm *other = vm_find(create->runtime, create->record->vm_id);

	if (!other && r != -EAGAIN)
		return false;
	error_clear(err);
	return true;
}

/* Leases of a VM that is none. */
static void give_back(Create *create)
{
	VmResolved *resolved = create->record->status.resolved;

	vm_return_uid(create->runtime, resolved->jail_uid);
	resolved->jail_uid = 0;
	vm_return_network(create->runtime, resolved, NULL);
	vm_copy_network(resolved, &(VmResolved){ 0 });
}

/* It could not enter, as @r says: what it had claimed is anybody's again. -1 with *@err; 1 to try
 * again, because its id was taken, or its equal had the last room. */
static int take_back(Create *create, Vm *vm, int r, Error *err)
{
	drives_release(create->runtime, take_ptr(vm->drives));
	give_back(create);
	if (r == -EEXIST || (r == -1 && is_equal_ahead(create, r, err)))
		return 1;
	if (!error_is_set(err))
		(void)error_set(err, ERROR_CONFLICT, "uid '%s' has been used", create->record->uid);
	return -1;
}

/* 0; -1 with *@err; -EAGAIN as drives_claim(). */
static int check_and_claim(Create *create, Backend *backend, DriveClaim **drives, Error *err)
{
	const VmRecord *record = create->record;

	if (check_cordon(create->runtime, err) < 0 || check_host(create, backend, err) < 0 ||
	    check_room(create, backend, err) < 0)
		return -1;
	return drives_claim(create->runtime, record->vm_id, record->spec, CLAIM_FOR_CREATE,
			    create->validate_only ? NULL : drives, err);
}

/* A user, and what it has of the network. */
static int lease(Create *create, Backend *backend, Error *err)
{
	static const VmResolved nothing;
	VmRecord *record = create->record;

	if (!create->validate_only && vm_lease_uid(create->runtime, backend, record, err) < 0)
		return -1;
	if (vm_lease_network(create->runtime, backend, record->spec, &nothing,
			     record->status.resolved, err) == 0) {
		vm_set_network_conditions(record, NULL);
		return 0;
	}
	give_back(create);
	return -1;
}

/* Makes the VM or answers for the one there is: 0; -1 with *@err; 1 to try again, because its id
 * was taken, or given up, meanwhile. */
static int make(Create *create, Error *err)
{
	Runtime *runtime = create->runtime;
	VmRecord *record = create->record;
	Backend *backend;
	cleanup_(vm_unrefp) Vm *vm = NULL;
	cleanup_(vm_unrefp) Vm *other = vm_find(runtime, record->vm_id);
	DriveClaim *drives = NULL;
	int r;

	if (other)
		return answer_again(create, other);
	if (!create->filled && restore_fill(runtime, record, err) < 0)
		return -1;
	create->filled = true;
	backend = runtime->backends[record->status.resolved->backend];
	r = check_and_claim(create, backend, &drives, err);
	if (r)
		return is_equal_ahead(create, r, err) ? 1 : -1;
	if (lease(create, backend, err) < 0) {
		drives_release(runtime, drives);
		return is_equal_ahead(create, -1, err) ? 1 : -1;
	}
	vm = vm_new(runtime, record_ref(record), backend);
	vm->drives = drives;
	r = create->validate_only ? vm_may_enter(runtime, vm) : enter(create, vm, err);
	if (r < 0)
		return take_back(create, vm, r, err);
	if (create->validate_only) {
		give_back(create); /* it was to be had: what another will have, nobody knows */
		create->reply(create->user, record, NULL);
	}
	return 0;
}

static void create_run(Work *work)
{
	Create *create = container_of(work, Create, work);
	Error err = { 0 };
	int r;

	do
		r = make(create, &err);
	while (r > 0);
	if (r < 0) {
		error_about_vm(&err, create->record->vm_id);
		create->reply(create->user, NULL, &err);
	}
	create_free(create);
}

static VmRecord *record_of(const Runtime *runtime, const CreateCall *call)
{
	VmRecord *record = record_new();
	VmResolved *resolved = new0(VmResolved);
	char uid[37], instance_id[17], digest[65];

	text_random_uuid(uid);
	text_random_hex(instance_id, 8);
	spec_digest(digest, call->spec, call->vm_id, call->uid, call->tenant);

	record->vm_id = text_dup(call->vm_id);
	record->uid = text_dup(call->uid && call->uid[0] ? call->uid : uid);
	record->tenant = call->tenant && call->tenant[0] ? text_dup(call->tenant) : NULL;
	record->generation = 1;
	record->create_time = clock_wall_us();
	record->digest = text_dup(digest);
	record->spec = spec_ref(call->spec);
	resolved->backend =
		call->spec->backend ? call->spec->backend : runtime->config.default_backend;
	resolved->instance_id = text_dup(instance_id);
	resolved->vcpus = spec_vcpus(call->spec);
	resolved->memory_mib = spec_memory_mib(call->spec);
	record->status.resolved = resolved;
	vm_set_state(record, VM_CREATED);
	disks_set_condition(record, NULL);
	return record;
}

void runtime_create_vm(Runtime *runtime, const CreateCall *call, VmReply *reply, void *user)
{
	Create *create = new0(Create);

	runtime->live_operations++;
	create->runtime = runtime;
	create->record = record_of(runtime, call);
	create->own_uid = call->uid && call->uid[0];
	create->validate_only = call->validate_only;
	create->when = call->return_when;
	create->principal = text_dup(call->principal);
	create->reply = reply;
	create->user = user;
	create->work.run = create_run;
	workers_submit(runtime->desk, &create->work);
}
