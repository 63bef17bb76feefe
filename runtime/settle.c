/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/vm_snapshot.h"

#include <string.h>

/* What an operation is called in events: accepted, done, failed. */
/* clang-format off */
static const struct {
	const char *accepted, *done, *failed;
	VmDesired desired; /* what asking for it says of spec.desired_state */
} words[VM_OP_COUNT_] = {
	[VM_OP_START]   = { "StartAccepted",   "Started",   "StartFailed",   VM_DESIRED_RUNNING },
	[VM_OP_STOP]    = { "StopAccepted",    "Stopped",   "StopFailed",    VM_DESIRED_STOPPED },
	[VM_OP_PAUSE]   = { "PauseAccepted",   "Paused",    "PauseFailed",   VM_DESIRED_PAUSED },
	[VM_OP_RESUME]  = { "ResumeAccepted",  "Resumed",   "ResumeFailed",  VM_DESIRED_RUNNING },
	[VM_OP_UPDATE]  = { "UpdateAccepted",  "Updated",   "UpdateFailed",  VM_DESIRED_UNSET },
	[VM_OP_SNAPSHOT] = { "SnapshotAccepted", "SnapshotTaken", "SnapshotFailed", VM_DESIRED_UNSET },
	[VM_OP_DESTROY] = { "DestroyAccepted", "Destroyed", "DestroyFailed", VM_DESIRED_UNSET },
};
/* clang-format on */

/* A verb by name is also a change of the spec: it says what the VM should be. */
static void set_desired(VmRecord *record, VmDesired desired)
{
	VmSpec *spec;

	if (desired == VM_DESIRED_UNSET || spec_desired(record->spec) == desired)
		return;
	spec = spec_copy(record->spec);
	spec->desired_state = desired;
	spec_unref(record->spec);
	record->spec = spec;
	record->generation++;
}

static VmOperation *show(const Operation *operation)
{
	VmOperation *shown = new0(VmOperation);

	shown->operation_id = text_dup(operation->id);
	shown->verb = text_dup(operation->verb);
	shown->principal = text_dup(operation->principal);
	shown->start_time = operation->start_time;
	return shown;
}

static Change *change_of(const Operation *operation, ChangeType type, VmRecord *record,
			 const char *reason)
{
	Change *change = change_new(type, record, reason);

	change->operation_id = text_dup(operation->id);
	change->principal = text_dup(operation->principal);
	return change;
}

/* Takes those who only wanted to know that @operation was accepted. Under the VM's lock. */
static Waiter *take_accepted(Operation *operation)
{
	Waiter **at = &operation->waiters, *taken = NULL;

	while (*at) {
		Waiter *waiter = *at;

		if (waiter->when != RETURN_WHEN_ACCEPTED) {
			at = &waiter->next;
			continue;
		}
		*at = waiter->next;
		waiter->next = taken;
		taken = waiter;
	}
	return taken;
}

/* The intent is durable: those who wanted no more are answered, and the work begins. */
static void run_accepted(Work *work)
{
	Operation *operation = container_of(work, Operation, work);
	Vm *vm = operation->vm;
	Waiter *satisfied;

	lock_take(&vm->lock);
	satisfied = take_accepted(operation);
	lock_drop(&vm->lock);

	operation_answer(satisfied, operation->claimed, NULL);
	operation_run(work);
}

static void refuse(Operation *operation, const Error *err);

static void intent_done(Change *change, const Error *err)
{
	Operation *operation = change->user;
	Vm *vm = operation->vm;

	if (err) {
		refuse(operation, err);
		return;
	}
	lock_take(&vm->lock);
	operation->accepted = true;
	lock_drop(&vm->lock);
	operation->work.run = run_accepted;
	workers_submit(operation_lane(operation), &operation->work);
}

void vm_begin(Vm *vm, Operation *operation, const VmStepRule *rule)
{
	VmRecord *record = vm_next_record(vm, rule->busy);
	Change *change;

	operation->rule = *rule;
	operation->from = vm->latest->status.state;
	if (operation->op == VM_OP_SNAPSHOT)
		operation->rule.done = vm_state_after_snapshot(operation);
	operation->before = record_ref(vm->latest);
	operation->start_time = clock_wall_us();
	if (!operation->keep_desired)
		set_desired(record, words[operation->op].desired);
	if (operation->op == VM_OP_START && !operation->by_policy && !operation->satisfied)
		record->status.restart_count = 0;
	if (!operation->satisfied)
		record->status.operation = show(operation);
	operation->claimed = record_ref(record);
	change = change_of(operation, CHANGE_MODIFIED, record, words[operation->op].accepted);
	change->done = intent_done;
	change->user = operation;
	change->frees = operation->op == VM_OP_STOP || operation->op == VM_OP_DESTROY;
	vm->running = operation;
	vm_submit(vm, change);
}

bool vm_is_satisfied(Vm *vm, Operation *operation)
{
	VmState state = vm->latest->status.state;
	const VmStepRule stay = { VM_GO, state, state, state };
	VmDesired desired = words[operation->op].desired;

	if (operation->keep_desired || spec_desired(vm->latest->spec) == desired)
		return true;
	operation->satisfied = true;
	vm_begin(vm, operation, &stay);
	return false;
}

/* The next operation, claimed now that the running one is over; or what it could not be. */
static Operation *let_next_in(Vm *vm, Error *err) lock_requires(vm->lock)
{
	Operation *next = take_ptr(vm->next);
	const VmStepRule *rule;

	if (!next)
		return NULL;
	rule = vm_rule(vm->latest->status.state, next->op);
	if (vm_may_begin(vm->latest->status.state, next->op) && !vm->gone) {
		vm_begin(vm, next, rule);
		return NULL;
	}
	if (rule->answer == VM_SATISFIED && !vm->gone)
		return vm_is_satisfied(vm, next) ? next : NULL;
	if (vm->gone)
		(void)error_set_vm(err, ERROR_VM_NOT_FOUND, vm->id);
	else if (vm->latest->status.state == VM_POISONED)
		(void)error_set_vm(err, ERROR_STATE_POISONED, vm->id);
	else
		(void)error_set_transition(err, vm->id, vm_state_name(vm->latest->status.state),
					   vm_op_goal(next->op));
	return next;
}

void operation_release(Operation *operation, const VmRecord *record)
{
	cleanup_(vm_unrefp) Vm *vm = vm_ref(operation->vm);
	cleanup_(record_unrefp) VmRecord *published = NULL;
	const Error *err = error_is_set(&operation->error) ? &operation->error : NULL;
	Error next_err = { 0 };
	Operation *stranded;
	Waiter *waiters;
	uint64_t run;
	bool exited;

	drives_release(vm->runtime, take_ptr(operation->drives)); /* which it was is durable */
	lock_take(&vm->lock);
	waiters = take_ptr(operation->waiters);
	vm->running = NULL;
	run = vm->run;
	exited = vm->exit_pending;
	vm->exit_pending = false;
	stranded = let_next_in(vm, &next_err);
	lock_drop(&vm->lock);

	operation_answer(waiters, record, err);
	if (operation->adopts)
		runtime_recovered_one(vm->runtime);
	if (stranded) {
		published = vm_published(vm);
		operation_dismiss(stranded, published, error_is_set(&next_err) ? &next_err : NULL);
	}
	if (exited)
		vm_look_into_exit(vm, run);
	operation_free(operation); /* last: a runtime without operations may be gone */
}

static VmFailure *failure_of(const Error *err)
{
	VmFailure *failure = new0(VmFailure);
	char message[ERROR_MESSAGE_MAX];

	failure->kind = text_dup(error_kind_name(err->kind));
	failure->cause = text_dup(error_cause_name(err->cause));
	failure->message = text_dup(error_message(err, message));
	return failure;
}

/* Moves the running operation of @record to where the last one stands. */
static void conclude(VmRecord *record, Operation *operation, bool preempted)
{
	VmOperation *shown = take_ptr(record->status.operation);
	bool failed = error_is_set(&operation->error);

	if (!shown)
		shown = show(operation);
	if (record->status.last_operation) {
		fields_clear(&vm_operation_table, record->status.last_operation);
		free(record->status.last_operation);
	}
	shown->end_time = steps_end(&shown->steps, clock_wall_after(shown->start_time));
	shown->outcome = !failed     ? OPERATION_SUCCEEDED
			 : preempted ? OPERATION_PREEMPTED
				     : OPERATION_FAILED;
	if (failed)
		shown->error = failure_of(&operation->error);
	operation_count(operation, shown);
	record->status.last_operation = shown;
}

/* The VM as it was, whatever was built on the refused intent. */
static void take_back(Vm *vm, Operation *operation) lock_requires(vm->lock)
{
	const VmRecord *before = operation->before;
	VmRecord *record;
	Change *change;

	if (vm->latest == operation->claimed) {
		vm->latest = record_ref(operation->before);
		record_unref(operation->claimed); /* the chain's; the operation has its own */
		vm_settle_room(vm);
		return;
	}
	record = vm_next_record(vm, operation->from);
	if (!operation->keep_desired)
		set_desired(record, spec_desired(before->spec));
	record->status.restart_count = before->status.restart_count;
	record->status.next_restart_time = before->status.next_restart_time;
	conclude(record, operation, false);
	change = change_of(operation, CHANGE_MODIFIED, record, words[operation->op].failed);
	change->is_outcome = true;
	vm_submit(vm, change);
}

static void run_refused(Work *work)
{
	Operation *operation = container_of(work, Operation, work);
	Vm *vm = operation->vm;
	bool gone;

	lock_take(&vm->lock);
	gone = vm->gone;
	lock_drop(&vm->lock);

	if (gone)
		vm_forget(vm);
	vm_try_again(vm, operation);
	operation_release(operation, NULL);
}

/*
 * The intent could not be made durable: nothing was done, the VM is as it was, or is not. On the
 * store's thread, because what was built on the intent is refused next, in order.
 */
static void refuse(Operation *operation, const Error *err)
{
	Vm *vm = operation->vm;
	cleanup_(record_unrefp) VmRecord *published = vm_published(vm);

	operation->error = *err;
	error_about_vm(&operation->error, vm->id);
	if (!published) {
		vm_never_was(vm);
	} else {
		lock_take(&vm->lock);
		take_back(vm, operation);
		lock_drop(&vm->lock);
	}
	operation->work.run = run_refused;
	workers_submit(operation->runtime->desk, &operation->work);
}

static void run_settled(Work *work)
{
	Operation *operation = container_of(work, Operation, work);

	/* Only now: a crash before it would have found two VMs with one user. */
	if (operation->outcome->status.state == VM_DESTROYED) {
		vm_return_uid(operation->runtime, operation->vm->jail_uid);
		vm_return_network(operation->runtime, operation->outcome->status.resolved, NULL);
	}
	operation_release(operation, operation->outcome);
}

static void outcome_done(Change *change, const Error *err)
{
	Operation *operation = change->user;

	(void)err; /* outcomes are tried until they are durable */
	operation->work.run = run_settled;
	workers_submit(operation->runtime->desk, &operation->work);
}

/* What the VM's last exit was, for the record. */
static void note_exit(VmRecord *record, Operation *operation, bool requested)
{
	VmExit *exit = record->status.last_exit;

	if (exit)
		fields_clear(&vm_exit_table, exit);
	else
		exit = record->status.last_exit = new0(VmExit);
	exit->reason = requested ? EXIT_REQUESTED : operation->exit.reason;
	exit->requested = requested;
	exit->exit_code = operation->exit.code;
	exit->signal = operation->exit.signal;
	exit->time = operation->exit.time ? operation->exit.time : clock_wall_us();
	exit->console_tail = take_ptr(operation->exit.console_tail);
	exit->rungs = operation->job.rungs;
	operation->job.rungs = (FieldList){ 0 };
	if (record->status.resolved)
		record_end_run(record->status.resolved);
}

static void take_resolved(VmRecord *record, Operation *operation)
{
	VmResolved *resolved = record->status.resolved;

	if (operation->op != VM_OP_START && operation->op != VM_OP_RESUME &&
	    operation->op != VM_OP_SNAPSHOT && operation->errand != ERRAND_RECOVER)
		return;
	if (operation->op == VM_OP_START && error_is_set(&operation->error))
		return;
	if (!operation->resolved.instance_id)
		return;
	fields_clear(&vm_resolved_table, resolved);
	*resolved = operation->resolved;
	operation->resolved = (VmResolved){ 0 };
}

/* How an exit that nobody asked for leaves the VM. */
static VmState state_after_exit(VmRecord *record, const Operation *operation, int64_t started)
{
	bool clean = operation->exit.reason == EXIT_GUEST_SHUTDOWN;
	bool calm = clean || operation->exit.reason == EXIT_GUEST_REBOOT ||
		    operation->exit.reason == EXIT_GUEST_EXITED;

	if (vm_apply_restart_policy(record, !clean, started))
		return VM_BACKOFF;
	return calm ? VM_STOPPED : VM_FAILED;
}

/* The state an operation ends in, when it is not the rule's own. */
static VmState end_state(Operation *operation, VmRecord *record, bool preempted)
{
	int64_t started = record->status.resolved ? record->status.resolved->start_time : 0;
	bool failed = error_is_set(&operation->error);

	if (operation->job.poisoned)
		return VM_POISONED;
	if (operation->errand == ERRAND_RECOVER && !operation->has_exit)
		return operation->seen ? operation->seen : operation->from;
	if (operation->errand)
		return state_after_exit(record, operation, started);
	if (failed && preempted && operation->op == VM_OP_START)
		return VM_STOPPED; /* undone, and nobody's failure */
	if (failed && operation->by_policy && vm_apply_restart_policy(record, true, 0))
		return VM_BACKOFF;
	return failed ? operation->rule.failed : operation->rule.done;
}

static const char *word_of(const Operation *operation, bool preempted)
{
	if (operation->errand == ERRAND_RECOVER && !operation->has_exit)
		return operation->unseen ? "NotAdopted" : "Adopted";
	if (operation->errand)
		return exit_reason_word(operation->exit.reason);
	if (error_is_set(&operation->error))
		return preempted ? "Preempted" : words[operation->op].failed;
	return words[operation->op].done;
}

/* An operation that failed because another takes its place says so to whoever waits. */
static void blame_winner(const Vm *vm, Operation *operation)
{
	if (!operation->gives_way || !vm->next || !error_is_set(&operation->error) ||
	    operation->job.poisoned)
		return;
	error_clear(&operation->error);
	(void)error_set_transition(&operation->error, vm->id,
				   vm_state_name(vm_op_busy(vm->next->op)),
				   vm_op_goal(operation->op));
}

/* The change that tells how @operation ended. Under the VM's lock. */
static Change *outcome_of(Vm *vm, Operation *operation) lock_requires(vm->lock)
{
	bool destroyed = operation->op == VM_OP_DESTROY && !error_is_set(&operation->error);
	bool preempted = operation->gives_way;
	VmRecord *record = record_copy(vm->latest);
	char message[ERROR_MESSAGE_MAX];
	Change *change;

	blame_winner(vm, operation);
	vm_set_state(record, end_state(operation, record, preempted));
	/* Or an earlier agent's update. */
	if (!operation->errand || (record->status.operation && !operation->unseen))
		conclude(record, operation, preempted);
	if (operation->op == VM_OP_UPDATE && !error_is_set(&operation->error))
		vm_apply_update(record, operation);
	if (operation->op == VM_OP_SNAPSHOT && !error_is_set(&operation->error))
		set_desired(record, vm_desired_after_snapshot(operation));
	take_resolved(record, operation);
	if (operation->has_exit)
		note_exit(record, operation, !operation->errand);
	vm_set_network_conditions(record, &operation->error);
	disks_set_condition(record, &operation->error);
	restore_set_condition(record);
	if (operation->unseen)
		vm_set_not_adopted(record);
	if (operation->op == VM_OP_START && vm_state_has_vmm(record->status.state) &&
	    !operation->satisfied)
		record->status.observed_generation = record->generation;
	if (destroyed)
		record->delete_time = clock_wall_us();

	change = change_of(operation, destroyed ? CHANGE_DELETED : CHANGE_MODIFIED, record,
			   word_of(operation, preempted));
	change->is_outcome = true;
	if (error_is_set(&operation->error))
		change->message = text_dup(error_message(&operation->error, message));
	return change;
}

void vm_settle(Operation *operation)
{
	cleanup_(vm_unrefp) Vm *vm = vm_ref(operation->vm); /* outlives the operation */
	cleanup_(record_unrefp) VmRecord *settled = NULL;
	int64_t restart_at;
	bool started = operation->op == VM_OP_START && !error_is_set(&operation->error);
	Operation *next = NULL;
	Change *change;
	bool gone;

	if (error_is_set(&operation->error))
		error_about_vm(&operation->error, vm->id);
	else
		next = operation_following(operation);

	lock_take(&vm->lock);
	change = outcome_of(vm, operation);
	change->done = outcome_done;
	change->user = operation;
	operation->outcome = record_ref(change->record);
	restart_at = change->record->status.next_restart_time;
	next = operation_chain(vm, operation, next);
	gone = vm->gone = change->type == CHANGE_DELETED;
	settled = record_ref(change->record);
	vm_submit(vm, change);
	if (gone)
		vm_leave(vm->runtime, vm); /* the id is free for what is submitted from now on */
	lock_drop(&vm->lock);

	vm_follow_guest(vm, settled);
	if (next)
		operation_free(next);
	if (gone)
		vm_forget(vm);
	if (restart_at)
		vm_arm_restart(vm, restart_at);
	if (started)
		vm_arm_expiry(vm);
}
