/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/exec.h"
#include "agent/ctl/request.h"
#include "agent/ctl/terminal.h"
#include "base/text.h"

/* exec: the request; exec.c carries it out. */

static int fill_env(const Ctl *ctl, Hearth__V1__ExecProgram *program)
{
	const ProtobufCMessageDescriptor *type = &hearth__v1__exec_program__env_entry__descriptor;
	const char *term = getenv("TERM");
	const char *text;
	size_t at = 0;

	if (options_has(&ctl->options, "tty") && term && *term) {
		cleanup_free char *kind = text_printf("TERM=%s", term);

		(void)set_variable(&program->env, &program->n_env, type, kind);
	}
	while ((text = options_next(&ctl->options, "env", &at)))
		if (!set_variable(&program->env, &program->n_env, type, text))
			return failure_report_local(ctl_json(ctl), EXIT_USAGE,
						    "--env: '%s' is not NAME=VALUE", text);
	return 0;
}

static void fill_text(const Ctl *ctl, const char *option, char **field)
{
	if (options_has(&ctl->options, option))
		set_text(field, options_text(&ctl->options, option));
}

static void fill_program(const Ctl *ctl, Hearth__V1__ExecProgram *program)
{
	const Options *given = &ctl->options;

	program->n_command = given->n_arguments - 1;
	program->command = new0_array(char *, program->n_command);
	for (size_t i = 0; i < program->n_command; i++)
		program->command[i] = text_dup(given->arguments[i + 1]);
	fill_text(ctl, "dir", &program->working_dir);
	fill_text(ctl, "user", &program->user);
	if (options_has(given, "limit")) {
		program->timeout = new0(Google__Protobuf__Duration);
		*program->timeout = duration_field(options_duration(given, "limit", 0));
	}
}

static void fill_request(const Ctl *ctl, Hearth__V1__ExecRequest *request)
{
	const Options *given = &ctl->options;
	char made[37];

	text_random_uuid(made);
	set_text(&request->vm_id, given->arguments[0]);
	set_text(&request->exec_id, made);
	fill_text(ctl, "exec-id", &request->exec_id);
	fill_text(ctl, "expected-uid", &request->expected_uid);
	request->program = message_new(&hearth__v1__exec_program__descriptor);
	fill_program(ctl, request->program);
	request->end_of_input = !options_has(given, "stdin");
	if (options_has(given, "tty")) {
		request->terminal = message_new(&hearth__v1__terminal_size__descriptor);
		terminal_size(&request->terminal->rows, &request->terminal->columns);
	}
}

/* 0, or the exit status of what has been reported. */
static int check_terminal(const Ctl *ctl)
{
	if (!options_has(&ctl->options, "tty"))
		return 0;
	if (!options_has(&ctl->options, "stdin") || ctl_json(ctl))
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "exec: -t goes with -i, and not with -o json");
	if (!terminal_is_there())
		return failure_report_local(ctl_json(ctl), EXIT_LOCAL,
					    "exec: the input device is not a terminal");
	return 0;
}

int run_exec(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__ExecRequest *request =
		message_new(&hearth__v1__exec_request__descriptor);
	int status = check_terminal(ctl);

	if (status)
		return status;
	fill_request(ctl, request);
	status = fill_env(ctl, request->program);
	return status ? status : exec_run(ctl, request, options_has(&ctl->options, "stdin"));
}
