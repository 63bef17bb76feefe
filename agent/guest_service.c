/* SPDX-License-Identifier: Apache-2.0 */

/*
 * GuestService, but for programs: what is asked of the daemon in a guest. Nothing here
 * waits: the answer comes on the guests' thread.
 */

#include "agent/guest_request.h"
#include "agent/handlers.h"
#include "base/clock.h"

enum {
	TIMEOUT = 5 * USEC_PER_SEC,
	TIMEOUT_MAX_SEC = 300,
};

/* One RPC that waits for its guest. */
typedef struct Waiting {
	Call *call;
	int64_t began; /* monotonic */
} Waiting;

static Waiting *waiting_new(Call *call)
{
	Waiting *waiting = new0(Waiting);

	waiting->call = call_ref(call);
	waiting->began = clock_mono_us();
	return waiting;
}

static void waiting_free(Waiting *waiting)
{
	call_unref(waiting->call);
	free(waiting);
}
DEFINE_CLEANUP(Waiting *, waiting_free);

/* Of a question that could not be asked. */
static void end_if(int r, Waiting *waiting, const Error *err)
{
	if (r == 0)
		return;
	guest_fail(waiting->call, err);
	waiting_free(waiting);
}

static void pinged(void *user, int64_t uptime, const Error *err)
{
	cleanup_(waiting_freep) Waiting *waiting = user;
	Google__Protobuf__Duration up, trip;
	Hearth__V1__PingResponse response;

	if (err) {
		guest_fail(waiting->call, err);
		return;
	}
	hearth__v1__ping_response__init(&response);
	guest_duration(&up, uptime);
	guest_duration(&trip, clock_mono_us() - waiting->began);
	response.uptime = &up;
	response.round_trip = &trip;
	call_reply(waiting->call, &response.base);
}

static void ping(Call *call, Runtime *runtime, const Hearth__V1__PingRequest *request)
{
	GuestQuestion question = { .vm_id = request->vm_id, .expected_uid = request->expected_uid };
	Error err = { 0 };

	request_check_vm_id(request->vm_id, &err);
	question.timeout =
		guest_timeout("timeout", request->timeout, TIMEOUT_MAX_SEC, TIMEOUT, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	question.done = pinged;
	question.user = waiting_new(call);
	end_if(runtime_guest_ping(runtime, &question, &err), question.user, &err);
}

static void env_is_set(void *user, int64_t uptime, const Error *err)
{
	cleanup_(waiting_freep) Waiting *waiting = user;
	Hearth__V1__SetEnvResponse response = HEARTH__V1__SET_ENV_RESPONSE__INIT;

	(void)uptime;
	if (err)
		guest_fail(waiting->call, err);
	else
		call_reply(waiting->call, &response.base);
}

static void set_env(Call *call, Runtime *runtime, const Hearth__V1__SetEnvRequest *request)
{
	GuestQuestion question = { .vm_id = request->vm_id, .expected_uid = request->expected_uid };
	cleanup_free GuestVariable *items = new0_array(GuestVariable, request->n_env);
	GuestEnv env = { items, request->n_env, request->replace };
	Error err = { 0 };

	for (size_t i = 0; i < request->n_env; i++)
		items[i] = (GuestVariable){ request->env[i]->key, request->env[i]->value };
	request_check_vm_id(request->vm_id, &err);
	question.timeout =
		guest_timeout("timeout", request->timeout, TIMEOUT_MAX_SEC, TIMEOUT, &err);
	if (guest_check_env("env", &env, &err) > GUEST_DATA_MAX)
		(void)error_add_violation(&err, "env", "has more than %d bytes", GUEST_DATA_MAX);
	if (request_fail(call, request->vm_id, &err))
		return;
	question.done = env_is_set;
	question.user = waiting_new(call);
	end_if(runtime_guest_set_env(runtime, &question, &env, &err), question.user, &err);
}

static void secret_is_set(void *user, int64_t uptime, const Error *err)
{
	cleanup_(waiting_freep) Waiting *waiting = user;
	Hearth__V1__SetSecretResponse response = HEARTH__V1__SET_SECRET_RESPONSE__INIT;

	(void)uptime;
	if (err)
		guest_fail(waiting->call, err);
	else
		call_reply(waiting->call, &response.base);
}

static void check_secret(const Hearth__V1__SetSecretRequest *request, Error *err)
{
	request_check_vm_id(request->vm_id, err);
	guest_check_name("name", request->name, err);
	if (request->data.len > GUEST_DATA_MAX)
		(void)error_add_violation(err, "data", "has more than %d bytes", GUEST_DATA_MAX);
	if (request->data.len && request->remove)
		(void)error_add_violation(err, "data", "not with remove");
}

static void set_secret(Call *call, Runtime *runtime, const Hearth__V1__SetSecretRequest *request)
{
	GuestQuestion question = { .vm_id = request->vm_id, .expected_uid = request->expected_uid };
	const void *data = request->data.len ? (const void *)request->data.data : "";
	const GuestSecret secret = { request->name, request->remove ? NULL : data,
				     request->data.len };
	Error err = { 0 };

	check_secret(request, &err);
	question.timeout =
		guest_timeout("timeout", request->timeout, TIMEOUT_MAX_SEC, TIMEOUT, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	question.done = secret_is_set;
	question.user = waiting_new(call);
	end_if(runtime_guest_set_secret(runtime, &question, &secret, &err), question.user, &err);
}

static DEFINE_HANDLER(GuestService, ping, Ping, PingResponse);
static DEFINE_HANDLER(GuestService, set_env, SetEnv, SetEnvResponse);
static DEFINE_HANDLER(GuestService, set_secret, SetSecret, SetSecretResponse);

Hearth__V1__GuestService_Service guest_service = HEARTH__V1__GUEST_SERVICE__INIT(handle_);
