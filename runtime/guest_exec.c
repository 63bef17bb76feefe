/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/exec_ids.h"
#include "runtime/guest_input.h"
#include "runtime/guest_internal.h"
#include "runtime/vm.h"

#include <stdatomic.h>
#include <string.h>

/* A program in a guest. What its user asks for is noted by whoever asks; it is said to the guest on
 * the guests' thread alone, so that it stays in order. */

typedef struct Chunk Chunk;
struct Chunk {
	Chunk *next;
	size_t count;
	char bytes[];
};

struct GuestExec {
	GuestCall call;
	atomic_uint refs; /* the user's, and the link's until the end */
	GuestLink *link;
	const GuestExecUser *functions;
	void *user;
	/* Until it is asked for. */
	Work work;
	char *run_dir, *exec_id;
	/* The guests' thread's. */
	size_t room; /* for input */
	size_t sent; /* of the first chunk */
	bool input_ended;

	Lock lock;
	/* under lock */
	Chunk *first, *last; /* of the input */
	bool input_ends;     /* behind them */
	bool cancelled;
	uint32_t rows, columns; /* not yet told; 0: told */
	uint64_t signals;       /* the same, a bit each */
};

void guest_exec_unref(GuestExec *exec)
{
	if (!exec || atomic_fetch_sub(&exec->refs, 1) != 1)
		return;
	while (exec->first) {
		Chunk *next = exec->first->next;

		free(exec->first);
		exec->first = next;
	}
	guest_link_unref(exec->link);
	free(exec->run_dir);
	free(exec->exec_id);
	free(exec);
}

/* The first of what is to be sent; @ended: there is nothing, and nothing comes. */
static const Chunk *first_chunk(GuestExec *exec, bool *ended)
{
	const Chunk *chunk;

	lock_take(&exec->lock);
	chunk = exec->first;
	*ended = !chunk && exec->input_ends;
	lock_drop(&exec->lock);
	return chunk;
}

static void drop_chunk(GuestExec *exec)
{
	Chunk *chunk;

	lock_take(&exec->lock);
	chunk = exec->first;
	exec->first = chunk->next;
	if (!exec->first)
		exec->last = NULL;
	lock_drop(&exec->lock);
	free(chunk);
	exec->sent = 0;
}

/* Return: is all of it on its way? */
static bool send_chunk(GuestExec *exec, const Chunk *chunk)
{
	while (exec->sent < chunk->count && exec->room) {
		size_t count = chunk->count - exec->sent;
		cleanup_free char *data = NULL;

		if (count > exec->room)
			count = exec->room;
		if (count > GUEST_DATA_MAX)
			count = GUEST_DATA_MAX;
		data = guest_encode(chunk->bytes + exec->sent, count);
		guest_link_tell(exec->link, exec->call.id, json_pack("{s:s}", "data", data));
		exec->sent += count;
		exec->room -= count;
	}
	return exec->sent == chunk->count;
}

static void send_input(GuestExec *exec)
{
	const Chunk *chunk;
	bool taken = false, ended;

	while ((chunk = first_chunk(exec, &ended)) && send_chunk(exec, chunk)) {
		drop_chunk(exec);
		taken = true;
	}
	if (ended && !exec->input_ended) {
		exec->input_ended = true;
		guest_link_tell(exec->link, exec->call.id, json_pack("{s:b}", "eof", 1));
	}
	if (taken && !chunk)
		exec->functions->taken(exec->user);
}

static void send_changes(GuestExec *exec)
{
	uint32_t rows, columns;
	uint64_t signals;

	lock_take(&exec->lock);
	rows = exec->rows;
	columns = exec->columns;
	signals = exec->signals;
	exec->rows = 0;
	exec->signals = 0;
	lock_drop(&exec->lock);

	if (rows)
		guest_link_tell(exec->link, exec->call.id,
				json_pack("{s:i, s:i}", "rows", (int)rows, "cols", (int)columns));
	for (int number = 1; number <= GUEST_SIGNAL_MAX; number++)
		if (signals & UINT64_C(1) << (number - 1))
			guest_link_tell(exec->link, exec->call.id,
					json_pack("{s:i}", "kill", number));
}

static void begin(GuestExec *exec, const json_t *answer)
{
	json_int_t pid = json_integer_value(json_object_get(answer, "pid"));

	exec->functions->begun(exec->user, pid > 0 && pid <= INT32_MAX ? (uint32_t)pid : 0);
	send_changes(exec);
	send_input(exec);
}

static void end(GuestExec *exec, const GuestEnd *end, const Error *err)
{
	exec->functions->ended(exec->user, end, err);
	guest_exec_unref(exec);
}

static void answered(GuestCall *call, const json_t *answer, const Error *err)
{
	GuestExec *exec = container_of(call, GuestExec, call);

	if (answer)
		begin(exec, answer);
	else
		end(exec, NULL, err);
}

static void take_output(GuestCall *call, int fd, const void *bytes, size_t count)
{
	GuestExec *exec = container_of(call, GuestExec, call);

	exec->functions->output(exec->user, fd, bytes, count);
}

static void take_room(GuestCall *call, size_t count)
{
	GuestExec *exec = container_of(call, GuestExec, call);

	/* No more than there can be: what the guest says is not trusted. */
	exec->room = count > GUEST_CREDIT - exec->room ? GUEST_CREDIT : exec->room + count;
	send_input(exec);
}

static void poked(GuestCall *call)
{
	GuestExec *exec = container_of(call, GuestExec, call);

	send_changes(exec);
	send_input(exec);
}

static void ended(GuestCall *call, const GuestEnd *how, const Error *err)
{
	end(container_of(call, GuestExec, call), how, err);
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
	(void)json_object_set_new(request, "stdin", json_boolean(program->has_input));
	if (program->timeout)
		(void)json_object_set_new(request, "timeout_ms",
					  json_integer((program->timeout + 999) / 1000));
	if (!program->rows)
		return request;
	(void)json_object_set_new(request, "tty", json_true());
	(void)json_object_set_new(request, "rows", json_integer(program->rows));
	(void)json_object_set_new(request, "cols", json_integer(program->columns));
	return request;
}

/* The id is spent before the guest hears of the program. */
static void spend_and_ask(Work *work)
{
	GuestExec *exec = container_of(work, GuestExec, work);
	Error err = { 0 };
	bool cancelled;

	if (exec_ids_spend(exec->run_dir, exec->exec_id, &err) < 0) {
		json_decref(take_ptr(exec->call.request));
		end(exec, NULL, &err);
		return;
	}
	/* It may end at once, and its user be gone already. */
	atomic_fetch_add(&exec->refs, 1);
	guest_link_ask(exec->link, &exec->call);
	lock_take(&exec->lock);
	cancelled = exec->cancelled;
	lock_drop(&exec->lock);
	if (cancelled)
		guest_link_cancel(exec->link, exec->call.id);
	guest_exec_unref(exec);
}

/* Takes @link over. */
static GuestExec *exec_new(GuestLink *link, const GuestQuestion *question,
			   const GuestProgram *program)
{
	GuestExec *exec = new0(GuestExec);

	exec->refs = 2;
	exec->link = link;
	exec->room = GUEST_CREDIT;
	lock_init(&exec->lock);
	exec->call = (GuestCall){
		.id = guest_link_next_id(link),
		.op = "exec",
		.request = request_of(program),
		.timeout = question->timeout,
		.done = answered,
		.output = take_output,
		.credit = take_room,
		.poked = poked,
		.ended = ended,
	};
	return exec;
}

int runtime_guest_exec(Runtime *runtime, const GuestQuestion *question, const GuestExecSpec *spec,
		       GuestExec **ret, Error *err)
{
	cleanup_(guest_way_clear) GuestWay way = { 0 };
	GuestExec *exec;

	if (guest_find(runtime, question, &way, err) < 0)
		return -1;
	exec = *ret = exec_new(guest_link_ref(way.link), question, &spec->program);
	exec->functions = spec->functions;
	exec->user = spec->user;
	if (!spec->exec_id) {
		guest_link_ask(exec->link, &exec->call);
		return 0;
	}
	exec->run_dir = vm_run_dir(way.vm);
	exec->exec_id = text_dup(spec->exec_id);
	exec->work.run = spend_and_ask;
	workers_submit(runtime->desk, &exec->work);
	return 0;
}

void guest_exec_cancel(GuestExec *exec)
{
	lock_take(&exec->lock);
	exec->cancelled = true;
	lock_drop(&exec->lock);
	guest_link_cancel(exec->link, exec->call.id);
}

void guest_exec_input(GuestExec *exec, const void *bytes, size_t count, bool last)
{
	Chunk *chunk = count ? must_calloc(1, sizeof *chunk + count) : NULL;

	if (chunk) {
		chunk->count = count;
		memcpy(chunk->bytes, bytes, count);
	}
	lock_take(&exec->lock);
	if (chunk && exec->last)
		exec->last->next = chunk;
	else if (chunk)
		exec->first = chunk;
	if (chunk)
		exec->last = chunk;
	exec->input_ends |= last;
	lock_drop(&exec->lock);
	guest_link_poke(exec->link, exec->call.id);
}

void guest_exec_allow(GuestExec *exec, size_t count)
{
	guest_link_allow(exec->link, exec->call.id, count);
}

void guest_exec_resize(GuestExec *exec, uint32_t rows, uint32_t columns)
{
	lock_take(&exec->lock);
	exec->rows = rows;
	exec->columns = columns;
	lock_drop(&exec->lock);
	guest_link_poke(exec->link, exec->call.id);
}

void guest_exec_signal(GuestExec *exec, uint32_t number)
{
	lock_take(&exec->lock);
	exec->signals |= UINT64_C(1) << (number - 1);
	lock_drop(&exec->lock);
	guest_link_poke(exec->link, exec->call.id);
}
