/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest_request.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

int64_t guest_timeout(const Google__Protobuf__Duration *timeout, int64_t max, int64_t unset,
		      Error *err)
{
	Error found = { 0 };
	int64_t usec = request_duration(timeout, "timeout", 0, max, unset, &found);

	if (error_is_set(&found) || usec < USEC_PER_MSEC)
		(void)error_add_violation(err, "timeout", "must be 1 ms to %" PRId64 " s", max);
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

size_t guest_check_env(const GuestEnv *env, Error *err)
{
	size_t bytes = 0;
	bool bad = false;

	for (size_t i = 0; i < env->count; i++) {
		bytes += strlen(env->items[i].name) + strlen(env->items[i].value) + 2;
		bad |= !is_name(env->items[i].name);
	}
	if (bad)
		(void)error_add_violation(
			err, "env", "names must be 1 to %d bytes of [A-Za-z0-9_], no digit first",
			GUEST_NAME_MAX);
	return bytes;
}
