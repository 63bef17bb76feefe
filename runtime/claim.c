/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	QUEUE_MAX = 4096 /* operations that wait for a thread */
};

int vm_check_call(Vm *vm, const VmCall *call, Error *err)
{
	const VmRecord *latest = vm->latest;

	if (call->expected_uid && call->expected_uid[0] &&
	    strcmp(call->expected_uid, latest->uid) != 0) {
		error_about_vm(err, vm->id);
		return error_set(err, ERROR_CONFLICT, "uid is '%s', expected '%s'", latest->uid,
				 call->expected_uid);
	}
	if (call->expected_generation && call->expected_generation != latest->generation) {
		error_about_vm(err, vm->id);
		return error_set(err, ERROR_CONFLICT,
				 "generation is %" PRIu64 ", expected %" PRIu64, latest->generation,
				 call->expected_generation);
	}
	return 0;
}

/*
 * A revision is expected of the published record; it must also be the newest, or a change that
 * is on its way to the disk would be overlooked.
 */
int vm_check_revision(Vm *vm, const VmCall *call, Error *err)
{
	cleanup_(record_unrefp) VmRecord *published = NULL;
	bool newest;

	if (!call->expected_revision)
		return 0;
	published = vm_published(vm);
	lock_take(&vm->lock);
	newest = published == vm->latest;
	lock_drop(&vm->lock);
	if (newest && published->revision == call->expected_revision)
		return 0;
	error_about_vm(err, vm->id);
	return error_set(err, ERROR_CONFLICT, "revision is %" PRIu64 "%s, expected %" PRIu64,
			 published ? published->revision : 0, newest ? "" : " and changing",
			 call->expected_revision);
}

static int refuse(const Vm *vm, const Operation *operation, VmState from, Error *err)
{
	if (from == VM_POISONED)
		return error_set_vm(err, ERROR_STATE_POISONED, vm->id);
	return error_set_transition(err, vm->id, vm_state_name(from), vm_op_goal(operation->op));
}

/* The running operation is to give way. An eventfd write cannot block here: the counter is 0 or 1.
 */
static void cancel(const Operation *running)
{
	if (running->job.cancel_fd >= 0)
		(void)eventfd_write(running->job.cancel_fd, 1);
}

/* What became of a request, decided under the lock, carried out after it. */
typedef struct Verdict {
	const Error *lacking; /* what the host lacks for a start; not set: nothing */
	bool claimed;         /* runs, or will: the operation is the VM's now */
	Operation *loser;     /* lost its place */
} Verdict;

static void move_waiters(Operation *to, Operation *from)
{
	Waiter **end = &to->waiters;

	while (*end)
		end = &(*end)->next;
	*end = take_ptr(from->waiters);
}

/* Joins @operation's waiters to @other, which does the same; those who need not wait stay. */
static void join(Operation *operation, Operation *other)
{
	if (operation->waiters && operation->waiters->when == RETURN_WHEN_ACCEPTED &&
	    other->accepted)
		return;
	move_waiters(other, operation);
}

static bool is_forced(const Operation *operation)
{
	return operation->op == VM_OP_STOP && operation->ladder.guest_timeout < 0 &&
	       operation->ladder.power_button_timeout < 0 &&
	       operation->ladder.terminate_timeout < 0;
}

static bool ends_vmm(const Operation *operation)
{
	return operation->op == VM_OP_STOP || operation->op == VM_OP_DESTROY;
}

/* May @operation take the place of @waiting? As it would that of the same one running. */
static bool displaces(const Operation *operation, const Operation *waiting)
{
	return operation->op == VM_OP_DESTROY ||
	       (operation->op == VM_OP_STOP && waiting->op != VM_OP_DESTROY);
}

/* An update has no busy state, in which the table could say that it gives way. */
static bool preempts(const Operation *operation, const VmStepRule *rule, const Operation *running)
{
	return rule->answer == VM_PREEMPT || (ends_vmm(operation) && running->op == VM_OP_UPDATE);
}

/* The state that stands for @waiting: nothing else fits beside it. */
static VmState waits_for(const Vm *vm, const Operation *waiting) lock_requires(vm->lock)
{
	return waiting->op == VM_OP_UPDATE ? vm->latest->status.state : vm_op_busy(waiting->op);
}

/* Puts @operation behind the running one; some take the place of what waits there. */
static int queue_up(Vm *vm, Operation *operation, bool preempt, Verdict *verdict, Error *err)
	lock_requires(vm->lock)
{
	if (vm->next && vm->next->op == operation->op && !vm->next->errand) {
		if (is_forced(operation))
			vm->next->ladder = operation->ladder;
		join(operation, vm->next);
		return 0;
	}
	if (vm->next && !displaces(operation, vm->next))
		return refuse(vm, operation, waits_for(vm, vm->next), err);
	verdict->loser = vm->next;
	vm->next = operation;
	verdict->claimed = true;
	if (preempt) {
		vm->running->gives_way = true;
		cancel(vm->running);
	}
	return 0;
}

static int decide(Vm *vm, Operation *operation, bool dry, Verdict *verdict, Error *err)
	lock_requires(vm->lock)
{
	VmState from = vm->latest->status.state;
	const VmStepRule *rule = vm_rule(from, operation->op);
	int r;

	if (operation->by_policy && from != VM_BACKOFF)
		return 0; /* the timer came too late */
	if (rule->answer == VM_REFUSE)
		return refuse(vm, operation, from, err);
	if (operation->op == VM_OP_START && rule->answer == VM_GO &&
	    error_is_set(verdict->lacking)) {
		*err = *verdict->lacking;
		return -1;
	}
	if (operation->op == VM_OP_START && vm_take_room(vm, dry, err) < 0)
		return -1;
	if (dry)
		return 0;
	if (rule->answer == VM_SATISFIED && !vm->running) {
		verdict->claimed = !vm_is_satisfied(vm, operation);
		return 0;
	}
	if (vm->running && vm->running->op == operation->op && !vm->running->errand) {
		if (is_forced(operation))
			cancel(vm->running); /* a stop so told goes to its last rung */
		join(operation, vm->running);
		return 0;
	}
	if (vm->running) {
		r = queue_up(vm, operation, preempts(operation, rule, vm->running), verdict, err);
		vm_settle_room(vm); /* a start that was refused or displaced needs none */
		return r;
	}
	vm_begin(vm, operation, rule);
	verdict->claimed = true;
	return 0;
}

int vm_check_queue(const Operation *operation, Error *err)
{
	if (workers_waiting(operation_lane(operation)) < QUEUE_MAX)
		return 0;
	err->retry_delay_ms = 1000;
	return error_set(err, ERROR_QUEUE_FULL, "%d operations wait already", QUEUE_MAX);
}

/* What is looked at without the VM's lock. */
static int check_before(const Operation *operation, const VmCall *call, Error *err)
{
	if (vm_check_queue(operation, err) < 0)
		return -1;
	return vm_check_revision(operation->vm, call, err);
}

/* @loser has lost its place to an @op. */
static void dismiss_loser(const Vm *vm, VmOp op, Operation *loser)
{
	Error lost = { 0 };

	(void)error_set_transition(&lost, vm->id, vm_state_name(vm_op_busy(op)),
				   vm_op_goal(loser->op));
	operation_dismiss(loser, NULL, &lost);
}

void vm_request(Operation *operation, const VmCall *call)
{
	cleanup_(vm_unrefp) Vm *vm = vm_ref(operation->vm);
	cleanup_(record_unrefp) VmRecord *published = NULL;
	VmOp op = operation->op; /* once claimed it is not ours to look at */
	Error err = { 0 }, lacking = { 0 };
	Verdict verdict = { .lacking = &lacking };
	int r = 0;

	if (op == VM_OP_START)
		(void)!vm_check_descriptors(vm->runtime, vm->backend, &lacking);
	if (call)
		r = check_before(operation, call, &err);

	lock_take(&vm->lock);
	if (r == 0 && vm->gone)
		r = error_set_vm(&err, ERROR_VM_NOT_FOUND, vm->id);
	if (r == 0 && call)
		r = vm_check_call(vm, call, &err);
	if (r == 0)
		r = decide(vm, operation, call && call->validate_only, &verdict, &err);
	lock_drop(&vm->lock);

	error_about_vm(&err, vm->id);
	if (verdict.loser)
		dismiss_loser(vm, op, verdict.loser);
	if (verdict.claimed)
		return;
	if (error_is_set(&lacking))
		vm_try_again(vm, operation);
	if (operation->waiters && r == 0)
		published = vm_published(vm);
	operation_dismiss(operation, published, r < 0 ? &err : NULL);
}

/* @run: what the errand is about; 0: whatever runs. */
static void run_errand(Vm *vm, Errand errand, bool adopts, uint64_t run)
{
	Operation *operation = operation_new(vm, VM_OP_COUNT_, "recover", "hearthd");
	bool free_now = false;
	VmState state;

	operation->errand = errand;
	operation->adopts = adopts;
	if (errand == ERRAND_EXIT)
		operation->verb = "exit";

	lock_take(&vm->lock);
	state = vm->latest->status.state;
	if (vm->gone || (run && run != vm->run) ||
	    (!vm->running && state != VM_RUNNING && state != VM_PAUSED)) {
		free_now = true; /* somebody else has seen to it */
	} else if (vm->running) {
		vm->exit_pending = vm->exit_pending || errand == ERRAND_EXIT;
		free_now = true;
	} else {
		vm->running = operation;
		operation->from = vm->latest->status.state;
		operation->before = record_ref(vm->latest);
	}
	lock_drop(&vm->lock);

	if (free_now) {
		operation_free(operation);
		if (adopts)
			runtime_recovered_one(vm->runtime);
		return;
	}
	operation->work.run = operation_run;
	workers_submit(operation_lane(operation), &operation->work);
}

void vm_run_errand(Vm *vm, Errand errand, bool adopts)
{
	run_errand(vm, errand, adopts, 0);
}

void vm_look_into_exit(Vm *vm, uint64_t run)
{
	run_errand(vm, ERRAND_EXIT, false, run);
}
