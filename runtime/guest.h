/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What can be asked of the daemon in a VM's guest.
 *
 * Each call is checked, sent and answered later, on the guests' thread (which must not
 * be held up); it claims nothing, so that the VM may end, or be destroyed, meanwhile.
 * @err, at once or later: VM_NOT_FOUND, CONFLICT (the uid is another), UNSUPPORTED
 * (nothing leads into that VM), GUEST_METADATA (no guest runs, or what
 * runtime/guest_link.h says).
 */

#include "runtime/guest_link.h"
#include "runtime/runtime.h"

/* @uptime: usec since the guest's boot, of ping alone. */
typedef void GuestDone(void *user, int64_t uptime, const Error *err);

typedef struct GuestQuestion {
	const char *vm_id, *expected_uid;
	int64_t timeout; /* usec until the answer */
	GuestDone *done; /* exactly once, if the call has not failed at once; not of run */
	void *user;
} GuestQuestion;

int runtime_guest_ping(Runtime *runtime, const GuestQuestion *question, Error *err) must_check;

typedef struct GuestVariable {
	const char *name, *value;
} GuestVariable;

typedef struct GuestEnv {
	const GuestVariable *items;
	size_t count;
	bool replace; /* nothing that was set before stays; not of run */
} GuestEnv;

int runtime_guest_set_env(Runtime *runtime, const GuestQuestion *question, const GuestEnv *env,
			  Error *err) must_check;

typedef struct GuestSecret {
	const char *name;
	const void *data; /* NULL: it is removed */
	size_t count;
} GuestSecret;

int runtime_guest_set_secret(Runtime *runtime, const GuestQuestion *question,
			     const GuestSecret *secret, Error *err) must_check;

/* What became of a program. */
typedef struct GuestRan {
	GuestEnd end;
	const char *output[2]; /* standard output and error */
	size_t count[2];
	bool truncated;
} GuestRan;

typedef void GuestRunDone(void *user, const GuestRan *ran, const Error *err);

/* A program and all that it is to have; copied. */
typedef struct GuestProgram {
	char *const *argv; /* @argc of them, the first its name */
	size_t argc;
	GuestEnv env;
	const char *dir, *user; /* "": the guest's choice */
	const void *input;
	size_t input_count;
	int64_t timeout;    /* usec it may run */
	size_t output_max;  /* bytes kept, of both outputs together */
	GuestRunDone *done; /* exactly once, with what came of it or @err */
	void *done_user;
} GuestProgram;

typedef struct GuestRun GuestRun;

/**
 * runtime_guest_run() - run a program to its end
 * @question:	its timeout is until the program has begun
 * @ret:	to release with guest_run_release(), which gives it up if it still runs
 */
int runtime_guest_run(Runtime *runtime, const GuestQuestion *question, const GuestProgram *program,
		      GuestRun **ret, Error *err) must_check;
void guest_run_release(GuestRun *run);
