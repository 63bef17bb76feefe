/* SPDX-License-Identifier: Apache-2.0 */

/* The client against a server that does all that can go wrong, for every kind of request. */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/firecracker_api.h"
#include "tests/support/fault_server.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define FAULT(text) \
	"HTTP/1.1 400 \r\nContent-Type: application/json\r\nContent-Length: " text "\r\n\r\n"
#define BUSY "HTTP/1.1 503 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

enum {
	LONG = 60 * USEC_PER_SEC, /* never reached where the code is right */
	SHORT = 60 * USEC_PER_MSEC,
};

typedef struct Client {
	FaultServer *server;
	FirecrackerApi *api;
	json_t *body;
	int cancel, ended;
} Client;

static void client_open(Client *client, const char *path, int64_t patience)
{
	FirecrackerApiConfig config = { .socket_path = path };
	Error err = { 0 };

	config.cancel_fd = client->cancel = eventfd(0, EFD_CLOEXEC);
	config.vmm_pidfd = client->ended = eventfd(0, EFD_CLOEXEC);
	for (int i = 0; i < FIRECRACKER_KIND_COUNT_; i++)
		config.timeouts[i] = patience;
	client->body = json_pack("{s:s}", "state", "Paused");
	cr_assert_eq(firecracker_api_open(&client->api, &config, &err), 0, "%s", err.what);
}

static void client_close(Client *client)
{
	firecracker_api_close(client->api);
	json_decref(client->body);
	(void)close(client->cancel);
	(void)close(client->ended);
	if (client->server)
		fault_server_free(client->server);
	*client = (Client){ 0 };
}

static const struct {
	const char *method, *path;
} requests[] = {
	[FIRECRACKER_LOOK] = { "GET", "/" },
	[FIRECRACKER_CONFIGURE] = { "PUT", "/machine-config" },
	[FIRECRACKER_BOOT] = { "PUT", "/actions" },
	[FIRECRACKER_SWITCH] = { "PATCH", "/vm" },
	[FIRECRACKER_ACT] = { "PUT", "/actions" },
	[FIRECRACKER_SNAPSHOT] = { "PUT", "/snapshot/create" },
};

static int client_call(Client *client, FirecrackerKind kind, json_t **ret, Error *err)
{
	const FirecrackerCall call = {
		.kind = kind,
		.method = requests[kind].method,
		.path = requests[kind].path,
		.body = kind == FIRECRACKER_LOOK ? NULL : client->body,
	};

	return firecracker_api_call(client->api, &call, ret, err);
}

/* Every kind of request fails so, in these words. */
static void check_failure(const FaultStep *steps, size_t count, int64_t patience, ErrorCause cause,
			  const char *words)
{
	for (FirecrackerKind kind = 0; kind < FIRECRACKER_KIND_COUNT_; kind++) {
		Client client = { .server = fault_server_new(steps, count) };
		cleanup_free char *request =
			text_printf("%s %s: ", requests[kind].method, requests[kind].path);
		json_t *reply = NULL;
		Error err = { 0 };

		client_open(&client, fault_server_path(client.server), patience);

		cr_assert_eq(client_call(&client, kind, &reply, &err), -1, "%s", request);

		cr_assert_eq(err.kind, ERROR_VMM_FAILED);
		cr_assert_eq(err.cause, cause, "%s", err.what);
		cr_assert_eq(strncmp(err.what, request, strlen(request)), 0, "%s", err.what);
		cr_assert_not_null(strstr(err.what, words), "%s", err.what);
		cr_assert_null(reply);
		client_close(&client);
	}
}

Test(firecracker_api, a_request_arrives_as_it_was_meant_and_its_answer_is_read)
{
	static const FaultStep steps[] = {
		{ .says = "HTTP/1.1 200 \r\nContent-Length: 54\r\n\r\n"
			  "{\"state\": \"Paused\", \"vmm_version\": \"1.2.3\", \"id\": \"a\"}" },
		{ .says = FAULT_204 },
	};
	Client client = { .server = fault_server_new(steps, array_size(steps)) };
	FirecrackerInfo info;
	json_t *reply = NULL;
	Error err = { 0 };

	client_open(&client, fault_server_path(client.server), LONG);

	cr_assert_eq(firecracker_api_info(client.api, &info, &err), 0, "%s", err.what);
	for (FirecrackerKind kind = FIRECRACKER_CONFIGURE; kind < FIRECRACKER_KIND_COUNT_; kind++)
		cr_assert_eq(client_call(&client, kind, &reply, &err), 0, "%s", err.what);

	cr_assert_str_eq(info.state, "Paused");
	cr_assert_str_eq(info.version, "1.2.3");
	cr_assert_null(reply);
	cr_assert_str_eq(fault_server_stop(client.server),
			 "GET / \n"
			 "PUT /machine-config {\"state\":\"Paused\"}\n"
			 "PUT /actions {\"state\":\"Paused\"}\n"
			 "PATCH /vm {\"state\":\"Paused\"}\n"
			 "PUT /actions {\"state\":\"Paused\"}\n"
			 "PUT /snapshot/create {\"state\":\"Paused\"}\n");
	client_close(&client);
}

Test(firecracker_api, a_fault_message_is_carried_up)
{
	static const FaultStep steps[] = {
		{ .says = FAULT("39") "{\"fault_message\":\"no\\n \\u0007way, sir\"}" },
	};

	check_failure(steps, 1, LONG, CAUSE_HOST, "400: no   way, sir");
}

Test(firecracker_api, a_refusal_in_no_json_is_quoted)
{
	static const FaultStep steps[] = { { .says = FAULT("6") "plain!" } };

	check_failure(steps, 1, LONG, CAUSE_HOST, "400: plain!");
}

Test(firecracker_api, a_vmm_with_too_many_connections_is_asked_again)
{
	static const FaultStep steps[] = {
		{ .says = BUSY, .then = FAULT_HANGS_UP },
		{ .says = BUSY, .then = FAULT_HANGS_UP },
		{ .says = FAULT_204 },
	};

	for (FirecrackerKind kind = 0; kind < FIRECRACKER_KIND_COUNT_; kind++) {
		Client client = { .server = fault_server_new(steps, array_size(steps)) };
		Error err = { 0 };

		client_open(&client, fault_server_path(client.server), LONG);

		cr_assert_eq(client_call(&client, kind, NULL, &err), 0, "%s", err.what);

		cr_assert_eq(fault_server_count(client.server), 3);
		client_close(&client);
	}
}

Test(firecracker_api, a_vmm_that_stays_busy_is_given_up_in_time)
{
	static const FaultStep steps[] = { { .says = BUSY, .then = FAULT_HANGS_UP } };

	check_failure(steps, 1, INT64_C(8) * SHORT, CAUSE_HOST, "503");
}

Test(firecracker_api, a_stalling_vmm_is_given_up_in_time)
{
	static const FaultStep silent[] = { { .says = "", .then = FAULT_STALLS } };
	static const FaultStep slow[] = {
		{ .says = "HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\n{", .then = FAULT_STALLS },
	};

	check_failure(silent, 1, SHORT, CAUSE_TIMEOUT, "did not answer in time");
	check_failure(slow, 1, SHORT, CAUSE_TIMEOUT, "did not answer in time");
}

Test(firecracker_api, an_answer_cut_short_is_none)
{
	static const FaultStep body[] = {
		{ .says = "HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\n{\"state\"",
		  .then = FAULT_HANGS_UP },
	};
	static const FaultStep head[] = { { .says = "HTTP/1.1 2", .then = FAULT_HANGS_UP } };

	check_failure(body, 1, LONG, CAUSE_HOST, "");
	check_failure(head, 1, LONG, CAUSE_HOST, "");
}

Test(firecracker_api, a_vmm_that_hangs_up_has_not_answered)
{
	static const FaultStep steps[] = { { .says = "", .then = FAULT_HANGS_UP } };

	check_failure(steps, 1, LONG, CAUSE_HOST, "");
}

Test(firecracker_api, nonsense_is_no_answer)
{
	static const FaultStep steps[] = {
		{ .says = "\x01\xff\xfe what is HTTP?\r\n\r\n", .then = FAULT_HANGS_UP },
	};
	static const FaultStep json[] = {
		{ .says = "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n[1,2]" },
	};

	check_failure(steps, 1, LONG, CAUSE_HOST, "");
	check_failure(json, 1, LONG, CAUSE_HOST, "no JSON object");
}

Test(firecracker_api, an_answer_without_end_is_cut_off)
{
	static const FaultStep body[] = {
		{ .says = "HTTP/1.1 200 \r\nContent-Length: 100000000\r\n\r\n",
		  .then = FAULT_STAYS },
	};
	static const FaultStep header[] = {
		{ .says = "HTTP/1.1 200 \r\nX: "
			  "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n",
		  .repeats = 100000,
		  .then = FAULT_HANGS_UP },
	};
	static const FaultStep filled[] = {
		{ .says = "HTTP/1.1 200 \r\n\r\n0123456789012345678901234567890123456789",
		  .repeats = 100000,
		  .then = FAULT_HANGS_UP },
	};

	check_failure(body, 1, SHORT, CAUSE_TIMEOUT, "did not answer in time");
	check_failure(header, 1, LONG, CAUSE_HOST, "");
	check_failure(filled, 1, LONG, CAUSE_HOST, "more than 65536 bytes");
}

Test(firecracker_api, giving_up_and_the_vmms_end_are_noticed_while_it_stalls)
{
	static const FaultStep steps[] = { { .says = "", .then = FAULT_STALLS } };

	for (FirecrackerKind kind = 0; kind < FIRECRACKER_KIND_COUNT_; kind++)
		for (int ended = 0; ended < 2; ended++) {
			Client client = { .server = fault_server_new(steps, 1) };
			Error err = { 0 };

			client_open(&client, fault_server_path(client.server), LONG);
			cr_assert_eq(eventfd_write(ended ? client.ended : client.cancel, 1), 0);

			cr_assert_eq(client_call(&client, kind, NULL, &err), -1);

			cr_assert_not_null(strstr(err.what, ended ? "has ended" : "given up"), "%s",
					   err.what);
			client_close(&client);
		}
}

static void *cancel_later(void *user)
{
	clock_sleep_us(SHORT);
	(void)eventfd_write(*(int *)user, 1);
	return NULL;
}

Test(firecracker_api, giving_up_interrupts_a_wait_under_way)
{
	static const FaultStep steps[] = { { .says = "", .then = FAULT_STALLS } };
	Client client = { .server = fault_server_new(steps, 1) };
	pthread_t thread;
	Error err = { 0 };

	client_open(&client, fault_server_path(client.server), LONG);
	cr_assert_eq(pthread_create(&thread, NULL, cancel_later, &client.cancel), 0);

	cr_assert_eq(client_call(&client, FIRECRACKER_BOOT, NULL, &err), -1);

	cr_assert_not_null(strstr(err.what, "given up"), "%s", err.what);
	cr_assert_eq(fault_server_count(client.server), 1);
	(void)pthread_join(thread, NULL);
	client_close(&client);
}

/* A socket that is bound and does not listen. */
static int bind_only(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	text_copy(address.sun_path, sizeof address.sun_path, path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

Test(firecracker_api, a_vmm_that_refuses_fails_at_once)
{
	char dir[] = "/tmp/hearth-fault-XXXXXX";
	cleanup_free char *path = NULL;
	cleanup_close int fd = -1;

	cr_assert_not_null(mkdtemp(dir));
	path = text_printf("%s/api.sock", dir);
	fd = bind_only(path); /* bound, never listening */
	cr_assert_geq(fd, 0);
	for (FirecrackerKind kind = 0; kind < FIRECRACKER_KIND_COUNT_; kind++) {
		Client client = { 0 };
		Error err = { 0 };

		client_open(&client, path, LONG);

		cr_assert_eq(client_call(&client, kind, NULL, &err), -1);

		cr_assert_eq(err.cause, CAUSE_HOST, "%s", err.what);
		client_close(&client);
	}
	(void)unlink(path);
	(void)rmdir(dir);
}

Test(firecracker_api, a_socket_not_yet_there_is_waited_for)
{
	char dir[] = "/tmp/hearth-fault-XXXXXX";
	cleanup_free char *path = NULL;
	cleanup_close int fd = -1;
	Client client = { 0 };
	Error err = { 0 };

	cr_assert_not_null(mkdtemp(dir));
	path = text_printf("%s/api.sock", dir);
	client_open(&client, path, LONG);

	cr_assert_eq(firecracker_api_wait(client.api, SHORT, &err), -1);
	cr_assert_eq(err.cause, CAUSE_TIMEOUT, "%s", err.what);
	error_clear(&err);
	fd = bind_only(path);
	cr_assert_eq(firecracker_api_wait(client.api, SHORT, &err), -1);
	cr_assert_eq(err.cause, CAUSE_TIMEOUT, "%s", err.what);
	error_clear(&err);
	cr_assert_eq(listen(fd, 1), 0);
	cr_assert_eq(firecracker_api_wait(client.api, LONG, &err), 0, "%s", err.what);

	cr_assert_eq(eventfd_write(client.ended, 1), 0);
	(void)unlink(path);
	cr_assert_eq(firecracker_api_wait(client.api, LONG, &err), -1);
	cr_assert_not_null(strstr(err.what, "has ended"), "%s", err.what);
	client_close(&client);
	(void)unlink(path);
	(void)rmdir(dir);
}

/* Where a VMM that owns its socket's directory would lead the agent. */
static void check_led_nowhere(const char *path)
{
	for (FirecrackerKind kind = 0; kind < FIRECRACKER_KIND_COUNT_; kind++) {
		cleanup_free char *words = text_printf("%s is not a socket", path);
		Client client = { 0 };
		Error err = { 0 }, waiting = { 0 };

		client_open(&client, path, LONG);

		cr_expect_eq(client_call(&client, kind, NULL, &err), -1);
		cr_expect_eq(err.kind, ERROR_VMM_FAILED);
		cr_expect_not_null(strstr(err.what, words), "%s", err.what);
		cr_expect_eq(firecracker_api_wait(client.api, LONG, &waiting), -1);
		cr_expect_eq(waiting.kind, ERROR_VMM_FAILED);
		cr_expect_not_null(strstr(waiting.what, words), "%s", waiting.what);
		client_close(&client);
	}
}

Test(firecracker_api, what_is_no_socket_itself_is_not_followed_to_one)
{
	static const FaultStep steps[] = { { .says = FAULT_204 } };
	FaultServer *server = fault_server_new(steps, array_size(steps));
	char dir[] = "/tmp/hearth-fault-XXXXXX";
	cleanup_free char *path = NULL;

	cr_assert_not_null(mkdtemp(dir));
	path = text_printf("%s/api.sock", dir);
	cr_assert_eq(symlink(fault_server_path(server), path), 0);
	check_led_nowhere(path);
	cr_expect_eq(unlink(path), 0);
	cr_expect_eq(symlink("/nowhere", path), 0);
	check_led_nowhere(path);
	cr_expect_eq(unlink(path), 0);
	cr_expect_eq(mkfifo(path, 0600), 0);
	check_led_nowhere(path);

	cr_expect_eq(fault_server_count(server), 0);
	fault_server_free(server);
	(void)unlink(path);
	(void)rmdir(dir);
}

Test(firecracker_api, a_socket_whose_path_fits_no_address_is_reached)
{
	static const FaultStep steps[] = { { .says = FAULT_204 } };
	Client client = { .server = fault_server_new(steps, array_size(steps)) };
	char dir[] = "/tmp/hearth-fault-XXXXXX";
	cleanup_free char *deep = NULL, *path = NULL;
	Error err = { 0 };

	cr_assert_not_null(mkdtemp(dir));
	deep = text_printf("%s/%0200d", dir, 0);
	path = text_printf("%s/api.sock", deep);
	cr_assert_eq(mkdir(deep, 0700), 0);
	cr_assert_eq(rename(fault_server_path(client.server), path), 0);
	client_open(&client, path, LONG);

	cr_expect_eq(firecracker_api_wait(client.api, LONG, &err), 0, "%s", err.what);
	for (FirecrackerKind kind = 0; kind < FIRECRACKER_KIND_COUNT_; kind++)
		cr_expect_eq(client_call(&client, kind, NULL, &err), 0, "%s", err.what);

	cr_expect_eq(fault_server_count(client.server), FIRECRACKER_KIND_COUNT_);
	client_close(&client);
	(void)unlink(path);
	(void)rmdir(deep);
	(void)rmdir(dir);
}

Test(firecracker_api, a_socket_that_is_exchanged_later_is_not_gone_over_to)
{
	static const FaultStep steps[] = {
		{ .says = "HTTP/1.1 204 \r\nConnection: close\r\n\r\n", .then = FAULT_HANGS_UP },
	};
	Client client = { .server = fault_server_new(steps, array_size(steps)) };
	FaultServer *other = fault_server_new(steps, array_size(steps));
	Error err = { 0 };

	client_open(&client, fault_server_path(client.server), LONG);
	cr_expect_eq(client_call(&client, FIRECRACKER_LOOK, NULL, &err), 0, "%s", err.what);
	cr_expect_eq(rename(fault_server_path(other), fault_server_path(client.server)), 0);

	cr_expect_eq(client_call(&client, FIRECRACKER_ACT, NULL, &err), 0, "%s", err.what);

	cr_expect_eq(fault_server_count(client.server), 2);
	cr_expect_eq(fault_server_count(other), 0);
	fault_server_free(other);
	client_close(&client);
}

Test(firecracker_api, an_answer_without_state_is_not_believed)
{
	static const FaultStep steps[] = {
		{ .says = "HTTP/1.1 200 \r\nContent-Length: 12\r\n\r\n{\"state\": 1}" },
		{ .says = FAULT_204 },
	};
	Client client = { .server = fault_server_new(steps, array_size(steps)) };
	FirecrackerInfo info;

	client_open(&client, fault_server_path(client.server), LONG);
	for (int i = 0; i < 2; i++) {
		Error err = { 0 };

		cr_assert_eq(firecracker_api_info(client.api, &info, &err), -1);
		cr_assert_not_null(strstr(err.what, "no state"), "%s", err.what);
	}
	client_close(&client);
}
