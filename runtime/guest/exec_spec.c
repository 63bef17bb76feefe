/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/exec_spec.h"

#include <inttypes.h>
#include <string.h>

enum {
	ROWS = 24,
	COLS = 80,
};

static const int64_t timeout_most = INT64_C(1000) * 86400 * 3650;

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static int read_argv(GuestExecSpec *spec, const GuestRequest *request)
{
	const GuestJsonValue *list = NULL, *at;
	size_t count = 0;

	if (guest_request_list(request, "argv", GUEST_JSON_ARRAY, &list) < 0)
		return -1;
	at = list ? guest_json_first(request->json, list) : NULL;
	if (!at)
		return guest_request_bad(request, "argv");
	spec->argv = calloc((size_t)list->number + 1, sizeof *spec->argv);
	if (!spec->argv) {
		guest_session_fail(request->session, request->id, GUEST_EXHAUSTED, "no memory");
		return -1;
	}
	for (; at; at = guest_json_next(request->json, at)) {
		spec->argv[count] = guest_json_text(request->json, at);
		if (!spec->argv[count++])
			return guest_request_bad(request, "argv");
	}
	return *spec->argv[0] ? 0 : guest_request_bad(request, "argv");
}

static int read_env(GuestExecSpec *spec, const GuestRequest *request, const GuestEnv *env)
{
	const GuestJsonValue *own = NULL;
	int r;

	if (guest_request_list(request, "env", GUEST_JSON_OBJECT, &own) < 0)
		return -1;
	r = guest_env_copy(&spec->env, env);
	if (r == 0 && own)
		r = guest_env_merge(&spec->env, request->json, own);
	if (r == 0 && !guest_env_get(&spec->env, "PATH"))
		r = guest_env_set(&spec->env, "PATH", default_path);
	if (r == -EINVAL)
		return guest_request_bad(request, "env");
	if (r < 0)
		guest_session_fail_errno(request->session, request->id, r, "env");
	return r < 0 ? -1 : 0;
}

/* A name, or a number either way. */
static int read_user(GuestExecSpec *spec, const GuestRequest *request)
{
	const GuestJsonValue *user = guest_json_member(request->json, request->object, "user");

	if (!user)
		return 0;
	if (user->type == GUEST_JSON_NUMBER && user->number >= 0 && user->number < UINT32_MAX) {
		(void)snprintf(spec->user_number, sizeof spec->user_number, "%" PRId64,
			       user->number);
		spec->user = spec->user_number;
		return 0;
	}
	if (guest_request_text(request, "user", GUEST_REQUIRED, &spec->user) < 0)
		return -1;
	return *spec->user ? 0 : guest_request_bad(request, "user");
}

int guest_exec_spec_read(GuestExecSpec *ret, const GuestRequest *request, const GuestEnv *env)
{
	*ret = (GuestExecSpec){ .cwd = "/", .rows = ROWS, .cols = COLS };
	if (read_argv(ret, request) < 0 || read_env(ret, request, env) < 0 ||
	    read_user(ret, request) < 0 ||
	    guest_request_text(request, "cwd", GUEST_OPTIONAL, &ret->cwd) < 0 ||
	    guest_request_bool(request, "tty", &ret->tty) < 0 ||
	    guest_request_bool(request, "stdin", &ret->input) < 0)
		return -1;
	if (guest_request_number(request, "rows", GUEST_OPTIONAL, GUEST_CELLS_MAX, &ret->rows) <
		    0 ||
	    guest_request_number(request, "cols", GUEST_OPTIONAL, GUEST_CELLS_MAX, &ret->cols) < 0)
		return -1;
	return guest_request_number(request, "timeout_ms", GUEST_OPTIONAL, timeout_most,
				    &ret->timeout_ms);
}

void guest_exec_spec_clear(GuestExecSpec *spec)
{
	guest_env_clear(&spec->env);
	free(spec->argv);
	spec->argv = NULL;
}
