/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/commands.h"

struct GuestCommands {
	GuestCommand all[GUEST_COMMANDS_MAX];
	size_t first; /* whose turn it is to be served first: no one is to take all the room */
};

GuestCommands *guest_commands_new(void)
{
	return calloc(1, sizeof(GuestCommands));
}

void guest_commands_free(GuestCommands *commands)
{
	free(commands);
}

/* Return: the command of the stream @id; 0: a free place; NULL: neither. */
static GuestCommand *find(GuestCommands *commands, int64_t id)
{
	for (size_t i = 0; i < array_size(commands->all); i++) {
		GuestCommand *command = &commands->all[i];

		if (id ? command->pid && command->id == id : !command->pid)
			return command;
	}
	return NULL;
}

static int start(GuestCommands *commands, const GuestRequest *request, const GuestExecSpec *spec)
{
	GuestCommand *command = find(commands, 0);

	if (!command)
		return -EAGAIN;
	return guest_command_start(command, request->session, request->id, spec);
}

void guest_commands_exec(GuestCommands *commands, const GuestRequest *request, const GuestEnv *env)
{
	cleanup_(guest_exec_spec_clear) GuestExecSpec spec = { 0 };
	int r;

	if (find(commands, request->id)) {
		(void)guest_request_bad(request, "id");
		return;
	}
	if (guest_exec_spec_read(&spec, request, env) < 0)
		return;
	r = start(commands, request, &spec);
	if (r < 0)
		guest_session_fail_errno(request->session, request->id, r, "exec");
}

void guest_commands_hear(GuestCommands *commands, const GuestRequest *line, int64_t id)
{
	GuestCommand *command = find(commands, id);

	if (command)
		guest_command_hear(command, line);
}

void guest_commands_abandon(GuestCommands *commands)
{
	for (size_t i = 0; i < array_size(commands->all); i++)
		if (commands->all[i].pid)
			guest_command_abandon(&commands->all[i]);
}

void guest_commands_reap(GuestCommands *commands)
{
	for (size_t i = 0; i < array_size(commands->all); i++)
		if (commands->all[i].pid)
			guest_command_reap(&commands->all[i]);
}

void guest_commands_prepare(GuestCommands *commands, GuestPoll *poll)
{
	for (size_t i = 0; i < array_size(commands->all); i++)
		if (commands->all[i].pid)
			guest_command_prepare(&commands->all[i], poll);
}

void guest_commands_serve(GuestCommands *commands, const GuestPoll *poll)
{
	commands->first = (commands->first + 1) % array_size(commands->all);
	for (size_t i = 0; i < array_size(commands->all); i++) {
		size_t place = (commands->first + i) % array_size(commands->all);

		if (commands->all[place].pid)
			guest_command_serve(&commands->all[place], poll);
	}
}
