/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/format.h"
#include "agent/ctl/progress.h"
#include "agent/ctl/request.h"
#include "agent/ctl/vm_view.h"
#include "base/clock.h"

/* The verbs: start, stop, pause, resume, destroy. */

enum {
	DEFAULT_GUEST_GRACE = 10 * USEC_PER_SEC,
	DEFAULT_GRACE = 10 * USEC_PER_SEC,
	DEFAULT_TERMINATE = 5 * USEC_PER_SEC,
};

/* The fields that every verb's request has, from the options. */
#define FILL_GUARDS(ctl, request, id)                                                              \
	do {                                                                                       \
		const Options *given_ = &(ctl)->options;                                           \
		(request)->vm_id = text_field(id);                                                 \
		(request)->expected_uid = text_field(options_text(given_, "expected-uid"));        \
		(request)->expected_revision = options_number(given_, "expected-revision", 0);     \
		(request)->expected_generation = options_number(given_, "expected-generation", 0); \
		(request)->validate_only = options_has(given_, "validate-only");                   \
		(request)->return_when =                                                           \
			(Hearth__V1__ReturnWhen)options_enum(given_, "return", 0);                 \
	} while (0)

/* What a verb did, on one line. */
static void print_outcome(const Ctl *ctl, const char *id, const Hearth__V1__Vm *vm)
{
	char state[40];

	if (ctl->format == OUTPUT_TABLE)
		print_clean(stdout, "%s %s%s\n", id,
			    *vm->vm_id ? vm_state_text(vm, state) : "absent",
			    options_has(&ctl->options, "validate-only") ? " (checked only)" : "");
	else if (*vm->vm_id)
		vm_print(ctl, vm);
}

/* One verb on one VM: the exit status. */
static int call_verb(Ctl *ctl, const char *id, Method method, const ProtobufCMessage *request,
		     int64_t timeout)
{
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(message_freep) Hearth__V1__Vm *vm = NULL;
	Progress progress;
	int result;

	progress_begin(&progress, ctl, id, ctl->command->name);
	result = client_call(ctl_client(ctl), method, request, timeout, &vm, &failure);
	progress_end(&progress);
	if (result < 0)
		return failure_report(&failure, ctl_json(ctl));
	print_outcome(ctl, id, vm);
	return 0;
}

/* @one for each VM named: the exit status is the first failure's. */
static int for_each_vm(Ctl *ctl, int (*one)(Ctl *ctl, const char *id))
{
	int status = 0;

	for (size_t i = 0; i < ctl->options.n_arguments && !client_interrupted(); i++) {
		int result = one(ctl, ctl->options.arguments[i]);

		if (status == 0)
			status = result;
	}
	return status;
}

static int start_one(Ctl *ctl, const char *id)
{
	Hearth__V1__StartVmRequest request;

	hearth__v1__start_vm_request__init(&request);
	FILL_GUARDS(ctl, &request, id);
	return call_verb(ctl, id, vm_method("StartVm"), &request.base, ctl_start_timeout(ctl));
}

static int pause_one(Ctl *ctl, const char *id)
{
	Hearth__V1__PauseVmRequest request;

	hearth__v1__pause_vm_request__init(&request);
	FILL_GUARDS(ctl, &request, id);
	return call_verb(ctl, id, vm_method("PauseVm"), &request.base,
			 ctl_timeout(ctl, TIMEOUT_UNARY));
}

static int resume_one(Ctl *ctl, const char *id)
{
	Hearth__V1__ResumeVmRequest request;

	hearth__v1__resume_vm_request__init(&request);
	FILL_GUARDS(ctl, &request, id);
	return call_verb(ctl, id, vm_method("ResumeVm"), &request.base, ctl_start_timeout(ctl));
}

static int destroy_one(Ctl *ctl, const char *id)
{
	Hearth__V1__DestroyVmRequest request;

	hearth__v1__destroy_vm_request__init(&request);
	FILL_GUARDS(ctl, &request, id);
	request.allow_missing = options_has(&ctl->options, "allow-missing");
	return call_verb(ctl, id, vm_method("DestroyVm"), &request.base,
			 ctl_timeout(ctl, TIMEOUT_UNARY));
}

/* One rung's time: *@field is @value's if it was given. Return: how long it is. */
static int64_t take_grace(const Ctl *ctl, const char *option, int64_t otherwise,
			  Google__Protobuf__Duration *value, Google__Protobuf__Duration **field)
{
	int64_t usec = options_duration(&ctl->options, option, otherwise);

	*value = duration_field(usec);
	if (options_has(&ctl->options, option))
		*field = value;
	return usec;
}

static int stop_one(Ctl *ctl, const char *id)
{
	Google__Protobuf__Duration guest, button, terminate;
	Hearth__V1__StopVmRequest request;
	/* What the ladder may take, and the usual time on top. */
	int64_t timeout = TIMEOUT_UNARY;

	hearth__v1__stop_vm_request__init(&request);
	FILL_GUARDS(ctl, &request, id);
	request.force = options_has(&ctl->options, "force");
	timeout +=
		take_grace(ctl, "guest-grace", DEFAULT_GUEST_GRACE, &guest, &request.guest_timeout);
	timeout += take_grace(ctl, "grace", DEFAULT_GRACE, &button, &request.power_button_timeout);
	timeout += take_grace(ctl, "terminate-grace", DEFAULT_TERMINATE, &terminate,
			      &request.terminate_timeout);
	return call_verb(ctl, id, vm_method("StopVm"), &request.base, ctl_timeout(ctl, timeout));
}

int run_start(Ctl *ctl)
{
	return for_each_vm(ctl, start_one);
}

int run_stop(Ctl *ctl)
{
	return for_each_vm(ctl, stop_one);
}

int run_pause(Ctl *ctl)
{
	return for_each_vm(ctl, pause_one);
}

int run_resume(Ctl *ctl)
{
	return for_each_vm(ctl, resume_one);
}

int run_destroy(Ctl *ctl)
{
	return for_each_vm(ctl, destroy_one);
}
