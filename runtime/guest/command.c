/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/command.h"

#include "runtime/guest/command_input.h"
#include "runtime/guest/command_output.h"
#include "runtime/guest/launch.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

enum {
	LINGER_MS = 1000
};

static const int64_t credit_most = INT64_C(1) << 40;

static void release(GuestCommand *command)
{
	guest_command_input_close(command);
	closep(&command->status_fd);
	for (size_t i = 0; i < array_size(command->outputs); i++)
		closep(&command->outputs[i].fd);
	*command = (GuestCommand){ 0 };
}

int guest_command_start(GuestCommand *command, GuestSession *session, int64_t id,
			const GuestExecSpec *spec)
{
	GuestLaunch launch;
	int r = guest_launch(&launch, spec);

	if (r < 0)
		return r;
	*command = (GuestCommand){
		.session = session,
		.id = id,
		.pid = launch.pid,
		.tty = spec->tty,
		.kill_at = spec->timeout_ms ? guest_clock_ms() + spec->timeout_ms : -1,
		.linger_to = -1,
		.status_fd = launch.status,
		.outputs = { { .fd = launch.output }, { .fd = launch.errors } },
		.credit = GUEST_CREDIT,
		.input_fd = launch.input,
		.input_credit = GUEST_CREDIT,
	};
	return 0;
}

/* Not once it is reaped: its number may be another's then. */
static void send_signal(const GuestCommand *command, int number)
{
	if (command->ended)
		return;
	/* It has no group of its own yet while it starts. */
	if (kill(-command->pid, number) < 0)
		(void)kill(command->pid, number);
}

static void hear_data(GuestCommand *command, const GuestRequest *line)
{
	char *bytes;
	size_t length;

	if (guest_request_data(line, "data", &bytes, &length) < 0)
		return;
	if (guest_command_input_add(command, bytes, length) < 0)
		send_signal(command, SIGKILL);
}

static void hear_size(const GuestCommand *command, const GuestRequest *line)
{
	int64_t rows = 0, cols = 0;
	struct winsize size;

	if (guest_request_number(line, "rows", GUEST_OPTIONAL, UINT16_MAX, &rows) < 0 ||
	    guest_request_number(line, "cols", GUEST_OPTIONAL, UINT16_MAX, &cols) < 0)
		return;
	size = (struct winsize){ .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	if (command->tty && rows && cols && command->outputs[0].fd >= 0)
		(void)ioctl(command->outputs[0].fd, TIOCSWINSZ, &size);
}

void guest_command_hear(GuestCommand *command, const GuestRequest *line)
{
	int64_t credit = 0, number = 0;
	bool ends = false;

	if (guest_request_number(line, "credit", GUEST_OPTIONAL, credit_most, &credit) == 0 &&
	    command->credit < credit_most)
		command->credit += credit;
	if (guest_json_member(line->json, line->object, "data"))
		hear_data(command, line);
	if (guest_request_bool(line, "eof", &ends) == 0 && ends)
		guest_command_input_end(command);
	if (guest_request_number(line, "kill", GUEST_OPTIONAL, SIGRTMAX, &number) == 0 && number)
		send_signal(command, (int)number);
	hear_size(command, line);
}

void guest_command_abandon(GuestCommand *command)
{
	command->id = 0;
	/* What it got so far is still its input. */
	guest_command_input_end(command);
}

void guest_command_reap(GuestCommand *command)
{
	if (command->ended || waitpid(command->pid, &command->wait_status, WNOHANG) != command->pid)
		return;
	command->ended = true;
	command->linger_to = guest_clock_ms() + LINGER_MS;
	command->kill_at = -1;
	guest_command_input_close(command);
}

void guest_command_prepare(GuestCommand *command, GuestPoll *poll)
{
	bool room = guest_session_has_room(command->session, 0);

	command->status_place = guest_poll_add(poll, command->status_fd, room ? POLLIN : 0);
	command->input_place =
		guest_poll_add(poll, command->input_fd, command->input_used ? POLLOUT : 0);
	for (size_t i = 0; i < array_size(command->outputs); i++) {
		GuestOutput *output = &command->outputs[i];
		bool wanted = guest_command_output_is_wanted(command, output);

		output->place = guest_poll_add(poll, output->fd, wanted ? POLLIN : 0);
	}
	guest_poll_by(poll, command->kill_at);
	guest_poll_by(poll, command->linger_to);
}

static void fail(GuestCommand *command, const GuestLaunchResult *result)
{
	if (result->stage == GUEST_LAUNCH_USER && result->error == ENOENT)
		guest_session_fail(command->session, command->id, GUEST_NOT_FOUND,
				   "there is no user '%s'", result->what);
	else
		guest_session_fail_errno(command->session, command->id, -result->error,
					 result->what);
	command->id = 0;
}

static void read_status(GuestCommand *command)
{
	GuestLaunchResult result;
	ssize_t n = read(command->status_fd, &result, sizeof result);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	closep(&command->status_fd);
	command->status_fd = -1;
	if (n == (ssize_t)sizeof result)
		fail(command, &result);
	else
		guest_session_answer_number(command->session, command->id, "pid", command->pid);
}

/* Return: true, unless there was no room for it. */
static bool say_end(const GuestCommand *command)
{
	GuestLine line;

	if (!command->id)
		return true;
	if (!guest_session_has_room(command->session, 0))
		return false;
	guest_session_begin(command->session, &line);
	guest_line_number(&line, "stream", command->id);
	if (WIFEXITED(command->wait_status)) {
		guest_line_number(&line, "exit", WEXITSTATUS(command->wait_status));
	} else {
		guest_line_number(&line, "signal", WTERMSIG(command->wait_status));
		guest_line_bool(&line, "timed_out", command->timed_out);
	}
	guest_session_send(command->session, &line);
	return true;
}

static void keep_time(GuestCommand *command)
{
	int64_t now = guest_clock_ms();

	if (command->kill_at >= 0 && now >= command->kill_at) {
		command->kill_at = -1;
		command->timed_out = true;
		send_signal(command, SIGKILL);
	}
	if (command->linger_to >= 0 && now >= command->linger_to) {
		command->linger_to = -1;
		guest_command_output_bound(command);
	}
}

void guest_command_serve(GuestCommand *command, const GuestPoll *poll)
{
	if (guest_poll_got(poll, command->status_place))
		read_status(command);
	if (command->status_fd < 0)
		guest_command_input_write(command);
	for (size_t i = 0; i < array_size(command->outputs); i++)
		if (guest_poll_got(poll, command->outputs[i].place))
			guest_command_output_read(command, &command->outputs[i]);
	keep_time(command);
	if (!command->ended || command->status_fd >= 0)
		return;
	if ((!command->id || guest_command_output_is_over(command)) && say_end(command))
		release(command);
}
