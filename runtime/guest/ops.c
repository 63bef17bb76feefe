/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/ops.h"

#include "runtime/guest/network.h"
#include "runtime/guest/secret.h"
#include "runtime/guest/system.h"

#include <string.h>

typedef struct Op {
	const char *name;
	void (*serve)(Guest *guest, const GuestRequest *request);
} Op;

/* Answers what came of it, which is said with @what if it is a failure. */
static void answer(const GuestRequest *request, int r, const char *what)
{
	if (r < 0)
		guest_session_fail_errno(request->session, request->id, r, what);
	else
		guest_session_answer(request->session, request->id);
}

static void serve_ping(Guest *guest, const GuestRequest *request)
{
	(void)guest;
	guest_session_answer_number(request->session, request->id, "uptime_ms",
				    guest_system_uptime_ms());
}

/* Return: 0 or -errno, and then nothing has changed. */
static int change_env(Guest *guest, const GuestRequest *request, const GuestJsonValue *object,
		      bool replace)
{
	cleanup_(guest_env_clear) GuestEnv env = { 0 };
	int r = replace ? 0 : guest_env_copy(&env, &guest->env);

	if (r == 0)
		r = guest_env_merge(&env, request->json, object);
	if (r == 0)
		r = guest_env_write(&env, guest->dir);
	if (r < 0)
		return r;
	guest_env_clear(&guest->env);
	guest->env = env;
	env = (GuestEnv){ 0 };
	return 0;
}

static void serve_set_env(Guest *guest, const GuestRequest *request)
{
	const GuestJsonValue *object = NULL;
	bool replace = false;
	int r;

	if (guest_request_list(request, "env", GUEST_JSON_OBJECT, &object) < 0 ||
	    guest_request_bool(request, "replace", &replace) < 0)
		return;
	r = object ? change_env(guest, request, object, replace) : -EINVAL;
	if (r == -EINVAL)
		(void)guest_request_bad(request, "env");
	else
		answer(request, r, "env");
}

static void serve_set_secret(Guest *guest, const GuestRequest *request)
{
	const char *name;
	bool gone = false;
	char *bytes;
	size_t length;

	if (guest_request_text(request, "name", GUEST_REQUIRED, &name) < 0 ||
	    guest_request_bool(request, "remove", &gone) < 0)
		return;
	if (!guest_secret_is_name(name)) {
		(void)guest_request_bad(request, "name");
		return;
	}
	if (gone)
		answer(request, guest_secret_remove(guest->dir, name), "secret");
	else if (guest_request_data(request, "data", &bytes, &length) == 0)
		answer(request, guest_secret_set(guest->dir, name, bytes, length), "secret");
}

static void serve_ready(Guest *guest, const GuestRequest *request)
{
	GuestLine line;

	guest_session_begin(request->session, &line);
	guest_line_number(&line, "id", request->id);
	guest_line_bool(&line, "ready", guest->ready);
	guest_session_send(request->session, &line);
}

static void serve_exec(Guest *guest, const GuestRequest *request)
{
	guest_commands_exec(guest->commands, request, &guest->env);
}

static void serve_shutdown(Guest *guest, const GuestRequest *request)
{
	guest_session_answer(request->session, request->id);
	guest_freezer_release(&guest->freezer);
	guest_power_ask(&guest->power, false);
}

static void serve_reboot(Guest *guest, const GuestRequest *request)
{
	guest_session_answer(request->session, request->id);
	guest_freezer_release(&guest->freezer);
	guest_power_ask(&guest->power, true);
}

static void serve_reseed(Guest *guest, const GuestRequest *request)
{
	char *bytes;
	size_t length;

	(void)guest;
	if (guest_request_data(request, "data", &bytes, &length) == 0)
		answer(request, guest_system_reseed(bytes, length), "reseed");
}

static void serve_set_clock(Guest *guest, const GuestRequest *request)
{
	int64_t time_ns;

	(void)guest;
	if (guest_request_number(request, "time_ns", GUEST_REQUIRED, INT64_MAX, &time_ns) == 0)
		answer(request, guest_system_set_clock(time_ns), "time_ns");
}

static void serve_set_network(Guest *guest, const GuestRequest *request)
{
	GuestNetworkSpec spec;
	const char *what = NULL;
	int r;

	(void)guest;
	if (guest_network_spec_read(&spec, request) < 0)
		return;
	r = guest_network_set(&spec, &what);
	answer(request, r, what);
}

static void serve_freeze(Guest *guest, const GuestRequest *request)
{
	guest_freezer_freeze(&guest->freezer, request);
}

static void serve_thaw(Guest *guest, const GuestRequest *request)
{
	guest_freezer_thaw(&guest->freezer, request);
}

static void serve_stats(Guest *guest, const GuestRequest *request)
{
	GuestLine line;

	(void)guest;
	guest_session_begin(request->session, &line);
	guest_line_number(&line, "id", request->id);
	guest_system_stats(&line);
	guest_session_send(request->session, &line);
}

static const Op ops[] = {
	{ "ping", serve_ping },
	{ "set_env", serve_set_env },
	{ "set_secret", serve_set_secret },
	{ "ready", serve_ready },
	{ "exec", serve_exec },
	{ "shutdown", serve_shutdown },
	{ "reboot", serve_reboot },
	{ "reseed", serve_reseed },
	{ "set_clock", serve_set_clock },
	{ "set_network", serve_set_network },
	{ "freeze", serve_freeze },
	{ "thaw", serve_thaw },
	{ "stats", serve_stats },
};

void guest_ops_serve(Guest *guest, const GuestRequest *request, const char *op)
{
	for (size_t i = 0; i < array_size(ops); i++) {
		if (strcmp(ops[i].name, op) != 0)
			continue;
		ops[i].serve(guest, request);
		return;
	}
	guest_session_fail(request->session, request->id, GUEST_UNKNOWN_OP, "%s", op);
}
