/* SPDX-License-Identifier: Apache-2.0 */

/*
 * WaitVm: a watch on one VM that ends with the first change that matches.
 *
 * It reads every change since the call began, so that a state passed through
 * in an instant is not missed. No thread waits: the registry wakes the pump.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/wire.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
	BATCH = 64,
	CONDITION_MAX = 63,
};

typedef struct VmWait {
	Watcher watcher;
	Call *call;
	Registry *registry;
	bool watching;
	char vm_id[64];
	char uid[64];
	unsigned states;
	unsigned hopeless;                 /* states in which the condition is waited for in vain */
	char condition[CONDITION_MAX + 1]; /* empty: none */
	uint64_t cursor;
} VmWait;

static void wait_wake(Watcher *watcher)
{
	call_wake(container_of(watcher, VmWait, watcher)->call);
}

static void wait_end(void *user)
{
	VmWait *wait = user;

	if (wait->watching)
		registry_unwatch(wait->registry, &wait->watcher);
	call_unref(wait->call);
	free(wait);
}

static bool wait_matches(const VmWait *wait, const VmRecord *record)
{
	const VmCondition *condition;

	if (wait->states & 1U << record->status.state)
		return true;
	if (!wait->condition[0])
		return false;
	condition = record_condition(record, wait->condition);
	return condition && condition->status == CONDITION_TRUE;
}

static void reply_record(Call *call, const VmRecord *record)
{
	cleanup_(arena_clear) Arena arena;

	arena_init(&arena, SIZE_MAX);
	call_reply(call, &wire_vm(&arena, record)->base);
}

/* Ends the call if @change does; true if so. */
static bool wait_see(VmWait *wait, const Change *change)
{
	const VmRecord *record = change->record;
	Error err = { 0 };

	if (strcmp(record->vm_id, wait->vm_id) != 0 || !text_equal(record->uid, wait->uid))
		return false;
	if (wait_matches(wait, record)) {
		reply_record(wait->call, record);
		return true;
	}
	if (wait->hopeless & 1U << record->status.state && change->type != CHANGE_DELETED) {
		(void)error_set(&err, ERROR_GUEST_METADATA, "the vm is %s and was never ready",
				vm_state_name(record->status.state));
		error_about_vm(&err, wait->vm_id);
		call_fail(wait->call, &err);
		return true;
	}
	if (change->type != CHANGE_DELETED)
		return false;
	(void)error_set_vm(&err, ERROR_VM_NOT_FOUND, wait->vm_id);
	call_fail(wait->call, &err);
	return true;
}

/* One batch; false when the call has ended or there is nothing more to see now. */
static bool wait_step(VmWait *wait)
{
	Change *changes[BATCH];
	bool over = false;
	Error err = { 0 };
	size_t n = 0;

	if (registry_changes(wait->registry, wait->cursor, changes, BATCH, &n, &err) < 0) {
		error_clear(&err);
		(void)error_set(&err, ERROR_WATCH_SLOW,
				"changes after revision %" PRIu64 " are no longer held",
				wait->cursor);
		error_about_vm(&err, wait->vm_id);
		call_fail(wait->call, &err);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		over = over || wait_see(wait, changes[i]);
		wait->cursor = changes[i]->revision;
		change_unref(changes[i]);
	}
	return !over && n == BATCH;
}

static void wait_pump(Call *call, void *user)
{
	VmWait *wait = user;

	(void)call;
	if (!wait->watching)
		registry_watch(wait->registry, &wait->watcher);
	wait->watching = true;
	while (wait_step(wait))
		;
}

static void check_wait(VmWait *ret, const Hearth__V1__WaitVmRequest *request, Error *err)
{
	request_check_vm_id(request->vm_id, err);
	ret->states = request_states(request->states, request->n_states, err);
	if (request->n_states == 0 && !*request->condition)
		(void)error_add_violation(err, "states", "one of states and condition is required");
	if (strlen(request->condition) > CONDITION_MAX)
		(void)error_add_violation(err, "condition", "must be up to %d bytes",
					  CONDITION_MAX);
	text_copy(ret->condition, sizeof ret->condition, request->condition);
}

/* Takes @wait over. */
static void begin(Call *call, VmWait *wait, const VmRecord *record)
{
	text_copy(wait->vm_id, sizeof wait->vm_id, record->vm_id);
	text_copy(wait->uid, sizeof wait->uid, record->uid);
	wait->watcher.wake = wait_wake;
	wait->call = call_ref(call);
	call_stream(call, wait_pump, wait_end, wait);
}

static void wait_vm(Call *call, Runtime *runtime, const Hearth__V1__WaitVmRequest *request)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	cleanup_free VmWait *wait = new0(VmWait);
	Error err = { 0 };

	check_wait(wait, request, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	/* Before the VM is looked at: nothing that comes later is missed. */
	wait->registry = runtime_registry(runtime);
	wait->cursor = registry_revision(wait->registry);
	if (runtime_get_vm(runtime, request->vm_id, request->expected_uid, &record, &err) < 0) {
		call_fail(call, &err);
		return;
	}
	if (wait_matches(wait, record)) {
		reply_record(call, record);
		return;
	}
	begin(call, take_ptr(wait), record);
}

/* What a start that was to be READY is waited for until, and what ends the wait. */
void reply_when_ready(Call *call, Runtime *runtime, const VmRecord *record)
{
	VmWait *wait = new0(VmWait);

	wait->registry = runtime_registry(runtime);
	wait->cursor = record->revision;
	wait->hopeless = 1U << VM_STOPPED | 1U << VM_FAILED | 1U << VM_BACKOFF | 1U << VM_POISONED;
	text_copy(wait->condition, sizeof wait->condition, "Ready");
	begin(call, wait, record);
}

DEFINE_HANDLER(VmService, wait_vm, WaitVm, Vm);
