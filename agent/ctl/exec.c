/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/exec.h"

#include "agent/ctl/json.h"
#include "agent/ctl/terminal.h"

#include <grpc/status.h>
#include <signal.h>
#include <sys/signalfd.h>

enum {
	EXIT_SIGNAL = 128, /* and its number, as shells have it */
	READ_MAX = 16 << 10,
	WRITE_MAX = 4096, /* PIPE_BUF: what poll() says there is room for */
};

enum {
	FD_STREAM,
	FD_SIGNALS,
	FD_INPUT,
	FD_OUTPUT,
	FD_COUNT
};

typedef struct Exec {
	bool json;
	bool terminal;
	ClientStream *stream;
	int signal_fd;

	bool started;
	bool ended;
	int exit_status;
	bool timed_out;

	bool input;      /* there may be more of it */
	bool resized;    /* to be told */
	uint32_t signal; /* to be told, or 0 */
	bool signalled;  /* one was, or will be */

	Hearth__V1__ExecResponse *answer; /* whose bytes are being written, or NULL */
	size_t written;

	bool interrupted;
	const char *failing; /* what could not be done here, and why; or NULL */
	int errnum;
} Exec;

static void exec_release(Exec *exec)
{
	message_freep(&exec->answer);
	if (exec->stream)
		client_stream_free(exec->stream);
	closep(&exec->signal_fd);
}

static int fail(Exec *exec, const char *what, int errnum)
{
	exec->failing = what;
	exec->errnum = errnum;
	return -1;
}

/* Could not be done yet, though poll() said so. */
static bool is_passing(int errnum)
{
	return errnum == EINTR || errnum == EAGAIN;
}

/* Is what is next to be written of the answer error output? */
static bool is_error_next(const Exec *exec)
{
	return exec->written >= exec->answer->output.len;
}

static void drop_written(Exec *exec)
{
	if (exec->written < exec->answer->output.len + exec->answer->error_output.len)
		return;
	message_free(take_ptr(exec->answer));
	exec->written = 0;
}

static int write_some(Exec *exec)
{
	bool error = is_error_next(exec);
	const ProtobufCBinaryData *part =
		error ? &exec->answer->error_output : &exec->answer->output;
	size_t at = exec->written - (error ? exec->answer->output.len : 0);
	size_t count = part->len - at < WRITE_MAX ? part->len - at : WRITE_MAX;
	ssize_t n = write(error ? STDERR_FILENO : STDOUT_FILENO, part->data + at, count);

	if (n < 0)
		return is_passing(errno) ? 0 : fail(exec, "write what it wrote", errno);
	exec->written += (size_t)n;
	drop_written(exec);
	return 0;
}

static int start(Exec *exec)
{
	int r = 0;

	if (exec->terminal && !exec->started)
		r = terminal_set_raw();
	exec->started = true;
	return r < 0 ? fail(exec, "set the terminal", -r) : 0;
}

static void end(Exec *exec, const Hearth__V1__ExecEnded *ended)
{
	exec->ended = true;
	exec->timed_out = ended->timed_out;
	exec->exit_status = ended->signal ? EXIT_SIGNAL | ended->signal : ended->exit_code;
}

/* An answer has come. */
static int accept_answer(Exec *exec)
{
	if (exec->answer->started && start(exec) < 0)
		return -1;
	if (exec->answer->ended)
		end(exec, exec->answer->ended);
	if (exec->json) {
		json_print_message(&exec->answer->base, false);
		message_free(take_ptr(exec->answer));
	} else {
		drop_written(exec);
	}
	return 0;
}

/* Answers, until there is one to write: 1; 0 when there will be no more; or -1. */
static int receive(Exec *exec, Failure *failure)
{
	while (!exec->answer && client_stream_arrived(exec->stream)) {
		int got = client_stream_next(exec->stream, &exec->answer, failure);

		if (got <= 0)
			return got;
		if (accept_answer(exec) < 0)
			return -1;
	}
	return 1;
}

static bool can_tell(const Exec *exec)
{
	return exec->started && !exec->ended && client_stream_sent(exec->stream);
}

/* Reads into @request's input, @buffer; or says that it ends. */
static int read_input(Exec *exec, Hearth__V1__ExecRequest *request, uint8_t *buffer)
{
	ssize_t n = read(STDIN_FILENO, buffer, READ_MAX);

	if (n < 0)
		return is_passing(errno) ? 0 : fail(exec, "read standard input", errno);
	request->input = (ProtobufCBinaryData){ .len = (size_t)n, .data = buffer };
	/* And not the end of requests: the program can still be sent signals. */
	request->end_of_input = n == 0;
	exec->input = n > 0;
	return 0;
}

/* Tells the program what there is to tell, in one request. */
static int tell(Exec *exec, bool readable)
{
	Hearth__V1__ExecRequest request;
	Hearth__V1__TerminalSize size;
	uint8_t buffer[READ_MAX];

	if (!can_tell(exec))
		return 0;
	hearth__v1__exec_request__init(&request);
	hearth__v1__terminal_size__init(&size);
	if (readable && read_input(exec, &request, buffer) < 0)
		return -1;
	if (exec->resized) {
		terminal_size(&size.rows, &size.columns);
		request.terminal = &size;
	}
	request.signal = exec->signal;
	exec->resized = false;
	exec->signal = 0;
	if (request.input.len || request.end_of_input || request.terminal || request.signal)
		client_stream_send(exec->stream, &request.base);
	return 0;
}

static void take_signals(Exec *exec)
{
	struct signalfd_siginfo info;

	while (read(exec->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGWINCH) {
			exec->resized = exec->terminal;
		} else if (!exec->started || exec->signalled) {
			exec->interrupted = true;
		} else {
			exec->signal = info.ssi_signo;
			exec->signalled = true;
		}
	}
}

/* Waits until there is something to do and does what concerns descriptors. */
static int serve(Exec *exec)
{
	struct pollfd fds[FD_COUNT] = {
		[FD_SIGNALS] = { .fd = exec->signal_fd, .events = POLLIN },
		[FD_INPUT] = { .fd = exec->input && can_tell(exec) ? STDIN_FILENO : -1,
			       .events = POLLIN },
		[FD_OUTPUT] = { .fd = -1, .events = POLLOUT },
	};

	if (exec->answer)
		fds[FD_OUTPUT].fd = is_error_next(exec) ? STDERR_FILENO : STDOUT_FILENO;
	client_stream_poll(exec->stream, fds, FD_COUNT);
	take_signals(exec);
	if (exec->interrupted)
		return -1;
	if (exec->answer && fds[FD_OUTPUT].revents && write_some(exec) < 0)
		return -1;
	return tell(exec, fds[FD_INPUT].revents != 0);
}

static int outcome(const Exec *exec, int got, const Failure *failure)
{
	if (exec->failing)
		return failure_report_local(exec->json, EXIT_LOCAL, "exec: cannot %s: %s",
					    exec->failing, strerrordesc_np(exec->errnum));
	if (exec->ended) {
		if (exec->timed_out)
			(void)fputs("hearthctl: exec: killed, as its time was up\n", stderr);
		return exec->exit_status;
	}
	if (exec->interrupted)
		return failure_report_local(
			exec->json, EXIT_RPC + GRPC_STATUS_CANCELLED,
			"exec: interrupted; the program, if it runs, is killed");
	if (got < 0)
		return failure_report(failure, exec->json);
	return failure_report_local(exec->json, EXIT_RPC + GRPC_STATUS_INTERNAL,
				    "exec: the agent did not tell how it ended");
}

/* Signals come through a descriptor; blocked in gRPC's threads too, which are made after this. */
static int block_signals(Exec *exec)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGWINCH);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	exec->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return exec->signal_fd < 0 ? fail(exec, "watch signals", errno) : 0;
}

static int open_stream(Exec *exec, Ctl *ctl, const Hearth__V1__ExecRequest *first)
{
	exec->stream = client_duplex(ctl_client(ctl), guest_method("Exec"), &first->base,
				     ctl_timeout(ctl, CLIENT_FOREVER));
	return exec->stream ? 0 : fail(exec, "wait for the agent", errno);
}

int exec_run(Ctl *ctl, const Hearth__V1__ExecRequest *first, bool input)
{
	cleanup_(failure_release) Failure failure = { 0 };
	cleanup_(exec_release) Exec exec = {
		.json = ctl_json(ctl),
		.terminal = first->terminal != NULL,
		.signal_fd = -1,
		.input = input,
	};
	int got = 1;

	if (block_signals(&exec) < 0 || open_stream(&exec, ctl, first) < 0)
		return outcome(&exec, -1, &failure);
	while (got > 0) {
		got = receive(&exec, &failure);
		if (got > 0 && serve(&exec) < 0)
			got = -1;
	}
	terminal_restore();
	return outcome(&exec, got, &failure);
}
