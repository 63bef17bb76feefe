/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest.h"

#include <stdatomic.h>
#include <string.h>

/* A program that is run to its end, what it writes kept as far as that is wanted. */

struct GuestRun {
	atomic_uint refs; /* the caller's, and the program's until its end */
	GuestExec *exec;
	void (*done)(void *user, const GuestRan *ran, const Error *err);
	void *user;
	/* The guests' thread's. */
	char *output[2];
	size_t count[2], output_max;
	bool truncated;
};

static void unref(GuestRun *run)
{
	if (atomic_fetch_sub(&run->refs, 1) != 1)
		return;
	guest_exec_unref(run->exec);
	free(run->output[0]);
	free(run->output[1]);
	free(run);
}

static void take_output(void *user, int fd, const void *bytes, size_t count)
{
	GuestRun *run = user;
	size_t room = run->output_max - run->count[0] - run->count[1];
	size_t kept = count < room ? count : room;
	char **output = &run->output[fd - 1];
	size_t *used = &run->count[fd - 1];

	if (kept) {
		*output = must_realloc(*output, *used + kept, 1);
		memcpy(*output + *used, bytes, kept);
		*used += kept;
	}
	run->truncated |= kept < count;
	guest_exec_allow(run->exec, count);
}

static void ended(void *user, const GuestEnd *end, const Error *err)
{
	GuestRun *run = user;
	const GuestRan ran = {
		.end = end ? *end : (GuestEnd){ 0 },
		.output = { run->output[0], run->output[1] },
		.count = { run->count[0], run->count[1] },
		.truncated = run->truncated,
	};

	run->done(run->user, err ? NULL : &ran, err);
	unref(run);
}

static void begun(void *user, uint32_t pid)
{
	(void)user;
	(void)pid;
}

static void taken(void *user)
{
	(void)user;
}

int runtime_guest_run(Runtime *runtime, const GuestQuestion *question, const GuestRunSpec *spec,
		      GuestRun **ret, Error *err)
{
	static const GuestExecUser functions = { begun, take_output, taken, ended };
	GuestRun *run = new0(GuestRun);
	const GuestExecSpec exec = {
		.program = spec->program,
		.functions = &functions,
		.user = run,
	};

	run->refs = 2;
	run->done = spec->done;
	run->user = spec->user;
	run->output_max = spec->output_max;
	/* Before anything is heard, which may be the end. */
	*ret = run;
	if (runtime_guest_exec(runtime, question, &exec, &run->exec, err) < 0) {
		free(run);
		return -1;
	}
	if (spec->input_count)
		guest_exec_input(run->exec, spec->input, spec->input_count, true);
	return 0;
}

void guest_run_release(GuestRun *run)
{
	guest_exec_cancel(run->exec);
	unref(run);
}
