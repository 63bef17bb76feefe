/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/qmp.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"
#define ACCEPTED "{\"return\": {}, \"id\": 0}\r\n"

enum {
	LONG = 30 * USEC_PER_SEC, /* never reached where the code is right */
	SHORT = 50 * USEC_PER_MSEC,
};

/* A QEMU that says the next of its lines each time it hears one, and hangs up after the last. */
typedef struct FakeQemu {
	const char *const *lines;
	size_t count;
	bool hangs; /* instead of hanging up */
	char dir[32];
	char path[64];
	int listener, client;
	pthread_t thread;
} FakeQemu;

static void *fake_main(void *user)
{
	FakeQemu *qemu = user;
	char heard[4096];

	qemu->client = accept(qemu->listener, NULL, NULL);
	for (size_t i = 0; i < qemu->count; i++) {
		if (i && recv(qemu->client, heard, sizeof heard, 0) <= 0)
			return NULL;
		(void)send(qemu->client, qemu->lines[i], strlen(qemu->lines[i]), MSG_NOSIGNAL);
	}
	if (!qemu->hangs)
		(void)shutdown(qemu->client, SHUT_RDWR);
	return NULL;
}

static void fake_start(FakeQemu *qemu)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)stpcpy(qemu->dir, "/tmp/hearth-qmp-XXXXXX");
	cr_assert_not_null(mkdtemp(qemu->dir));
	(void)snprintf(qemu->path, sizeof qemu->path, "%s/qmp.sock", qemu->dir);
	text_copy(address.sun_path, sizeof address.sun_path, qemu->path);
	qemu->client = -1;
	qemu->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(qemu->listener, (struct sockaddr *)&address, sizeof address), 0);
	cr_assert_eq(listen(qemu->listener, 1), 0);
	cr_assert_eq(pthread_create(&qemu->thread, NULL, fake_main, qemu), 0);
}

static void fake_end(FakeQemu *qemu)
{
	(void)pthread_join(qemu->thread, NULL);
	(void)close(qemu->client);
	(void)close(qemu->listener);
	(void)unlink(qemu->path);
	(void)rmdir(qemu->dir);
}

static QmpConfig config_of(const FakeQemu *qemu)
{
	return (QmpConfig){
		.path = qemu->path,
		.vmm_pidfd = -1,
		.cancel_fd = -1,
		.connect_timeout = LONG,
		.command_timeout = LONG,
	};
}

#define FAKE(...)                                                            \
	{                                                                    \
		.lines = (const char *const[]){ __VA_ARGS__ },               \
		.count = array_size(((const char *const[]){ __VA_ARGS__ })), \
	}

Test(qmp, a_command_gets_its_answer_past_events)
{
	FakeQemu qemu = FAKE(GREETING, ACCEPTED,
			     "{\"event\": \"STOP\", \"timestamp\": {}}\r\n"
			     "{\"return\": {\"status\": \"paused\"}, \"id\": 1}\r\n");
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	cleanup_free char *status = NULL;
	Error err = { 0 };
	QmpConfig config;

	fake_start(&qemu);
	config = config_of(&qemu);
	cr_assert_eq(qmp_open(&qmp, &config, &err), 0, "%s", err.what);

	cr_assert_eq(qmp_status(qmp, &status, &err), 0, "%s", err.what);

	cr_assert_str_eq(status, "paused");
	fake_end(&qemu);
}

Test(qmp, what_was_to_be_said_to_the_client_before_is_passed_over)
{
	FakeQemu qemu = FAKE("{\"return\": {\"status\": \"active\"}, \"id\": 1}\r\n"
			     "{\"event\": \"MIGRATION\"}\r\n" GREETING,
			     ACCEPTED, "{\"return\": {\"status\": \"paused\"}, \"id\": 1}\r\n");
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	cleanup_free char *status = NULL;
	Error err = { 0 };
	QmpConfig config;

	fake_start(&qemu);
	config = config_of(&qemu);
	cr_assert_eq(qmp_open(&qmp, &config, &err), 0, "%s", err.what);

	cr_assert_eq(qmp_status(qmp, &status, &err), 0, "%s", err.what);

	cr_assert_str_eq(status, "paused");
	fake_end(&qemu);
}

Test(qmp, a_refusal_carries_qemus_own_words)
{
	FakeQemu qemu = FAKE(GREETING, ACCEPTED,
			     "{\"error\": {\"class\": \"GenericError\", \"desc\": \"reset is "
			     "required\"}, \"id\": 1}\r\n");
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error err = { 0 };
	QmpConfig config;

	fake_start(&qemu);
	config = config_of(&qemu);
	cr_assert_eq(qmp_open(&qmp, &config, &err), 0, "%s", err.what);

	cr_assert_eq(qmp_execute(qmp, "cont", NULL, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_eq(err.cause, CAUSE_HOST);
	cr_assert_str_eq(err.what, "qemu: cont: reset is required");
	fake_end(&qemu);
}

/* What an answer to the first command after the greeting leads to. */
static void check_answer(const char *answer, const char *words)
{
	FakeQemu qemu = FAKE(GREETING, ACCEPTED, answer);
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	cleanup_free char *status = NULL;
	Error err = { 0 };
	QmpConfig config;

	fake_start(&qemu);
	config = config_of(&qemu);
	cr_assert_eq(qmp_open(&qmp, &config, &err), 0, "%s", err.what);

	cr_assert_eq(qmp_status(qmp, &status, &err), -1, "%s", answer);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_eq(err.cause, CAUSE_HOST);
	cr_assert_not_null(strstr(err.what, words), "%s: %s", answer, err.what);
	fake_end(&qemu);
}

Test(qmp, nonsense_is_a_failure_that_says_so)
{
	check_answer("{\"return\": \r\n", "nonsense");
	check_answer("\x01\x02\xff\r\n", "nonsense");
	check_answer("[]\r\n", "nonsense");
	check_answer("{\"error\": {}, \"id\": 1}\r\n", "nonsense");
	check_answer("{\"return\": {\"status\": 5}, \"id\": 1}\r\n", "nonsense");
	check_answer("{\"return\": {\"status\": \"running\"}, \"id\": 9}\r\n", "another command");
	check_answer("{\"return\": {\"sta", "closed");
}

Test(qmp, silence_is_a_timeout)
{
	FakeQemu qemu = FAKE(GREETING, ACCEPTED, "{\"event\": \"STOP\"}\r\n");
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error err = { 0 };
	QmpConfig config;

	qemu.hangs = true;
	fake_start(&qemu);
	config = config_of(&qemu);
	config.command_timeout = SHORT;
	cr_assert_eq(qmp_open(&qmp, &config, &err), 0, "%s", err.what);

	cr_assert_eq(qmp_execute(qmp, "stop", NULL, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_eq(err.cause, CAUSE_TIMEOUT);
	fake_end(&qemu);
}

Test(qmp, a_missing_socket_is_a_timeout)
{
	FakeQemu nobody = { .path = "/tmp/hearth-no-such-socket" };
	QmpConfig config = config_of(&nobody);
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error err = { 0 };

	config.connect_timeout = SHORT;

	cr_assert_eq(qmp_open(&qmp, &config, &err), -1);

	cr_assert_eq(err.cause, CAUSE_TIMEOUT);
}

Test(qmp, an_ended_vmm_ends_the_wait)
{
	cleanup_close int ended = eventfd(1, EFD_CLOEXEC);
	FakeQemu nobody = { .path = "/tmp/hearth-no-such-socket" };
	QmpConfig config = config_of(&nobody);
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error err = { 0 };

	config.vmm_pidfd = ended;

	cr_assert_eq(qmp_open(&qmp, &config, &err), -1);

	cr_assert_eq(err.cause, CAUSE_HOST);
	cr_assert_not_null(strstr(err.what, "has ended"), "%s", err.what);
}

Test(qmp, a_cancelled_operation_ends_the_wait)
{
	FakeQemu qemu = FAKE(GREETING, ACCEPTED, "\r\n");
	cleanup_close int cancelled = eventfd(0, EFD_CLOEXEC);
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error err = { 0 };
	QmpConfig config;

	qemu.hangs = true;
	fake_start(&qemu);
	config = config_of(&qemu);
	config.cancel_fd = cancelled;
	cr_assert_eq(qmp_open(&qmp, &config, &err), 0, "%s", err.what);
	cr_assert_eq(eventfd_write(cancelled, 1), 0);

	cr_assert_eq(qmp_execute(qmp, "stop", NULL, &err), -1);

	cr_assert_not_null(strstr(err.what, "given up"), "%s", err.what);
	qmp_closep(&qmp);
	qmp = NULL;
	fake_end(&qemu);
}

Test(qmp, a_line_without_end_is_refused_at_its_limit)
{
	static char spaces[QMP_LINE_MAX + 1];
	QmpInput input = { 0 };
	QmpMessage message;

	memset(spaces, ' ', sizeof spaces);
	qmp_input_add(&input, spaces, QMP_LINE_MAX);
	cr_assert_eq(qmp_input_next(&input, &message), 0);
	qmp_input_add(&input, spaces, 1);

	cr_assert_eq(qmp_input_next(&input, &message), -EMSGSIZE);

	qmp_input_clear(&input);
}

Test(qmp, messages_arrive_whole_from_single_bytes)
{
	static const char text[] = "{\"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n \r\n"
				   "{\"return\": [], \"id\": 12}\n";
	QmpMessage messages[3] = { 0 };
	QmpInput input = { 0 };
	size_t n = 0;

	for (size_t i = 0; i + 1 < sizeof text; i++) {
		qmp_input_add(&input, text + i, 1);
		cr_assert_geq(qmp_input_next(&input, &messages[n]), 0);
		n += messages[n].text || messages[n].body;
	}

	cr_assert_eq(n, 2);
	cr_assert_eq(messages[0].type, QMP_EVENT);
	cr_assert_str_eq(messages[0].text, "RESET");
	cr_assert(json_is_true(json_object_get(messages[0].body, "guest")));
	cr_assert_eq(messages[1].type, QMP_RETURN);
	cr_assert_eq(messages[1].id, 12);
	for (size_t i = 0; i < n; i++)
		qmp_message_clear(&messages[i]);
	qmp_input_clear(&input);
}
