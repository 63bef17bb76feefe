/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest_request.h"

#include "base/clock.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
	ARGUMENTS_MAX = 256
};

void guest_fail(Call *call, const Error *err)
{
	Error told = *err;

	error_about_vm(&told, call_vm_id(call));
	call_fail(call, &told);
}

int64_t guest_timeout(const char *field, const Google__Protobuf__Duration *timeout, int64_t max,
		      int64_t unset, Error *err)
{
	Error found = { 0 };
	int64_t usec = request_duration(timeout, field, 0, max, unset, &found);

	if (timeout && (error_is_set(&found) || usec < USEC_PER_MSEC))
		(void)error_add_violation(err, field, "must be 1 ms to %" PRId64 " s", max);
	return usec;
}

void guest_duration(Google__Protobuf__Duration *to, int64_t usec)
{
	google__protobuf__duration__init(to);
	to->seconds = usec / USEC_PER_SEC;
	to->nanos = (int32_t)(usec % USEC_PER_SEC) * 1000;
}

static bool is_name(const char *name)
{
	static const char digits[] = "0123456789";
	static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
	size_t length = strlen(name);

	return length >= 1 && length <= GUEST_NAME_MAX && !strchr(digits, name[0]) &&
	       strspn(name, all) == length;
}

void guest_check_name(const char *field, const char *name, Error *err)
{
	static const char all[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = strlen(name);

	if (length < 1 || length > GUEST_NAME_MAX || name[0] == '.' || strspn(name, all) != length)
		(void)error_add_violation(err, field,
					  "must be 1 to %d bytes of [A-Za-z0-9._-], no dot first",
					  GUEST_NAME_MAX);
}

size_t guest_check_env(const char *field, const GuestEnv *env, Error *err)
{
	size_t bytes = 0;
	bool bad = false;

	for (size_t i = 0; i < env->count; i++) {
		bytes += strlen(env->items[i].name) + strlen(env->items[i].value) + 2;
		bad |= !is_name(env->items[i].name);
	}
	if (bad)
		(void)error_add_violation(
			err, field, "names must be 1 to %d bytes of [A-Za-z0-9_], no digit first",
			GUEST_NAME_MAX);
	return bytes;
}

/* One violation of @prefix and @field. */
static void object(Error *err, const char *prefix, const char *field, const char *why, int number)
{
	char path[64];
	cleanup_free char *text = text_printf("%s%d", why, number);

	(void)snprintf(path, sizeof path, "%s%s", prefix, field);
	(void)error_add_violation(err, path, "%s", number < 0 ? why : text);
}

void guest_check_program(const char *prefix, const GuestProgram *program, Error *err)
{
	char env[64];
	size_t bytes = 0;

	(void)snprintf(env, sizeof env, "%senv", prefix);
	bytes = guest_check_env(env, &program->env, err);
	for (size_t i = 0; i < program->argc; i++)
		bytes += strlen(program->argv[i]) + 1;
	if (program->argc < 1 || program->argc > ARGUMENTS_MAX || !*program->argv[0])
		object(err, prefix, "command", "must be a program and its arguments, at most ",
		       ARGUMENTS_MAX);
	if (bytes > GUEST_DATA_MAX)
		object(err, prefix, "command", "has with env more bytes than ", GUEST_DATA_MAX);
	if (*program->dir && program->dir[0] != '/')
		object(err, prefix, "working_dir", "must be an absolute path", -1);
	if (strlen(program->dir) > GUEST_DATA_MAX / 4)
		object(err, prefix, "working_dir", "is too long", -1);
	if (strlen(program->user) > GUEST_NAME_MAX)
		object(err, prefix, "user", "has more bytes than ", GUEST_NAME_MAX);
}
