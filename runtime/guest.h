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

/* Nothing is asked any more, and what waits fails: programs that run go on, as they do when the
 * agent is killed. */
void runtime_leave_guests(Runtime *runtime);

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

/* A program and all that it is to have; copied. */
typedef struct GuestProgram {
	char *const *argv; /* @argc of them, the first its name */
	size_t argc;
	GuestEnv env;
	const char *dir, *user; /* "": the guest's choice */
	bool has_input;         /* else it reads nothing */
	int64_t timeout;        /* usec it may run; 0: as long as it likes */
	uint32_t rows, columns; /* of its terminal; 0: it has none */
} GuestProgram;

/* What is heard of a program, on the guests' thread: nothing after its end, which comes exactly
 * once. */
typedef struct GuestExecUser {
	void (*begun)(void *user, uint32_t pid);
	/* @fd: 1 or 2. So much more comes once guest_exec_allow() was called. */
	void (*output)(void *user, int fd, const void *bytes, size_t count);
	/* All input that was given so far is on its way. */
	void (*taken)(void *user);
	void (*ended)(void *user, const GuestEnd *end, const Error *err);
} GuestExecUser;

enum {
	GUEST_SIGNAL_MAX = 64
};

typedef struct GuestExecSpec {
	const char *exec_id; /* must not have been used before (runtime/exec_ids.h); NULL: none */
	GuestProgram program;
	const GuestExecUser *functions; /* outlive the program, as @user does */
	void *user;
} GuestExecSpec;

typedef struct GuestExec GuestExec;

/**
 * runtime_guest_exec() - run a program
 * @question:	its timeout is until the program has begun
 * @ret:	to release; set before anything is heard
 */
int runtime_guest_exec(Runtime *runtime, const GuestQuestion *question, const GuestExecSpec *spec,
		       GuestExec **ret, Error *err) must_check;
void guest_exec_unref(GuestExec *exec);
/* Kills it, if it still runs. */
void guest_exec_cancel(GuestExec *exec);
/* More that it is to read, copied; @last: and then the end. */
void guest_exec_input(GuestExec *exec, const void *bytes, size_t count, bool last);
/* So much of its output has been dealt with. */
void guest_exec_allow(GuestExec *exec, size_t count);
/* Its terminal's size, 1 to 10000 each; a signal, 1 to GUEST_SIGNAL_MAX. Kept until it has begun.
 */
void guest_exec_resize(GuestExec *exec, uint32_t rows, uint32_t columns);
void guest_exec_signal(GuestExec *exec, uint32_t number);

/* What became of a program that was run to its end. */
typedef struct GuestRan {
	GuestEnd end;
	const char *output[2]; /* standard output and error */
	size_t count[2];
	bool truncated;
} GuestRan;

typedef struct GuestRunSpec {
	GuestProgram program;
	const void *input;
	size_t input_count;
	size_t output_max; /* bytes kept, of both outputs together */
	/* Exactly once, with what came of it or @err. */
	void (*done)(void *user, const GuestRan *ran, const Error *err);
	void *user;
} GuestRunSpec;

typedef struct GuestRun GuestRun;

/* The same, with what it reads and writes in one piece. @ret: to release with
 * guest_run_release(), which gives it up if it still runs. */
int runtime_guest_run(Runtime *runtime, const GuestQuestion *question, const GuestRunSpec *spec,
		      GuestRun **ret, Error *err) must_check;
void guest_run_release(GuestRun *run);
