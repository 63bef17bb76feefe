/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a host sends to hearth-guest: the first byte says how large the pieces are in which the
 * rest arrives. Requests are read as the daemon reads them, and none is carried out.
 */

#include "runtime/guest/command.h"
#include "runtime/guest/network_spec.h"
#include "runtime/guest/secret.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

typedef struct Fuzz {
	GuestSession *session;
	GuestCommand command; /* has ended, so that nothing is killed */
	GuestEnv env;
} Fuzz;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void nothing(void *user)
{
	(void)user;
}

static void read_env(Fuzz *fuzz, const GuestRequest *request)
{
	const GuestJsonValue *object = NULL;

	if (guest_request_list(request, "env", GUEST_JSON_OBJECT, &object) == 0 && object)
		(void)!guest_env_merge(&fuzz->env, request->json, object);
}

static void read_secret(const GuestRequest *request)
{
	const char *name = NULL;
	char *bytes;
	size_t length;

	if (guest_request_text(request, "name", GUEST_REQUIRED, &name) < 0)
		return;
	if (guest_secret_is_name(name))
		assert(!strchr(name, '/') && name[0] != '.');
	if (guest_request_data(request, "data", &bytes, &length) == 0)
		assert(length <= GUEST_DATA_MAX);
}

static void serve(void *user, const GuestRequest *request, const char *op)
{
	Fuzz *fuzz = user;
	GuestExecSpec spec = { 0 };
	GuestNetworkSpec network;

	if (strcmp(op, "exec") == 0) {
		if (guest_exec_spec_read(&spec, request, &fuzz->env) == 0) {
			assert(spec.argv[0] && spec.argv[0][0]);
			guest_session_answer_number(fuzz->session, request->id, "pid", 1);
		}
		guest_exec_spec_clear(&spec);
	} else if (strcmp(op, "set_env") == 0) {
		read_env(fuzz, request);
	} else if (strcmp(op, "set_secret") == 0) {
		read_secret(request);
	} else if (strcmp(op, "set_network") == 0) {
		if (guest_network_spec_read(&network, request) == 0)
			guest_session_answer(fuzz->session, request->id);
	} else {
		guest_session_fail(fuzz->session, request->id, GUEST_UNKNOWN_OP, "%s", op);
	}
}

static void hear(void *user, const GuestRequest *line, int64_t id)
{
	Fuzz *fuzz = user;

	fuzz->command.id = id;
	guest_command_hear(&fuzz->command, line);
}

/* A host that reads, at times, what is said to it. */
static void feed(GuestSession *session, const uint8_t *data, size_t size, size_t piece)
{
	while (size) {
		size_t room, length;
		char *to = guest_session_room(session, &room);

		(void)guest_session_output(session, &length);
		if (!to || (piece & 1))
			guest_session_written(session, to ? length / 2 : length);
		if (!to)
			continue;
		room = room < piece ? room : piece;
		room = room < size ? room : size;
		memcpy(to, data, room);
		guest_session_read(session, room);
		data += room;
		size -= room;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const GuestSessionUser functions = {
		.begun = nothing, .over = nothing, .request = serve, .stream = hear
	};
	Fuzz fuzz = { .command = { .ended = true,
				   .status_fd = -1,
				   .outputs = { { .fd = -1 }, { .fd = -1 } },
				   .input_credit = GUEST_CREDIT } };
	size_t piece = size ? (size_t)data[0] + 1 : 1;

	fuzz.session = guest_session_new(&functions, &fuzz);
	fuzz.command.session = fuzz.session;
	fuzz.command.input_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (size)
		feed(fuzz.session, data + 1, size - 1, piece);
	closep(&fuzz.command.input_fd);
	free(fuzz.command.input);
	guest_env_clear(&fuzz.env);
	guest_session_free(fuzz.session);
	return 0;
}
