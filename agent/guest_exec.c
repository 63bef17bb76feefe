/* SPDX-License-Identifier: Apache-2.0 */

/* GuestService.Exec: a program in the guest, with what it reads and writes as it comes. */

#include "agent/guest_request.h"
#include "agent/handlers.h"

#include <stdatomic.h>

/* What the requests of one call share: the call's. The program has a reference to the call until it
 * has ended. */
typedef struct ExecCall {
	Call *call;
	GuestExec *exec;
	bool has_terminal;
	atomic_size_t owed; /* bytes of output that the client has not taken */
} ExecCall;

static void release(void *data)
{
	ExecCall *held = data;

	guest_exec_unref(held->exec);
	free(held);
}

static void call_is_over(void *user)
{
	const ExecCall *held = user;

	guest_exec_cancel(held->exec);
}

/* Lets as much more output come as the client has taken. */
static void settle_output(ExecCall *held)
{
	size_t owed = call_writable(held->call) ? atomic_exchange(&held->owed, 0) : 0;

	if (owed)
		guest_exec_allow(held->exec, owed);
}

static void pump(Call *call, void *user)
{
	(void)call;
	settle_output(user);
}

static void begun(void *user, uint32_t pid)
{
	const ExecCall *held = user;
	Hearth__V1__ExecStarted started = HEARTH__V1__EXEC_STARTED__INIT;
	Hearth__V1__ExecResponse response = HEARTH__V1__EXEC_RESPONSE__INIT;

	started.pid = pid;
	response.started = &started;
	call_write(held->call, &response.base);
}

static void take_output(void *user, int fd, const void *bytes, size_t count)
{
	ExecCall *held = user;
	ProtobufCBinaryData data = { count, (uint8_t *)message_text(bytes) };
	Hearth__V1__ExecResponse response = HEARTH__V1__EXEC_RESPONSE__INIT;

	if (fd == 1)
		response.output = data;
	else
		response.error_output = data;
	call_write(held->call, &response.base);
	atomic_fetch_add(&held->owed, count);
	settle_output(held);
}

static void taken(void *user)
{
	const ExecCall *held = user;

	call_go_on(held->call);
}

static void ended(void *user, const GuestEnd *end, const Error *err)
{
	const ExecCall *held = user;
	Call *call = held->call;
	Hearth__V1__ExecEnded how = HEARTH__V1__EXEC_ENDED__INIT;
	Hearth__V1__ExecResponse response = HEARTH__V1__EXEC_RESPONSE__INIT;

	if (err) {
		guest_fail(call, err);
	} else {
		how.exit_code = end->code;
		how.signal = end->signal;
		how.timed_out = end->timed_out;
		response.ended = &how;
		call_write(call, &response.base);
		call_finish(call);
	}
	call_unref(call);
}

static void check_input(const Hearth__V1__ExecRequest *request, Error *err)
{
	const Hearth__V1__TerminalSize *size = request->terminal;

	if (request->input.len > GUEST_INPUT_MAX)
		(void)error_add_violation(err, "input", "has more than %d bytes", GUEST_INPUT_MAX);
	if (request->signal > GUEST_SIGNAL_MAX)
		(void)error_add_violation(err, "signal", "must be 1 to %d", GUEST_SIGNAL_MAX);
	if (size && (size->rows < 1 || size->rows > GUEST_CELLS_MAX || size->columns < 1 ||
		     size->columns > GUEST_CELLS_MAX))
		(void)error_add_violation(err, "terminal", "rows and columns must be 1 to %d",
					  GUEST_CELLS_MAX);
}

/* What one request has for a program, whether that has begun or not. */
static void pass_on(const ExecCall *held, const Hearth__V1__ExecRequest *request)
{
	const Hearth__V1__TerminalSize *size = request->terminal;

	if (size)
		guest_exec_resize(held->exec, size->rows, size->columns);
	if (request->signal)
		guest_exec_signal(held->exec, request->signal);
	if (request->input.len)
		call_hold(held->call);
	if (request->input.len || request->end_of_input)
		guest_exec_input(held->exec, request->input.data, request->input.len,
				 request->end_of_input);
}

static void begin(Call *call, Runtime *runtime, const Hearth__V1__ExecRequest *request,
		  const GuestProgram *program)
{
	static const GuestExecUser functions = { begun, take_output, taken, ended };
	const GuestQuestion question = {
		.vm_id = request->vm_id,
		.expected_uid = request->expected_uid,
		.timeout = GUEST_BEGIN_TIMEOUT,
	};
	ExecCall *held = new0(ExecCall);
	const GuestExecSpec spec = { request->exec_id, *program, &functions, held };
	Error err = { 0 };

	held->call = call_ref(call);
	held->has_terminal = program->rows > 0;
	call_attach(call, held, release);
	if (runtime_guest_exec(runtime, &question, &spec, &held->exec, &err) < 0) {
		guest_fail(call, &err);
		call_unref(call);
		return;
	}
	call_stream(call, pump, call_is_over, held);
	pass_on(held, request);
}

static void check_and_begin(Call *call, Runtime *runtime, const Hearth__V1__ExecRequest *request,
			    const Hearth__V1__ExecProgram *asked)
{
	cleanup_free GuestVariable *items = new0_array(GuestVariable, asked->n_env);
	GuestProgram program = {
		.argv = asked->command,
		.argc = asked->n_command,
		.env = { items, asked->n_env, false },
		.dir = asked->working_dir,
		.user = asked->user,
		.has_input = true,
		.rows = request->terminal ? request->terminal->rows : 0,
		.columns = request->terminal ? request->terminal->columns : 0,
	};
	Error err = { 0 };

	for (size_t i = 0; i < asked->n_env; i++)
		items[i] = (GuestVariable){ asked->env[i]->key, asked->env[i]->value };
	request_check_vm_id(request->vm_id, &err);
	guest_check_name("exec_id", request->exec_id, &err);
	guest_check_program("program.", &program, &err);
	if (asked->timeout)
		program.timeout = guest_timeout("program.timeout", asked->timeout,
						GUEST_PROGRAM_MAX_SEC, 0, &err);
	check_input(request, &err);
	if (!request_fail(call, request->vm_id, &err))
		begin(call, runtime, request, &program);
}

static void first(Call *call, Runtime *runtime, const Hearth__V1__ExecRequest *request)
{
	Hearth__V1__ExecProgram none;

	hearth__v1__exec_program__init(&none);
	check_and_begin(call, runtime, request, request->program ? request->program : &none);
}

static void next(Call *call, ExecCall *held, const Hearth__V1__ExecRequest *request)
{
	Error err = { 0 };

	if (*request->vm_id || *request->expected_uid || *request->exec_id || request->program)
		(void)error_add_violation(
			&err, "program",
			"vm_id, expected_uid, exec_id and program are of the first request alone");
	if (request->terminal && !held->has_terminal)
		(void)error_add_violation(&err, "terminal", "the program has none");
	check_input(request, &err);
	if (!request_fail(call, call_vm_id(call), &err))
		pass_on(held, request);
}

/* Without a request: no more come. */
void handle_exec(Hearth__V1__GuestService_Service *service, const Hearth__V1__ExecRequest *request,
		 Hearth__V1__ExecResponse_Closure closure, void *data)
{
	Call *call = data;
	ExecCall *held = call_attached(call);
	Runtime *runtime;
	Error err = { 0 };

	(void)service;
	(void)closure;
	if (call_ended(call))
		return;
	if (held && request) {
		next(call, held, request);
	} else if (held) {
		guest_exec_input(held->exec, NULL, 0, true);
	} else if (!request) {
		(void)error_add_violation(&err, "program", "no request came");
		call_fail(call, &err);
	} else {
		runtime = agent_runtime(call);
		if (runtime)
			first(call, runtime, request);
	}
}
