/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <errno.h>
#include <string.h>

/*
 * UpdateVm: one assignment to the spec, made durable. It claims nothing, so it
 * goes on beside a long operation. Only what the VMM of a VM that runs or is
 * paused has to be told of is an operation of its own (update_live.c).
 */
typedef struct Update {
	Work work;
	Vm *vm;
	VmCall call; /* its texts and values are the update's own */
	VmReply *reply;
	void *user;
	VmRecord *record;
	VmRecord *before;
	DriveClaim *drives; /* on those of @record, until it is known whether they are the VM's */
	Error error;
} Update;

enum {
	ANSWER = 1, /* there is nothing to make durable: it is so already, or was only to be checked
		     */
};

static Update *update_new(Vm *vm, const VmCall *call, VmReply *reply, void *user)
{
	Update *update = new0(Update);

	vm->runtime->live_operations++;
	update->vm = vm_ref(vm);
	update->call = *call;
	update->call.vm_id = update->vm->id;
	update->call.expected_uid = text_dup(call->expected_uid);
	update->call.principal = text_dup(call->principal);
	update->call.update = spec_ref(call->update);
	update->reply = reply;
	update->user = user;
	return update;
}

static void free_text(const char *text)
{
	const union {
		const char *shown;
		char *own;
	} both = { .shown = text };

	free(both.own);
}

static void update_free(Update *update)
{
	Runtime *runtime = update->vm->runtime;

	record_unref(update->record);
	record_unref(update->before);
	spec_unref(update->call.update);
	free_text(update->call.expected_uid);
	free_text(update->call.principal);
	vm_unref(update->vm);
	free(update);
	runtime->live_operations--;
}

/* Ends @user, an Update, with what became of it. */
static void answer(void *user, const VmRecord *record, const Error *err)
{
	Update *update = user;

	drives_release(update->vm->runtime, take_ptr(update->drives));
	if (!err && (update->call.update_mask & RUNTIME_UPDATE_EXPIRY))
		vm_arm_expiry(update->vm);
	update->reply(update->user, record, err);
	update_free(update);
}

static void run_answer(Work *work)
{
	Update *update = container_of(work, Update, work);
	bool failed = error_is_set(&update->error);

	if (failed)
		error_about_vm(&update->error, update->vm->id);
	answer(update, failed ? NULL : update->record, failed ? &update->error : NULL);
}

/* What the one of two records of an update has of the network and the other has not is free. */
static void return_leases(const Update *update, const VmRecord *from, const VmRecord *to)
{
	if (from && to && (update->call.update_mask & RUNTIME_UPDATE_INTERFACES))
		vm_return_network(update->vm->runtime, from->status.resolved, to->status.resolved);
}

/*
 * The update could not be made durable. If the chain has gone on from it, what is durable is put
 * into its last record again, unless a later update has seen to that. (On the store's thread: what
 * is published is all that is durable.)
 */
static void take_back(Update *update)
{
	Vm *vm = update->vm;
	cleanup_(record_unrefp) VmRecord *published = vm_published(vm);
	cleanup_(spec_unrefp) VmSpec *mine = NULL;
	VmRecord *record;
	Change *change;

	lock_take(&vm->lock);
	if (vm->latest == update->record) {
		vm->latest = record_ref(update->before);
		record_unref(update->record); /* the chain's; the update has its own */
	} else if (!vm->gone && published) {
		mine = spec_updated(vm->latest->spec, update->record->spec,
				    update->call.update_mask);
		if (fields_equal(&vm_spec_table, mine, vm->latest->spec)) {
			record = record_copy(vm->latest);
			spec_unref(record->spec);
			record->spec =
				spec_updated(mine, published->spec, update->call.update_mask);
			record->generation++;
			if (update->call.update_mask & RUNTIME_UPDATE_INTERFACES)
				vm_copy_network(record->status.resolved,
						update->before->status.resolved);
			change = change_new(CHANGE_MODIFIED, record, "UpdateFailed");
			change->is_outcome = true;
			vm_submit(vm, change);
		}
	}
	lock_drop(&vm->lock);
}

static void durable(Change *change, const Error *err)
{
	Update *update = change->user;
	Vm *vm = update->vm;

	if (err) {
		update->error = *err;
		take_back(update);
	} else if (update->drives) {
		DriveClaim *before = vm->drives;

		vm->drives = update->drives;
		update->drives = before;
	}
	if (err)
		return_leases(update, update->record, update->before);
	else
		return_leases(update, update->before, update->record);
	update->work.run = run_answer;
	workers_submit(vm->runtime->desk, &update->work);
}

/* The update that is carried out, or waits to be. */
static const Operation *update_under_way(const Vm *vm) lock_requires(vm->lock)
{
	if (vm->running && vm->running->op == VM_OP_UPDATE)
		return vm->running;
	return vm->next && vm->next->op == VM_OP_UPDATE ? vm->next : NULL;
}

/* Parts that no other update can change beside @operation. */
static unsigned parts_of(const Operation *operation)
{
	unsigned parts = operation->update_mask | RUNTIME_UPDATE_LIVE;

	return parts & RUNTIME_UPDATE_EXPIRY ? parts | RUNTIME_UPDATE_EXPIRY : parts;
}

int vm_may_update(Vm *vm, const VmCall *call, Error *err)
{
	VmState from = vm->latest->status.state;
	const Operation *other = update_under_way(vm);

	if (vm->gone)
		return error_set_vm(err, ERROR_VM_NOT_FOUND, vm->id);
	if (vm_check_call(vm, call, err) < 0)
		return -1;
	if (vm_rule(from, VM_OP_UPDATE)->answer != VM_REFUSE &&
	    !(other && (parts_of(other) & call->update_mask)))
		return 0;
	if (from == VM_POISONED)
		return error_set_vm(err, ERROR_STATE_POISONED, vm->id);
	return error_set_transition(err, vm->id, vm_state_name(from), vm_op_goal(VM_OP_UPDATE));
}

/* The next record, with the updated spec, and what its interface then has of the network. Under the
 * VM's lock. */
static int make_next(Vm *vm, Update *update, Error *err) lock_requires(vm->lock)
{
	const VmCall *call = &update->call;
	bool relet = (call->update_mask & RUNTIME_UPDATE_INTERFACES) &&
		     !vm_state_has_vmm(vm->latest->status.state);

	update->before = record_ref(vm->latest);
	update->record = record_copy(vm->latest);
	spec_unref(update->record->spec);
	update->record->spec = spec_updated(vm->latest->spec, call->update, call->update_mask);
	update->record->generation++;
	if (relet &&
	    vm_lease_network(vm->runtime, vm->backend, update->record->spec,
			     vm->latest->status.resolved, update->record->status.resolved, err) < 0)
		return -1;
	vm_set_network_conditions(update->record, NULL);
	disks_set_condition(update->record, NULL);
	return 0;
}

/* What an update was checked against, without the lock. */
typedef struct Moment {
	VmState state;
	VmSpec *spec;
} Moment;

/*
 * Submits the next record, @update's to answer: 0, or ANSWER. With a @moment: -EAGAIN when the VM
 * has gone on from it.
 */
static int submit(Update *update, const Moment *moment, Error *err)
{
	Vm *vm = update->vm;
	const VmCall *call = &update->call;
	cleanup_(record_unrefp) VmRecord *published = registry_get(vm->runtime->registry, vm->id);
	Change *change;
	int r;

	lock_take(&vm->lock);
	r = vm_may_update(vm, call, err);
	if (r == 0 && moment &&
	    (vm->latest->spec != moment->spec || vm->latest->status.state != moment->state))
		r = -EAGAIN;
	if (r == 0)
		r = make_next(vm, update, err);
	if (r == 0 && spec_check(update->record->spec, err) < 0)
		r = -1;
	if (r < 0 || call->validate_only)
		return_leases(update, update->record, update->before);
	if (r == 0 && vm->latest == published &&
	    fields_equal(&vm_spec_table, published->spec, update->record->spec)) {
		record_unref(update->record);
		update->record = record_ref(published);
		r = ANSWER;
	}
	if (r == 0 && call->validate_only)
		r = ANSWER;
	if (r == 0) {
		change = change_new(CHANGE_MODIFIED, record_ref(update->record), "Updated");
		change->principal = text_dup(call->principal);
		change->done = durable;
		change->user = update;
		vm_submit(vm, change);
	}
	lock_drop(&vm->lock);
	return r;
}

/* Hands the update over to an operation: as submit(). */
static int begin(Update *update, const Moment *moment, Error *err)
{
	Operation *operation =
		operation_new(update->vm, VM_OP_UPDATE, "update", update->call.principal);
	int r;

	operation_add_waiter(operation, answer, update, RETURN_WHEN_DONE);
	operation->keep_desired = true;
	operation->update = spec_ref(update->call.update);
	operation->update_mask = update->call.update_mask;
	operation->drives = take_ptr(update->drives);
	r = vm_claim_update(operation, &update->call, moment->spec, err);
	if (r == 0)
		return 0;
	free(take_ptr(operation->waiters)); /* who waits is answered otherwise */
	operation_free(operation);
	return r;
}

/* What can stand against @next, from which the next start will be; may block. */
static int check_at_rest(Update *update, const VmSpec *spec, const VmSpec *next,
			 DriveClaim **drives, Error *err)
{
	Vm *vm = update->vm;

	if (vm_check_spec(vm->runtime, vm->backend, next, err) < 0)
		return -1;
	if (!spec_update_difference(spec, next, RUNTIME_UPDATE_DRIVES))
		return 0;
	if (disks_check_update(spec, next, err) < 0)
		return -1;
	return drives_claim(vm->runtime, vm->id, next, CLAIM_FOR_REST, drives, err);
}

/* As submit(), for what a VMM has to do with. */
static int attempt(Update *update, const Moment *moment, Error *err)
{
	Vm *vm = update->vm;
	const VmCall *call = &update->call;
	cleanup_(spec_unrefp) VmSpec *next =
		spec_updated(moment->spec, call->update, call->update_mask);
	DriveClaim **drives = call->validate_only ? NULL : &update->drives;

	if (!spec_update_difference(moment->spec, next, RUNTIME_UPDATE_LIVE))
		return submit(update, moment, err);
	if (spec_check(next, err) < 0)
		return -1;
	if (vm_state_is_busy(moment->state))
		return error_set_transition(err, vm->id, vm_state_name(moment->state),
					    vm_op_goal(VM_OP_UPDATE));
	if (!vm_state_has_vmm(moment->state))
		return check_at_rest(update, moment->spec, next, drives, err) < 0
			       ? -1
			       : submit(update, moment, err);
	if (vm_check_live(vm, moment->spec, next, drives, err) < 0)
		return -1;
	return call->validate_only ? submit(update, moment, err) : begin(update, moment, err);
}

/* Looks at the VM as it is now, and tries: as submit(). */
static int look_and_attempt(Update *update, Error *err)
{
	Vm *vm = update->vm;
	Moment moment;
	int r;

	drives_release(vm->runtime, take_ptr(update->drives)); /* of an attempt before */
	if (vm_check_revision(vm, &update->call, err) < 0)
		return -1;
	if (!(update->call.update_mask & RUNTIME_UPDATE_LIVE))
		return submit(update, NULL, err);
	lock_take(&vm->lock);
	moment = (Moment){ vm->latest->status.state, spec_ref(vm->latest->spec) };
	r = vm_may_update(vm, &update->call, err);
	lock_drop(&vm->lock);
	if (r == 0)
		r = attempt(update, &moment, err);
	spec_unref(moment.spec);
	return r;
}

static void run_update(Work *work)
{
	Update *update = container_of(work, Update, work);
	Vm *vm = vm_ref(update->vm); /* the update may end, and the VM with it, under our hands */
	Error err = { 0 };
	int r;

	do
		r = look_and_attempt(update, &err);
	while (r == -EAGAIN);
	vm_unref(vm);
	if (r == 0)
		return; /* and it may be gone already */
	update->error = err;
	if (r == ANSWER) /* nothing has changed */
		update->call.update_mask = 0;
	run_answer(&update->work);
}

void vm_update(Vm *vm, const VmCall *call, VmReply *reply, void *user)
{
	Update *update = update_new(vm, call, reply, user);

	update->work.run = run_update;
	if (call->update_mask & RUNTIME_UPDATE_LIVE) /* looks at the host */
		workers_submit(vm->runtime->desk, &update->work);
	else
		run_update(&update->work);
}
