/* SPDX-License-Identifier: Apache-2.0 */

/*
 * VmService: the verbs and GetVm. Each decodes and checks, makes one call of
 * the runtime, and encodes the answer, now or when the runtime has it. Lists,
 * watches, waits and the console are in files of their own.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/wire.h"
#include "base/text.h"

enum {
	LADDER_MAX_SEC = 3600
};

static void reply_record(Call *call, const VmRecord *record)
{
	cleanup_(arena_clear) Arena arena;

	arena_init(&arena, SIZE_MAX);
	call_reply(call, &wire_vm(&arena, record)->base);
}

/* DestroyVm's, of a VM that is not there and need not be. */
static void reply_none(Call *call)
{
	Hearth__V1__Vm none;

	hearth__v1__vm__init(&none);
	call_reply(call, &none.base);
}

/* The runtime's answer to whoever still listens. */
static void reply_vm(void *user, const VmRecord *record, const Error *err)
{
	Call *call = user;

	if (record)
		reply_record(call, record);
	else if (err && error_is_set(err))
		call_fail(call, err);
	else
		reply_none(call);
	call_unref(call);
}

/* The same, of whoever wants to hear of a VM that is ready. */
static void reply_ready(void *user, const VmRecord *record, const Error *err)
{
	Call *call = user;
	const VmCondition *ready = record ? record_condition(record, "Ready") : NULL;

	if (!record || record->status.state != VM_RUNNING || ready->status == CONDITION_TRUE) {
		reply_vm(user, record, err);
		return;
	}
	reply_when_ready(call, agent_runtime(call), record);
	call_unref(call);
}

static VmReply *reply_for(ReturnWhen return_when)
{
	return return_when == RETURN_WHEN_READY ? reply_ready : reply_vm;
}

/* What all verbs have in common; @err holds what was wrong with the rest. */
static void run_vm(Call *call, Runtime *runtime, VmOp op, VmCall *vm_call, Error *err)
{
	request_check_vm_id(vm_call->vm_id, err);
	if (request_fail(call, vm_call->vm_id, err))
		return;
	vm_call->principal = call_principal(call);
	runtime_run_vm(runtime, op, vm_call, reply_for(vm_call->return_when), call_ref(call));
}

static int check_create(VmSpec **spec, const Hearth__V1__CreateVmRequest *request, Error *err)
{
	request_check_vm_id(request->vm_id, err);
	request_check_uid(request->uid, err);
	request_check_tenant(request->tenant, err);
	if (!request->spec)
		return error_add_violation(err, "spec", "required");
	*spec = wire_spec(request->spec, "spec", err);
	(void)!restore_check_asked(*spec, err);
	return spec_check(*spec, err) < 0 || error_is_set(err) ? -1 : 0;
}

/* What is wrong with the files a spec names belongs in the same answer. */
static void refuse_create(Call *call, Runtime *runtime, const Hearth__V1__CreateVmRequest *request,
			  VmSpec *spec, Error *err)
{
	if (!spec) {
		(void)request_fail(call, request->vm_id, err);
		return;
	}
	if (text_is_id(request->vm_id))
		error_about_vm(err, request->vm_id);
	runtime_inspect_spec(runtime, spec, err, reply_vm, call_ref(call));
}

/* A create with values that nobody knows is told of everything else as well. */
void inspect_create(Call *call, const ProtobufCMessage *message, Error *err)
{
	const Hearth__V1__CreateVmRequest *request = (const void *)message;
	cleanup_(spec_unrefp) VmSpec *spec = NULL;
	Runtime *runtime = agent_runtime(call);
	Error more = { 0 };

	if (!runtime)
		return;
	(void)!check_create(&spec, request, &more);
	error_merge_violations(err, &more);
	refuse_create(call, runtime, request, spec, err);
}

static void create_vm(Call *call, Runtime *runtime, const Hearth__V1__CreateVmRequest *request)
{
	cleanup_(spec_unrefp) VmSpec *spec = NULL;
	Error err = { 0 };
	CreateCall create;

	if (check_create(&spec, request, &err) < 0) {
		refuse_create(call, runtime, request, spec, &err);
		return;
	}
	create = (CreateCall){
		.vm_id = request->vm_id,
		.uid = request->uid,
		.tenant = request->tenant,
		.spec = spec,
		.validate_only = request->validate_only,
		.return_when = (ReturnWhen)request->return_when,
		.principal = call_principal(call),
	};
	runtime_create_vm(runtime, &create, reply_for(create.return_when), call_ref(call));
}

static void start_vm(Call *call, Runtime *runtime, const Hearth__V1__StartVmRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	Error err = { 0 };

	vm_call.return_when = (ReturnWhen)request->return_when;
	run_vm(call, runtime, VM_OP_START, &vm_call, &err);
}

/* A time-out of 0 skips its rung. */
static int64_t rung(const Google__Protobuf__Duration *timeout, const char *field, int64_t unset,
		    Error *err)
{
	int64_t usec = request_duration(timeout, field, 0, LADDER_MAX_SEC, unset, err);

	return usec > 0 ? usec : -1;
}

static void stop_vm(Call *call, Runtime *runtime, const Hearth__V1__StopVmRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	Error err = { 0 };

	vm_call.return_when = (ReturnWhen)request->return_when;
	vm_call.ladder.guest_timeout = rung(request->guest_timeout, "guest_timeout",
					    vm_default_ladder.guest_timeout, &err);
	vm_call.ladder.power_button_timeout =
		rung(request->power_button_timeout, "power_button_timeout",
		     vm_default_ladder.power_button_timeout, &err);
	vm_call.ladder.terminate_timeout = rung(request->terminate_timeout, "terminate_timeout",
						vm_default_ladder.terminate_timeout, &err);
	if (request->force)
		vm_call.ladder = STOP_AT_ONCE;
	run_vm(call, runtime, VM_OP_STOP, &vm_call, &err);
}

static void pause_vm(Call *call, Runtime *runtime, const Hearth__V1__PauseVmRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	Error err = { 0 };

	vm_call.return_when = (ReturnWhen)request->return_when;
	run_vm(call, runtime, VM_OP_PAUSE, &vm_call, &err);
}

static void resume_vm(Call *call, Runtime *runtime, const Hearth__V1__ResumeVmRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	Error err = { 0 };

	vm_call.return_when = (ReturnWhen)request->return_when;
	run_vm(call, runtime, VM_OP_RESUME, &vm_call, &err);
}

static void destroy_vm(Call *call, Runtime *runtime, const Hearth__V1__DestroyVmRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	Error err = { 0 };

	vm_call.return_when = (ReturnWhen)request->return_when;
	vm_call.allow_missing = request->allow_missing;
	run_vm(call, runtime, VM_OP_DESTROY, &vm_call, &err);
}

static void update_vm(Call *call, Runtime *runtime, const Hearth__V1__UpdateVmRequest *request)
{
	VmCall vm_call = REQUEST_VM_CALL(request);
	Error err = { 0 };
	cleanup_(spec_unrefp) VmSpec *update = wire_spec(request->spec, "spec", &err);

	vm_call.update_mask = request_update_mask(request->update_mask, &err);
	/* The rules between fields hold for the whole, which the runtime checks. */
	fields_check(&vm_spec_table, update, "spec", &err);
	vm_call.update = update;
	run_vm(call, runtime, VM_OP_UPDATE, &vm_call, &err);
}

static void get_vm(Call *call, Runtime *runtime, const Hearth__V1__GetVmRequest *request)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	if (runtime_get_vm(runtime, request->vm_id, request->expected_uid, &record, &err) < 0)
		call_fail(call, &err);
	else
		reply_record(call, record);
}

static DEFINE_HANDLER(VmService, create_vm, CreateVm, Vm);
static DEFINE_HANDLER(VmService, start_vm, StartVm, Vm);
static DEFINE_HANDLER(VmService, stop_vm, StopVm, Vm);
static DEFINE_HANDLER(VmService, pause_vm, PauseVm, Vm);
static DEFINE_HANDLER(VmService, resume_vm, ResumeVm, Vm);
static DEFINE_HANDLER(VmService, destroy_vm, DestroyVm, Vm);
static DEFINE_HANDLER(VmService, update_vm, UpdateVm, Vm);
static DEFINE_HANDLER(VmService, get_vm, GetVm, Vm);

Hearth__V1__VmService_Service vm_service = HEARTH__V1__VM_SERVICE__INIT(handle_);
