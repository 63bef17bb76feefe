/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One program of an exec request, from its start to the last line of its stream.
 *
 * It is starting until its status pipe ends, then running, then ended once it is reaped; it is
 * done with when its output was said to the end. Whatever ends early (the session, its input, an
 * output) is closed and left out of what follows.
 */

#include "runtime/guest/exec_spec.h"
#include "runtime/guest/poll.h"

#include <sys/types.h>

typedef struct GuestOutput {
	int fd;       /* -1: has ended */
	bool bounded; /* no more than @left is said of it any more */
	size_t left;
	size_t place; /* in the poll */
} GuestOutput;

typedef struct GuestCommand {
	GuestSession *session;
	int64_t id; /* of its stream; 0: nobody is there to be told of it */
	pid_t pid;  /* 0: the place is free */
	bool tty, ended, timed_out;
	int wait_status;
	int64_t kill_at;   /* or -1 */
	int64_t linger_to; /* or -1 */

	int status_fd; /* -1: started, or not to be */
	size_t status_place;

	GuestOutput outputs[2];
	int64_t credit;

	int input_fd;
	size_t input_place;
	char *input; /* GUEST_CREDIT bytes, or NULL until there is some */
	size_t input_used;
	bool input_ends;     /* after what is in @input */
	size_t input_credit; /* bytes that the host may still send */
	size_t input_taken;  /* and those that it will be told it may, too */
} GuestCommand;

/* Return: 0; -errno. It answers once it is executed. */
int guest_command_start(GuestCommand *command, GuestSession *session, int64_t id,
			const GuestExecSpec *spec) must_check;

/* A line for its stream. */
void guest_command_hear(GuestCommand *command, const GuestRequest *line);

/* Its session is over. */
void guest_command_abandon(GuestCommand *command);

/* Once a child of the daemon has ended: it may be this one. */
void guest_command_reap(GuestCommand *command);

/* A turn of the loop; serving it may end it, and free its place. */
void guest_command_prepare(GuestCommand *command, GuestPoll *poll);
void guest_command_serve(GuestCommand *command, const GuestPoll *poll);
