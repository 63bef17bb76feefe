/* SPDX-License-Identifier: Apache-2.0 */

/* GuestService.Run: a program in the guest that ends with the call, whichever is first. */

#include "agent/guest_request.h"
#include "agent/handlers.h"
#include "base/clock.h"

enum {
	OUTPUT_MAX = 1024 * 1024,
	TIMEOUT = 60 * USEC_PER_SEC,
};

/* The call's; the program has a reference to the call until it has ended. */
typedef struct RunCall {
	Call *call;
	GuestRun *run;
} RunCall;

/* Nothing comes but the end. */
static void pump(Call *call, void *user)
{
	(void)call;
	(void)user;
}

static void call_is_over(void *user)
{
	const RunCall *held = user;

	guest_run_release(held->run);
}

static void reply(const RunCall *held, const GuestRan *ran)
{
	Hearth__V1__RunResponse response;

	hearth__v1__run_response__init(&response);
	response.exit_code = ran->end.code;
	response.signal = ran->end.signal;
	response.timed_out = ran->end.timed_out;
	response.output =
		(ProtobufCBinaryData){ ran->count[0], (uint8_t *)message_text(ran->output[0]) };
	response.error_output =
		(ProtobufCBinaryData){ ran->count[1], (uint8_t *)message_text(ran->output[1]) };
	response.truncated = ran->truncated;
	call_reply(held->call, &response.base);
}

static void run_is_over(void *user, const GuestRan *ran, const Error *err)
{
	const RunCall *held = user;
	Call *call = held->call;

	if (ran)
		reply(held, ran);
	else
		guest_fail(call, err);
	call_unref(call);
}

static void check(const Hearth__V1__RunRequest *request, const GuestProgram *program, Error *err)
{
	request_check_vm_id(request->vm_id, err);
	guest_check_program("", program, err);
	if (request->input.len > GUEST_INPUT_MAX)
		(void)error_add_violation(err, "input", "has more than %d bytes", GUEST_INPUT_MAX);
	if (request->max_output_bytes > OUTPUT_MAX)
		(void)error_add_violation(err, "max_output_bytes", "must be at most %d",
					  OUTPUT_MAX);
}

static void begin(Call *call, Runtime *runtime, const GuestQuestion *question, GuestRunSpec *spec)
{
	RunCall *held = new0(RunCall);
	Error err = { 0 };

	held->call = call_ref(call);
	call_attach(call, held, free);
	spec->done = run_is_over;
	spec->user = held;
	if (runtime_guest_run(runtime, question, spec, &held->run, &err) < 0) {
		guest_fail(call, &err);
		call_unref(call);
		return;
	}
	call_stream(call, pump, call_is_over, held);
}

static void run(Call *call, Runtime *runtime, const Hearth__V1__RunRequest *request)
{
	const GuestQuestion question = {
		.vm_id = request->vm_id,
		.expected_uid = request->expected_uid,
		.timeout = GUEST_BEGIN_TIMEOUT,
	};
	cleanup_free GuestVariable *items = new0_array(GuestVariable, request->n_env);
	GuestRunSpec spec = {
		.program = {
			.argv = request->command,
			.argc = request->n_command,
			.env = { items, request->n_env, false },
			.dir = request->working_dir,
			.user = request->user,
			.has_input = request->input.len > 0,
		},
		.input = request->input.data,
		.input_count = request->input.len,
		.output_max = request->max_output_bytes ? request->max_output_bytes : OUTPUT_MAX,
	};
	Error err = { 0 };

	for (size_t i = 0; i < request->n_env; i++)
		items[i] = (GuestVariable){ request->env[i]->key, request->env[i]->value };
	check(request, &spec.program, &err);
	spec.program.timeout =
		guest_timeout("timeout", request->timeout, GUEST_PROGRAM_MAX_SEC, TIMEOUT, &err);
	if (!request_fail(call, request->vm_id, &err))
		begin(call, runtime, &question, &spec);
}

DEFINE_HANDLER(GuestService, run, Run, RunResponse);
