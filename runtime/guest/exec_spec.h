/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an exec request asks for.
 */

#include "runtime/guest/env.h"
#include "runtime/guest/request.h"

/* Texts are those of the request's line. */
typedef struct GuestExecSpec {
	const char **argv; /* ends with NULL */
	GuestEnv env;
	const char *cwd;
	const char *user; /* NULL: whoever the daemon is */
	char user_number[24];
	bool tty, input;
	int64_t rows, cols;
	int64_t timeout_ms; /* 0: none */
} GuestExecSpec;

/* Return: 0, or -1, having answered why not. @env: of every command. */
int guest_exec_spec_read(GuestExecSpec *ret, const GuestRequest *request, const GuestEnv *env)
	must_check;

/* Accepts one that is empty, or was not read to its end. */
void guest_exec_spec_clear(GuestExecSpec *spec);
