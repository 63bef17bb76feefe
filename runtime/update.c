/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <string.h>

/*
 * UpdateVm: one assignment to the spec, made durable. It claims nothing, so it
 * goes on beside a long operation.
 */
typedef struct Update {
	Work work;
	Vm *vm;
	VmReply *reply;
	void *user;
	VmRecord *record;
	VmRecord *before;
	unsigned mask;
	Error error;
} Update;

static void update_free(Update *update)
{
	Runtime *runtime = update->vm->runtime;

	record_unref(update->record);
	record_unref(update->before);
	vm_unref(update->vm);
	free(update);
	runtime->live_operations--;
}

static void answer(Work *work)
{
	Update *update = container_of(work, Update, work);
	bool failed = error_is_set(&update->error);

	if (failed)
		error_about_vm(&update->error, update->vm->id);
	if (!failed && (update->mask & RUNTIME_UPDATE_EXPIRY))
		vm_arm_expiry(update->vm);
	update->reply(update->user, failed ? NULL : update->record, failed ? &update->error : NULL);
	update_free(update);
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
		mine = spec_updated(vm->latest->spec, update->record->spec, update->mask);
		if (fields_equal(&vm_spec_table, mine, vm->latest->spec)) {
			record = record_copy(vm->latest);
			spec_unref(record->spec);
			record->spec = spec_updated(mine, published->spec, update->mask);
			record->generation++;
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

	if (err) {
		update->error = *err;
		take_back(update);
	}
	update->work.run = answer;
	workers_submit(update->vm->runtime->desk, &update->work);
}

static int allowed(Vm *vm, const VmCall *call, Error *err) lock_requires(vm->lock)
{
	VmState from = vm->latest->status.state;

	if (vm->gone)
		return error_set_vm(err, ERROR_VM_NOT_FOUND, vm->id);
	if (vm_check_call(vm, call, err) < 0)
		return -1;
	if (vm_rule(from, VM_OP_UPDATE)->answer != VM_REFUSE)
		return 0;
	if (from == VM_POISONED)
		return error_set_vm(err, ERROR_STATE_POISONED, vm->id);
	return error_set_transition(err, vm->id, vm_state_name(from), vm_op_goal(VM_OP_UPDATE));
}

/* The next record, with the updated spec. Under the VM's lock. */
static void make_next(Vm *vm, Update *update, const VmCall *call) lock_requires(vm->lock)
{
	update->before = record_ref(vm->latest);
	update->record = record_copy(vm->latest);
	spec_unref(update->record->spec);
	update->record->spec = spec_updated(vm->latest->spec, call->update, call->update_mask);
	update->record->generation++;
}

/*
 * Submits the next record, *@update's to answer: 0, or 1 if there is nothing to make durable: it is
 * so already, or was only to be checked.
 */
static int submit(Update *update, const VmCall *call, Error *err)
{
	Vm *vm = update->vm;
	cleanup_(record_unrefp) VmRecord *published = registry_get(vm->runtime->registry, vm->id);
	Change *change;
	int r;

	lock_take(&vm->lock);
	r = allowed(vm, call, err);
	if (r == 0)
		make_next(vm, update, call);
	if (r == 0 && spec_check(update->record->spec, err) < 0)
		r = -1;
	if (r == 0 && vm->latest == published &&
	    fields_equal(&vm_spec_table, published->spec, update->record->spec)) {
		record_unref(update->record);
		update->record = record_ref(published);
		r = 1;
	}
	if (r == 0 && call->validate_only)
		r = 1;
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

void vm_update(Vm *vm, const VmCall *call, VmReply *reply, void *user)
{
	Update *update = new0(Update);
	Error err = { 0 };

	vm->runtime->live_operations++;
	update->vm = vm_ref(vm);
	update->reply = reply;
	update->user = user;
	update->mask = call->update_mask;
	if (vm_check_revision(vm, call, &err) == 0 && submit(update, call, &err) == 0)
		return;
	update->error = err;
	update->mask = 0; /* nothing has changed */
	answer(&update->work);
}
