/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/command_output.h"

#include <sys/ioctl.h>

static char buffer[GUEST_DATA_MAX]; /* there is one thread, and it reads one output at a time */

static void end_output(GuestOutput *output)
{
	closep(&output->fd);
	output->fd = -1;
}

bool guest_command_output_is_wanted(const GuestCommand *command, const GuestOutput *output)
{
	if (output->fd < 0 || command->status_fd >= 0)
		return false;
	if (!command->id)
		return true;
	return command->credit > 0 && guest_session_has_room(command->session, GUEST_DATA_MAX);
}

static void say(GuestCommand *command, const GuestOutput *output, size_t length)
{
	GuestLine line;

	guest_session_begin(command->session, &line);
	guest_line_number(&line, "stream", command->id);
	guest_line_number(&line, "fd", output == &command->outputs[0] ? 1 : 2);
	guest_line_data(&line, "data", buffer, length);
	guest_session_send(command->session, &line);
	command->credit -= (int64_t)length;
}

void guest_command_output_read(GuestCommand *command, GuestOutput *output)
{
	size_t most = sizeof buffer;
	ssize_t n;

	if (!guest_command_output_is_wanted(command, output))
		return;
	if (command->id && (int64_t)most > command->credit)
		most = (size_t)command->credit;
	if (output->bounded && most > output->left)
		most = output->left;
	n = read(output->fd, buffer, most);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* a terminal's end is EIO */
		end_output(output);
		return;
	}
	if (command->id)
		say(command, output, (size_t)n);
	output->left -= output->bounded ? (size_t)n : 0;
	if (output->bounded && !output->left)
		end_output(output);
}

void guest_command_output_bound(GuestCommand *command)
{
	for (size_t i = 0; i < array_size(command->outputs); i++) {
		GuestOutput *output = &command->outputs[i];
		int there = 0;

		if (output->fd < 0)
			continue;
		if (ioctl(output->fd, FIONREAD, &there) < 0 || there <= 0) {
			end_output(output);
			continue;
		}
		output->bounded = true;
		output->left = (size_t)there;
	}
}

/* Without credit it is not read, and its end must be seen otherwise. */
static bool is_empty_and_closed(const GuestOutput *output)
{
	struct pollfd state = { .fd = output->fd, .events = POLLIN };

	return poll(&state, 1, 0) == 1 && !(state.revents & POLLIN);
}

bool guest_command_output_is_over(GuestCommand *command)
{
	bool over = true;

	for (size_t i = 0; i < array_size(command->outputs); i++) {
		GuestOutput *output = &command->outputs[i];

		if (output->fd >= 0 && command->credit <= 0 && is_empty_and_closed(output))
			end_output(output);
		over = over && output->fd < 0;
	}
	return over;
}
