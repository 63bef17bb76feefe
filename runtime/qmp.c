/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/qmp.h"

#include "base/clock.h"
#include "base/text.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
	CHUNK = 4096,
	RETRY_MS = 10,    /* while the socket is not there yet */
	NOISE_MAX = 4096, /* events before one answer; more is no QEMU */
};

struct Qmp {
	int fd, vmm_pidfd, cancel_fd;
	int64_t command_timeout;
	int64_t next_id;
	QmpInput input;
};

/*
 * Waits at most @wait_ms for @events of the socket: 1, 0 when the time is over, -1 when there is
 * no sense in waiting. What an ended VMM has still sent is read first.
 */
static int wait_for(const Qmp *qmp, short events, int wait_ms, const char *what, Error *err)
{
	struct pollfd fds[] = {
		{ .fd = qmp->fd, .events = events },
		{ .fd = qmp->vmm_pidfd, .events = POLLIN },
		{ .fd = qmp->cancel_fd, .events = POLLIN },
	};
	int n = poll(fds, array_size(fds), wait_ms);

	if (n < 0 && errno != EINTR)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "qemu: %s: poll", what);
	if (n <= 0)
		return 0;
	if (fds[2].revents)
		return error_set(err, ERROR_VMM_FAILED, "qemu: %s: given up", what);
	if (qmp->fd >= 0 && fds[0].revents)
		return 1;
	return error_set(err, ERROR_VMM_FAILED, "qemu: %s: qemu has ended", what);
}

static int time_is_over(const char *what, Error *err)
{
	return error_set_cause(err, ERROR_VMM_FAILED, CAUSE_TIMEOUT, "qemu: %s: no answer in time",
			       what);
}

/* As send(), with a copy of @fd unless that is -1. */
static ssize_t send_some(int to, const char *text, size_t size, int fd)
{
	union {
		const char *from;
		char *to;
	} same = { text }; /* which is only read */
	struct iovec bytes = { .iov_base = same.to, .iov_len = size };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof fd)];
	} control = { .space = "" };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* @fd goes with the first byte. */
static int send_all(Qmp *qmp, const char *text, int fd, const char *what, int64_t deadline,
		    Error *err)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = send_some(qmp->fd, text, left, fd);

		if (n >= 0) {
			fd = -1;
			text += n;
			left -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return error_set_errno(err, ERROR_VMM_FAILED, errno, "qemu: %s: send",
					       what);
		if (clock_mono_us() >= deadline)
			return time_is_over(what, err);
		if (wait_for(qmp, POLLOUT, clock_left_ms(deadline), what, err) < 0)
			return -1;
	}
	return 0;
}

/* Reads what is there into the input. */
static int receive(Qmp *qmp, const char *what, Error *err)
{
	char chunk[CHUNK];
	ssize_t n = recv(qmp->fd, chunk, sizeof chunk, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "qemu: %s: receive", what);
	if (n == 0)
		return error_set(err, ERROR_VMM_FAILED, "qemu: %s: connection closed", what);
	qmp_input_add(&qmp->input, chunk, (size_t)n);
	return 0;
}

/* The next message of any type, before @deadline. */
static int next_message(Qmp *qmp, QmpMessage *ret, const char *what, int64_t deadline, Error *err)
{
	for (;;) {
		int r = qmp_input_next(&qmp->input, ret);

		if (r > 0)
			return 0;
		if (r == -EMSGSIZE)
			return error_set(err, ERROR_VMM_FAILED,
					 "qemu: %s: answered more than %d bytes in one line", what,
					 QMP_LINE_MAX);
		if (r < 0)
			return error_set(err, ERROR_VMM_FAILED, "qemu: %s: answered nonsense",
					 what);
		if (clock_mono_us() >= deadline)
			return time_is_over(what, err);
		r = wait_for(qmp, POLLIN, clock_left_ms(deadline), what, err);
		if (r < 0 || (r > 0 && receive(qmp, what, err) < 0))
			return -1;
	}
}

/* Takes over what @message holds. */
static int settle(QmpMessage *message, int64_t id, const char *what, json_t **ret, Error *err)
{
	int r = -1;

	/* A command QEMU could not read is answered without its id. */
	if (message->id != id && (message->type != QMP_ERROR || message->id != -1))
		r = error_set(err, ERROR_VMM_FAILED, "qemu: %s: answered another command", what);
	else if (message->type == QMP_ERROR)
		r = error_set(err, ERROR_VMM_FAILED, "qemu: %s: %s", what, message->text);
	else
		r = 0;
	if (r == 0 && ret)
		*ret = take_ptr(message->body);
	qmp_message_clear(message);
	return r;
}

/* One command on its way. */
typedef struct Request {
	const char *command;
	json_t *arguments; /* or NULL; borrowed */
	int fd;            /* that goes along, or -1 */
} Request;

/* Its line; to free. */
static char *line_of(const Request *request, int64_t id)
{
	json_t *json = json_pack("{s:s, s:I, s:O*}", "execute", request->command, "id",
				 (json_int_t)id, "arguments", request->arguments);
	cleanup_free char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	return text_printf("%s\r\n", text);
}

static int execute(Qmp *qmp, const Request *request, int64_t deadline, json_t **ret, Error *err)
{
	int64_t id = qmp->next_id++;
	const char *command = request->command;
	cleanup_free char *text = line_of(request, id);

	if (send_all(qmp, text, request->fd, command, deadline, err) < 0)
		return -1;
	for (int noise = 0; noise < NOISE_MAX; noise++) {
		QmpMessage message;

		if (next_message(qmp, &message, command, deadline, err) < 0)
			return -1;
		if (message.type == QMP_RETURN || message.type == QMP_ERROR)
			return settle(&message, id, command, ret, err);
		qmp_message_clear(&message);
	}
	return error_set(err, ERROR_VMM_FAILED, "qemu: %s: %d events and no answer", command,
			 NOISE_MAX);
}

/* Once: 0 when connected, 1 when it may work later, -1 when it won't. */
static int connect_once(Qmp *qmp, const struct sockaddr_un *address, Error *err)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, errno, "qemu: socket");
	if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0) {
		qmp->fd = take_fd(fd);
		return 0;
	}
	/* Not bound yet, not listening yet, or its queue is full. */
	if (errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN || errno == EINTR)
		return 1;
	return error_set_errno(err, ERROR_VMM_FAILED, errno, "qemu: connect %s", address->sun_path);
}

static int connect_until(Qmp *qmp, const char *path, int64_t deadline, Error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	if (strlen(path) >= sizeof address.sun_path)
		return error_set(err, ERROR_VMM_FAILED, "qemu: socket path too long: %s", path);
	(void)stpcpy(address.sun_path, path);
	for (;;) {
		r = connect_once(qmp, &address, err);
		if (r <= 0)
			return r;
		if (clock_mono_us() >= deadline)
			return error_set_cause(err, ERROR_VMM_FAILED, CAUSE_TIMEOUT,
					       "qemu: connect: nobody listens on %s", path);
		if (wait_for(qmp, 0, RETRY_MS, "connect", err) < 0)
			return -1;
	}
}

/* What is still to be said to a client that has hung up QEMU says to the next one, first. */
static int await_greeting(Qmp *qmp, int64_t deadline, Error *err)
{
	for (int noise = 0; noise < NOISE_MAX; noise++) {
		QmpMessage message;
		QmpType type;

		if (next_message(qmp, &message, "greeting", deadline, err) < 0)
			return -1;
		type = message.type;
		qmp_message_clear(&message);
		if (type == QMP_GREETING)
			return 0;
	}
	return error_set(err, ERROR_VMM_FAILED, "qemu: greeting: answered nonsense");
}

static int greet(Qmp *qmp, int64_t deadline, Error *err)
{
	if (await_greeting(qmp, deadline, err) < 0)
		return -1;
	return execute(qmp, &(Request){ "qmp_capabilities", NULL, -1 }, deadline, NULL, err);
}

int qmp_open(Qmp **ret, const QmpConfig *config, Error *err)
{
	int64_t deadline = clock_mono_us() + config->connect_timeout;
	cleanup_(qmp_closep) Qmp *qmp = new0(Qmp);

	qmp->fd = -1;
	qmp->vmm_pidfd = config->vmm_pidfd;
	qmp->cancel_fd = config->cancel_fd;
	qmp->command_timeout = config->command_timeout;
	if (connect_until(qmp, config->path, deadline, err) < 0 || greet(qmp, deadline, err) < 0)
		return -1;
	*ret = take_ptr(qmp);
	return 0;
}

void qmp_close(Qmp *qmp)
{
	if (qmp->fd >= 0)
		(void)close(qmp->fd);
	qmp_input_clear(&qmp->input);
	free(qmp);
}

static int64_t deadline_of(const Qmp *qmp)
{
	return clock_mono_us() + qmp->command_timeout;
}

int qmp_execute(Qmp *qmp, const char *command, json_t **ret, Error *err)
{
	return execute(qmp, &(Request){ command, NULL, -1 }, deadline_of(qmp), ret, err);
}

int qmp_command(Qmp *qmp, const char *command, json_t *arguments, json_t **ret, Error *err)
{
	int r = execute(qmp, &(Request){ command, arguments, -1 }, deadline_of(qmp), ret, err);

	json_decref(arguments);
	return r;
}

int qmp_send_fd(Qmp *qmp, const char *name, int fd, Error *err)
{
	json_t *arguments = json_pack("{s:s}", "fdname", name);
	int r = execute(qmp, &(Request){ "getfd", arguments, fd }, deadline_of(qmp), NULL, err);

	json_decref(arguments);
	return r;
}

int qmp_status(Qmp *qmp, char **ret, Error *err)
{
	json_t *answer = NULL;
	const char *status;

	if (qmp_execute(qmp, "query-status", &answer, err) < 0)
		return -1;
	status = json_string_value(json_object_get(answer, "status"));
	*ret = text_dup(status);
	json_decref(answer);
	if (!status)
		return error_set(err, ERROR_VMM_FAILED, "qemu: query-status: answered nonsense");
	return 0;
}
