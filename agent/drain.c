/* SPDX-License-Identifier: Apache-2.0 */

/*
 * NodeService.Drain: a cordon, then the end of the VMs that are meant, a few at
 * a time. It goes on when its caller leaves; what it began, an agent that dies
 * leaves to the next one as any stop, and the cordon stands.
 */

#include "agent/filter.h"
#include "agent/handlers.h"
#include "agent/request.h"
#include "base/lock.h"
#include "base/text.h"

enum {
	AT_ONCE = 64,        /* VMs that are being ended */
	FAILURES_MAX = 1000, /* that are told of; the rest are counted */
	GRACE_MAX_SEC = 3600,
};

typedef struct DrainFailed {
	char *vm_id, *message;
	const char *reason;
} DrainFailed;

typedef struct Drain {
	Call *call;
	Runtime *runtime;
	char owner[64], reason[REQUEST_REASON_MAX + 1], principal[128];
	VmOp op;
	StopLadder ladder;
	VmFilter filter;
	bool validate_only;
	VmList *list; /* as it was once the cordon stood */

	Lock lock;
	size_t next;     /* under lock, as all below: of list */
	size_t running;  /* that have not answered */
	bool submitting; /* somebody is at it */
	uint64_t ended, failed;
	DrainFailed *failures;
	size_t failure_count;
} Drain;

static void drain_free(Drain *drain)
{
	for (size_t i = 0; i < drain->failure_count; i++) {
		free(drain->failures[i].vm_id);
		free(drain->failures[i].message);
	}
	free(drain->failures);
	filter_clear(&drain->filter);
	vm_list_unref(drain->list);
	call_unref(drain->call);
	free(drain);
}

/* Answers with what has come of it; it is gone afterwards. */
static void finish(Drain *drain)
{
	cleanup_free Hearth__V1__DrainFailure *failures =
		new0_array(Hearth__V1__DrainFailure, drain->failure_count);
	cleanup_free Hearth__V1__DrainFailure **refs =
		new0_array(Hearth__V1__DrainFailure *, drain->failure_count);
	Hearth__V1__DrainResponse response = HEARTH__V1__DRAIN_RESPONSE__INIT;

	response.ended = drain->ended;
	response.failed = drain->failed;
	response.failures = refs;
	response.n_failures = drain->failure_count;
	for (size_t i = 0; i < drain->failure_count; i++) {
		refs[i] = &failures[i];
		hearth__v1__drain_failure__init(refs[i]);
		failures[i].vm_id = drain->failures[i].vm_id;
		failures[i].reason = message_text(drain->failures[i].reason);
		failures[i].message = drain->failures[i].message;
	}
	call_reply(drain->call, &response.base);
	drain_free(drain);
}

/* Is @record's VM one that is to be ended? At rest there is nothing to stop, but for a restart. */
static bool is_meant(const Drain *drain, const VmRecord *record)
{
	static const bool at_rest[VM_STATE_COUNT_] = {
		[VM_CREATED] = true,
		[VM_STOPPED] = true,
		[VM_FAILED] = true,
	};

	return filter_match(&drain->filter, record) &&
	       (drain->op == VM_OP_DESTROY || !at_rest[record->status.state]);
}

/* The next VM, or NULL; it counts as running from now on. */
static const VmRecord *take_next(Drain *drain) lock_requires(drain->lock)
{
	while (drain->running < AT_ONCE && drain->next < drain->list->count) {
		const VmRecord *record = drain->list->records[drain->next++];

		if (!is_meant(drain, record))
			continue;
		drain->running++;
		return record;
	}
	return NULL;
}

static void submit(Drain *drain);

/* What one VM has answered. */
typedef struct DrainOne {
	Drain *drain;
	const VmRecord *record;
} DrainOne;

static void note_failure(Drain *drain, const VmRecord *record, const Error *err)
	lock_requires(drain->lock)
{
	char message[ERROR_MESSAGE_MAX];

	drain->failed++;
	if (drain->failure_count == FAILURES_MAX)
		return;
	drain->failures =
		must_realloc(drain->failures, drain->failure_count + 1, sizeof *drain->failures);
	(void)error_message(err, message);
	drain->failures[drain->failure_count++] =
		(DrainFailed){ text_dup(record->vm_id), text_dup(message),
			       error_kind_name(err->kind) };
}

static void ended_one(void *user, const VmRecord *record, const Error *err)
{
	DrainOne *one = user;
	Drain *drain = one->drain;

	(void)record;
	lock_take(&drain->lock);
	if (!err || !error_is_set(err) || err->kind == ERROR_VM_NOT_FOUND)
		drain->ended++; /* or somebody else has */
	else
		note_failure(drain, one->record, err);
	drain->running--;
	lock_drop(&drain->lock);
	free(one);
	submit(drain);
}

static void end_one(Drain *drain, const VmRecord *record)
{
	DrainOne *one = new0(DrainOne);
	const VmCall call = {
		.vm_id = record->vm_id,
		.expected_uid = record->uid,
		.return_when = RETURN_WHEN_DONE,
		.principal = drain->principal,
		.ladder = drain->ladder,
		.allow_missing = true,
	};

	*one = (DrainOne){ drain, record };
	runtime_run_vm(drain->runtime, drain->op, &call, ended_one, one);
}

/* Those that answer at once do so in the middle of this. */
static void submit(Drain *drain)
{
	const VmRecord *record;
	bool done;

	lock_take(&drain->lock);
	if (drain->submitting) {
		lock_drop(&drain->lock);
		return;
	}
	drain->submitting = true;
	while ((record = take_next(drain))) {
		lock_drop(&drain->lock);
		end_one(drain, record);
		lock_take(&drain->lock);
	}
	drain->submitting = false;
	done = drain->running == 0;
	lock_drop(&drain->lock);
	if (done)
		finish(drain);
}

/* As if they had ended. */
static void count_meant(Drain *drain)
{
	for (size_t i = 0; i < drain->list->count; i++)
		drain->ended += is_meant(drain, drain->list->records[i]);
	finish(drain);
}

static void work_drain(void *user)
{
	Drain *drain = user;
	Error err = { 0 };

	if (!drain->validate_only &&
	    runtime_cordon(drain->runtime, drain->owner, drain->reason, &err) < 0) {
		call_fail(drain->call, &err);
		drain_free(drain);
		return;
	}
	drain->list = registry_list(runtime_registry(drain->runtime));
	if (drain->validate_only)
		count_meant(drain);
	else
		submit(drain);
}

static void read_action(Drain *drain, const Hearth__V1__DrainRequest *request, Error *err)
{
	int64_t grace = request_duration(request->grace, "grace", 0, GRACE_MAX_SEC,
					 vm_default_ladder.power_button_timeout, err);

	drain->ladder = STOP_AT_ONCE;
	if (grace > 0)
		drain->ladder = (StopLadder){ grace, grace, vm_default_ladder.terminate_timeout };
	switch (request->action) {
	case HEARTH__V1__DRAIN_ACTION__DRAIN_ACTION_STOP:
		drain->op = VM_OP_STOP;
		break;
	case HEARTH__V1__DRAIN_ACTION__DRAIN_ACTION_DESTROY:
		drain->op = VM_OP_DESTROY;
		break;
	default:
		(void)error_add_violation(err, "action", "required: stop or destroy");
		break;
	}
}

static Drain *drain_new(Call *call, Runtime *runtime, const Hearth__V1__DrainRequest *request,
			Error *err)
{
	Drain *drain = new0(Drain);

	drain->call = call_ref(call);
	drain->runtime = runtime;
	drain->validate_only = request->validate_only;
	lock_init(&drain->lock);
	request_check_owner(request->owner, err);
	request_check_reason(request->reason, err);
	filter_set_tenant(&drain->filter, request->tenant, err);
	filter_set_selector(&drain->filter, request->label_selector, err);
	read_action(drain, request, err);
	text_copy(drain->owner, sizeof drain->owner, request->owner);
	text_copy(drain->reason, sizeof drain->reason, request->reason);
	text_copy(drain->principal, sizeof drain->principal, call_principal(call));
	return drain;
}

static void drain(Call *call, Runtime *runtime, const Hearth__V1__DrainRequest *request)
{
	Error err = { 0 };
	Drain *made = drain_new(call, runtime, request, &err);

	if (request_fail(call, NULL, &err)) {
		drain_free(made);
		return;
	}
	if (!agent_run_blocking(call, runtime, PATIENCE_SHORT, work_drain, made))
		drain_free(made);
}

DEFINE_HANDLER(NodeService, drain, Drain, DrainResponse);
