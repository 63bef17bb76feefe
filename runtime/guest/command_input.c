/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/command_input.h"

#include <string.h>
#include <termios.h>

enum {
	CREDIT_STEP = GUEST_CREDIT / 4 /* a line for every key pressed would be one too many */
};

void guest_command_input_close(GuestCommand *command)
{
	closep(&command->input_fd);
	command->input_fd = -1;
	if (command->input)
		explicit_bzero(command->input, GUEST_CREDIT);
	free(take_ptr(command->input));
	command->input_taken += command->input_used;
	command->input_used = 0;
}

int guest_command_input_add(GuestCommand *command, const char *bytes, size_t length)
{
	if (length > command->input_credit)
		return -ENOBUFS;
	command->input_credit -= length;
	if (command->input_fd < 0 || command->input_ends) {
		/* The program does not read it any more; the host may go on all the same. */
		command->input_taken += length;
		return 0;
	}
	if (!command->input)
		command->input = malloc(GUEST_CREDIT);
	if (!command->input)
		return -ENOBUFS;
	memcpy(command->input + command->input_used, bytes, length);
	command->input_used += length;
	return 0;
}

void guest_command_input_end(GuestCommand *command)
{
	command->input_ends = true;
}

static void write_some(GuestCommand *command)
{
	ssize_t n = write(command->input_fd, command->input, command->input_used);
	size_t left;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		guest_command_input_close(command);
		return;
	}
	left = command->input_used - (size_t)n;
	memmove(command->input, command->input + n, left);
	explicit_bzero(command->input + left, (size_t)n);
	command->input_used = left;
	command->input_taken += (size_t)n;
}

/* A terminal is not closed for its end of file; that is a character. */
static void write_end(GuestCommand *command)
{
	struct termios settings;

	if (command->tty && tcgetattr(command->input_fd, &settings) == 0 &&
	    write(command->input_fd, &settings.c_cc[VEOF], 1) < 0 && errno == EAGAIN)
		return;
	guest_command_input_close(command);
}

static void say_credit(GuestCommand *command)
{
	GuestLine line;

	if (command->input_taken < CREDIT_STEP || command->ended ||
	    !guest_session_has_room(command->session, 0))
		return;
	guest_session_begin(command->session, &line);
	guest_line_number(&line, "stream", command->id);
	guest_line_number(&line, "credit", (int64_t)command->input_taken);
	guest_session_send(command->session, &line);
	command->input_credit += command->input_taken;
	command->input_taken = 0;
}

void guest_command_input_write(GuestCommand *command)
{
	if (command->input_fd >= 0 && command->input_used)
		write_some(command);
	if (command->input_fd >= 0 && !command->input_used && command->input_ends)
		write_end(command);
	if (command->id)
		say_credit(command);
}
