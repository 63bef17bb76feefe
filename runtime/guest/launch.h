/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Starting the program of an exec request: a process that is a session of its own, with pipes or
 * a terminal. Whether it could be executed is said on a pipe, for who starts it must not wait.
 */

#include "runtime/guest/exec_spec.h"

#include <sys/types.h>

/* What was to be done when it failed. */
typedef enum GuestLaunchStage {
	GUEST_LAUNCH_TERMINAL,
	GUEST_LAUNCH_USER,
	GUEST_LAUNCH_CWD,
	GUEST_LAUNCH_PROGRAM,
} GuestLaunchStage;

typedef struct GuestLaunchResult {
	GuestLaunchStage stage;
	int error;      /* errno */
	char what[128]; /* the program, directory or user */
} GuestLaunchResult;

/* The daemon's ends, none of which blocks; -1: not there. */
typedef struct GuestLaunch {
	pid_t pid;
	int status; /* a GuestLaunchResult, or at once its end */
	int input, output, errors;
} GuestLaunch;

/* Return: 0 or -errno. */
int guest_launch(GuestLaunch *ret, const GuestExecSpec *spec) must_check;
