/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "agent/ctl/exec.h"
#include "agent/ctl/json.h"
#include "agent/ctl/request.h"
#include "agent/ctl/terminal.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* ping, exec: what hearth-guest does in the guest. */

int run_ping(Ctl *ctl)
{
	cleanup_(message_freep) Hearth__V1__PingResponse *answer = NULL;
	Hearth__V1__PingRequest request;
	int status;

	hearth__v1__ping_request__init(&request);
	request.vm_id = text_field(ctl->options.arguments[0]);
	request.expected_uid = text_field(options_text(&ctl->options, "expected-uid"));
	status = ctl_call(ctl, guest_method("Ping"), &request.base, &answer);
	if (status == 0 && ctl_json(ctl))
		json_print_message(&answer->base, true);
	else if (status == 0)
		printf("%s answered after %.1f ms, up %" PRId64 " s\n", request.vm_id,
		       (double)answer->round_trip->nanos / 1e6 +
			       (double)answer->round_trip->seconds * 1e3,
		       answer->uptime->seconds);
	return status;
}

/* --env's variable, in place of one of the same name. */
static void set_variable(Hearth__V1__ExecProgram *program, const char *name, size_t length,
			 const char *value)
{
	Hearth__V1__ExecProgram__EnvEntry *entry;

	for (size_t i = 0; i < program->n_env; i++) {
		entry = program->env[i];
		if (strlen(entry->key) == length && strncmp(entry->key, name, length) == 0) {
			set_text(&entry->value, value);
			return;
		}
	}
	entry = message_new(&hearth__v1__exec_program__env_entry__descriptor);
	entry->key = text_printf("%.*s", (int)length, name);
	entry->value = text_dup(value);
	program->env = (Hearth__V1__ExecProgram__EnvEntry **)must_realloc(
		(void *)program->env, program->n_env + 1, sizeof(void *));
	program->env[program->n_env++] = entry;
}

static int fill_env(const Ctl *ctl, Hearth__V1__ExecProgram *program)
{
	const char *term = getenv("TERM");
	const char *text;
	size_t at = 0;

	if (options_has(&ctl->options, "tty") && term && *term)
		set_variable(program, "TERM", strlen("TERM"), term);
	while ((text = options_next(&ctl->options, "env", &at))) {
		size_t length = strcspn(text, "=");

		if (!text[length] || !length)
			return failure_report_local(ctl_json(ctl), EXIT_USAGE,
						    "--env: '%s' is not NAME=VALUE", text);
		set_variable(program, text, length, text + length + 1);
	}
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
