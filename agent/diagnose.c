/* SPDX-License-Identifier: Apache-2.0 */

/*
 * DiagnoseVm: what the other calls tell of a VM, in one answer, put together on a
 * thread that may block. What one of them can't tell is no reason to keep the rest.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/vm_job.h"
#include "agent/wire.h"
#include "agent/wire_egress.h"
#include "base/text.h"

enum {
	EVENTS_MAX = 50,
	TAIL_MAX = 16384,
	MISSING_MAX = 8,
};

/* The answer, and what it points into beside the arena. */
typedef struct Diagnosis {
	Hearth__V1__DiagnoseVmResponse message;
	Arena arena;
	VmRecord *record;
	EgressState egress;
	VmMetrics metrics;
	Hearth__V1__Usage usage;
	StoreEvent events[EVENTS_MAX];
	size_t event_count;
	char *console, *vmm_log;
	char *missing[MISSING_MAX];
} Diagnosis;

static void diagnosis_free(Diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->event_count; i++)
		store_event_clear(&diagnosis->events[i]);
	for (size_t i = 0; i < diagnosis->message.n_missing; i++)
		free(diagnosis->missing[i]);
	free(diagnosis->console);
	free(diagnosis->vmm_log);
	vmm_metrics_clear(&diagnosis->metrics);
	egress_state_clear(&diagnosis->egress);
	record_unref(diagnosis->record);
	arena_clear(&diagnosis->arena);
	free(diagnosis);
}
DEFINE_CLEANUP(Diagnosis *, diagnosis_free);

static void miss(Diagnosis *diagnosis, const char *what, Error *err)
{
	char message[ERROR_MESSAGE_MAX];

	(void)error_message(err, message);
	if (diagnosis->message.n_missing < MISSING_MAX)
		diagnosis->missing[diagnosis->message.n_missing++] =
			text_printf("%s: %s", what, message);
	error_clear(err);
}

/* The latest of this incarnation. */
static void take_events(Diagnosis *diagnosis, const VmJob *job)
{
	Hearth__V1__VmEvent **refs = arena_alloc(&diagnosis->arena, EVENTS_MAX * sizeof(void *));
	Error err = { 0 };

	diagnosis->message.events = refs;
	if (store_last_events(runtime_store(job->runtime), diagnosis->record, diagnosis->events,
			      EVENTS_MAX, &diagnosis->event_count, &err) < 0)
		miss(diagnosis, "events", &err);
	for (size_t i = 0; i < diagnosis->event_count; i++)
		refs[diagnosis->message.n_events++] =
			wire_store_event(&diagnosis->arena, &diagnosis->events[i]);
}

static void take_output(Diagnosis *diagnosis, const VmJob *job)
{
	cleanup_free char *run_dir = runtime_run_dir(job->runtime, diagnosis->record);

	diagnosis->console = console_tail(run_dir, CONSOLE_SOURCE_SERIAL, TAIL_MAX);
	diagnosis->vmm_log = console_tail(run_dir, CONSOLE_SOURCE_VMM, TAIL_MAX);
	diagnosis->message.console = message_text(diagnosis->console ? diagnosis->console : "");
	diagnosis->message.vmm_log = message_text(diagnosis->vmm_log ? diagnosis->vmm_log : "");
}

static void take_usage(Diagnosis *diagnosis, const VmJob *job)
{
	Error err = { 0 };

	if (runtime_get_metrics(job->runtime, job->vm_id, diagnosis->record->uid, true,
				&diagnosis->metrics, &err) < 0) {
		miss(diagnosis, "usage", &err);
		return;
	}
	wire_usage(&diagnosis->usage, &diagnosis->metrics.usage);
	diagnosis->message.usage = &diagnosis->usage;
}

static void take_egress(Diagnosis *diagnosis, const VmJob *job)
{
	Hearth__V1__DiagnoseVmResponse *message = &diagnosis->message;
	Error err = { 0 };

	if (runtime_get_egress(job->runtime, job->vm_id, diagnosis->record->uid, &diagnosis->egress,
			       &err) < 0)
		miss(diagnosis, "egress", &err);
	message->traffic = wire_traffic(&diagnosis->arena, &diagnosis->egress, &message->n_traffic);
	message->names = wire_leads(&diagnosis->arena, &diagnosis->egress, &message->n_names);
}

static void work_diagnose(void *user)
{
	cleanup_(vm_job_freep) VmJob *job = user;
	cleanup_(diagnosis_freep) Diagnosis *diagnosis = new0(Diagnosis);
	Error err = { 0 };

	arena_init(&diagnosis->arena, SIZE_MAX);
	hearth__v1__diagnose_vm_response__init(&diagnosis->message);
	diagnosis->message.missing = diagnosis->missing;
	if (runtime_get_vm(job->runtime, job->vm_id, job->expected_uid, &diagnosis->record, &err) <
	    0) {
		vm_job_fail(job, &err);
		return;
	}
	diagnosis->message.vm = wire_vm(&diagnosis->arena, diagnosis->record);
	take_events(diagnosis, job);
	take_output(diagnosis, job);
	take_usage(diagnosis, job);
	take_egress(diagnosis, job);
	call_reply(job->call, &diagnosis->message.base);
}

static void diagnose_vm(Call *call, Runtime *runtime, const Hearth__V1__DiagnoseVmRequest *request)
{
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	request_check_uid(request->expected_uid, &err);
	if (!request_fail(call, request->vm_id, &err))
		vm_job_run(vm_job_new(call, runtime, request->vm_id, request->expected_uid),
			   work_diagnose);
}

DEFINE_HANDLER(VmService, diagnose_vm, DiagnoseVm, DiagnoseVmResponse);
