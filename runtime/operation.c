/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/vm_snapshot.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

Operation *operation_new(Vm *vm, VmOp op, const char *verb, const char *principal)
{
	Operation *operation = new0(Operation);

	operation->runtime = vm->runtime;
	operation->runtime->live_operations++;
	operation->vm = vm_ref(vm);
	operation->op = op;
	operation->verb = verb;
	text_random_hex(operation->id, (sizeof operation->id - 1) / 2);
	operation->principal = text_dup(principal);
	operation->job.cancel_fd = -1;
	if (vm->backend->ops->capabilities & BACKEND_PROCESS)
		operation->job.cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return operation;
}

void operation_free(Operation *operation)
{
	closep(&operation->job.cancel_fd);
	fields_clear(&vm_resolved_table, &operation->resolved);
	for (size_t i = 0; i < operation->steps.count; i++)
		fields_clear(&vm_step_table, &((VmStep *)operation->steps.items)[i]);
	free(operation->steps.items);
	for (size_t i = 0; i < operation->job.rungs.count; i++)
		fields_clear(&vm_rung_table, &((VmRung *)operation->job.rungs.items)[i]);
	free(operation->job.rungs.items);
	guest_link_unref(operation->job.guest);
	free(operation->exit.console_tail);
	free(operation->run_dir);
	drives_release(operation->runtime, operation->drives);
	taking_free(operation->taking);
	restoring_free(operation->restoring);
	spec_unref(operation->update);
	spec_unref(operation->spec);
	free(operation->principal);
	record_unref(operation->before);
	record_unref(operation->claimed);
	record_unref(operation->outcome);
	if (operation->by_policy)
		runtime_restart_over(operation->runtime);
	operation->runtime->live_operations--;
	vm_unref(operation->vm);
	free(operation);
}

int operation_hold(Operation *operation)
{
	int cancel_fd;

	lock_take(&operation->vm->lock);
	cancel_fd = operation->job.cancel_fd;
	operation->job.cancel_fd = -1;
	lock_drop(&operation->vm->lock);
	return cancel_fd;
}

void operation_let_go(Operation *operation, int cancel_fd)
{
	lock_take(&operation->vm->lock);
	operation->job.cancel_fd = cancel_fd;
	lock_drop(&operation->vm->lock);
}

void operation_add_waiter(Operation *operation, VmReply *reply, void *user, ReturnWhen when)
{
	Waiter *waiter = new0(Waiter);

	*waiter = (Waiter){ operation->waiters, reply, user, when };
	operation->waiters = waiter;
}

void operation_answer(Waiter *waiters, const VmRecord *record, const Error *err)
{
	while (waiters) {
		Waiter *next = waiters->next;

		waiters->reply(waiters->user, err ? NULL : record, err);
		free(waiters);
		waiters = next;
	}
}

void operation_dismiss(Operation *operation, const VmRecord *record, const Error *err)
{
	drives_release(operation->runtime, take_ptr(operation->drives));
	taking_free(take_ptr(operation->taking));
	operation_answer(take_ptr(operation->waiters), record, err);
	operation_free(operation);
}

Operation *operation_following(const Operation *operation)
{
	Operation *next = NULL;
	Vm *vm = operation->vm;

	if (operation->then_pause)
		return operation_new(vm, VM_OP_PAUSE, "pause", operation->principal);
	if (vm_stops_after_snapshot(operation)) {
		next = operation_new(vm, VM_OP_STOP, "stop", operation->principal);
		next->ladder = STOP_AT_ONCE;
	}
	return next;
}

Operation *operation_chain(Vm *vm, Operation *operation, Operation *next)
{
	if (!next || vm->next)
		return next;
	next->waiters = take_ptr(operation->waiters);
	vm->next = next;
	return NULL;
}

int64_t steps_end(FieldList *steps, int64_t now)
{
	VmStep *last = steps->count ? (VmStep *)steps->items + steps->count - 1 : NULL;

	if (!last)
		return now;
	last->end_time = now > last->start_time ? now : last->start_time;
	return last->end_time;
}

void job_step(Job *job, const char *name)
{
	Operation *operation = container_of(job, Operation, job);
	Vm *vm = operation->vm;
	int64_t now = clock_wall_after(operation->start_time);
	VmOperation *shown;
	VmRecord *record;
	Change *change;
	VmStep *step;

	lock_take(&vm->lock);
	now = steps_end(&operation->steps, now);
	step = field_list_add(&operation->steps, &vm_step_table);
	step->name = text_dup(name);
	step->start_time = now;

	record = vm_next_record(vm, vm->latest->status.state);
	shown = record->status.operation;
	if (shown) {
		free(shown->stage);
		shown->stage = text_dup(name);
		(void)steps_end(&shown->steps, now);
		step = field_list_add(&shown->steps, &vm_step_table);
		step->name = text_dup(name);
		step->start_time = now;
	}
	change = change_new(CHANGE_MODIFIED, record, "Step");
	change->message = text_dup(name);
	change->operation_id = text_dup(operation->id);
	change->principal = text_dup(operation->principal);
	vm_submit(vm, change);
	lock_drop(&vm->lock);
}

bool job_cancelled(const Job *job)
{
	struct pollfd poll_for = { .fd = job->cancel_fd, .events = POLLIN };

	return job->cancel_fd >= 0 && poll(&poll_for, 1, 0) > 0;
}

static bool go_on(void *user, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	return !job_cancelled(user);
}

DiskProgress job_progress(Job *job)
{
	return (DiskProgress){ .step = go_on, .user = job };
}

void operation_count(const Operation *operation, const VmOperation *shown)
{
	RuntimeCounts *counts = &operation->runtime->counts;

	if (operation->op >= VM_OP_COUNT_)
		return;
	histogram_add(&counts->operations[operation->op], shown->end_time - shown->start_time);
	atomic_fetch_add(&counts->outcomes[operation->op][shown->outcome], 1);
}
