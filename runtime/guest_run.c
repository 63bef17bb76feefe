/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/guest_input.h"
#include "runtime/guest_internal.h"

#include <stdatomic.h>
#include <string.h>

/* A program that is run to its end, what it writes kept as far as that is wanted. */

struct GuestRun {
	GuestCall call;
	atomic_uint refs; /* the caller's, and the link's until the end */
	GuestLink *link;
	GuestRunDone *done;
	void *user;
	/* The guests' thread's. */
	char *input;
	size_t input_count, input_sent, input_room;
	char *output[2];
	size_t count[2], output_max;
	bool truncated;
};

static void unref(GuestRun *run)
{
	if (atomic_fetch_sub(&run->refs, 1) != 1)
		return;
	guest_link_unref(run->link);
	free(run->input);
	free(run->output[0]);
	free(run->output[1]);
	free(run);
}

static void finish(GuestRun *run, const GuestEnd *end, const Error *err)
{
	const GuestRan ran = {
		.end = end ? *end : (GuestEnd){ 0 },
		.output = { run->output[0], run->output[1] },
		.count = { run->count[0], run->count[1] },
		.truncated = run->truncated,
	};

	run->done(run->user, err ? NULL : &ran, err);
	unref(run);
}

/* As much of the input as there is room for, and then its end. */
static void send_input(GuestRun *run)
{
	while (run->input_sent < run->input_count && run->input_room > 0) {
		size_t left = run->input_count - run->input_sent;
		size_t count = left < run->input_room ? left : run->input_room;
		cleanup_free char *data = NULL;

		if (count > GUEST_DATA_MAX)
			count = GUEST_DATA_MAX;
		data = guest_encode(run->input + run->input_sent, count);
		run->input_sent += count;
		run->input_room -= count;
		guest_link_tell(run->link, run->call.id, json_pack("{s:s}", "data", data));
	}
	if (run->input_count && run->input_sent == run->input_count) {
		run->input_count = 0;
		guest_link_tell(run->link, run->call.id, json_pack("{s:b}", "eof", 1));
	}
}

static void begun(GuestCall *call, const json_t *answer, const Error *err)
{
	GuestRun *run = container_of(call, GuestRun, call);

	if (answer)
		send_input(run);
	else
		finish(run, NULL, err);
}

static void take_output(GuestCall *call, int fd, const void *bytes, size_t count)
{
	GuestRun *run = container_of(call, GuestRun, call);
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
	guest_link_allow(run->link, run->call.id, count);
}

static void take_room(GuestCall *call, size_t count)
{
	GuestRun *run = container_of(call, GuestRun, call);

	run->input_room =
		count > GUEST_CREDIT - run->input_room ? GUEST_CREDIT : run->input_room + count;
	send_input(run);
}

static void ended(GuestCall *call, const GuestEnd *end, const Error *err)
{
	finish(container_of(call, GuestRun, call), end, err);
}

static json_t *request_of(const GuestProgram *program)
{
	json_t *argv = json_array();
	json_t *request = json_object();

	for (size_t i = 0; i < program->argc; i++)
		(void)json_array_append_new(argv, json_string(program->argv[i]));
	(void)json_object_set_new(request, "argv", argv);
	(void)json_object_set_new(request, "env", guest_env_object(&program->env));
	if (*program->dir)
		(void)json_object_set_new(request, "cwd", json_string(program->dir));
	if (*program->user)
		(void)json_object_set_new(request, "user", json_string(program->user));
	(void)json_object_set_new(request, "stdin", json_boolean(program->input_count > 0));
	(void)json_object_set_new(request, "timeout_ms",
				  json_integer((program->timeout + 999) / 1000));
	return request;
}

int runtime_guest_run(Runtime *runtime, const GuestQuestion *question, const GuestProgram *program,
		      GuestRun **ret, Error *err)
{
	GuestLink *link = NULL;
	GuestRun *run;

	if (guest_find(runtime, question, &link, err) < 0)
		return -1;
	run = new0(GuestRun);
	run->refs = 2;
	run->link = link;
	run->done = program->done;
	run->user = program->done_user;
	run->input = must_calloc(program->input_count, 1);
	if (program->input_count)
		memcpy(run->input, program->input, program->input_count);
	run->input_count = program->input_count;
	run->input_room = GUEST_CREDIT;
	run->output_max = program->output_max;
	run->call = (GuestCall){
		.op = "exec",
		.request = request_of(program),
		.timeout = question->timeout,
		.done = begun,
		.output = take_output,
		.credit = take_room,
		.ended = ended,
	};
	*ret = run;
	(void)guest_link_ask(link, &run->call);
	return 0;
}

void guest_run_release(GuestRun *run)
{
	guest_link_cancel(run->link, run->call.id);
	unref(run);
}
