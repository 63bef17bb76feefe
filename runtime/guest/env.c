/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/env.h"

#include "runtime/guest/dir.h"

#include <string.h>

static void wipe_text(char *text)
{
	if (!text)
		return;
	explicit_bzero(text, strlen(text));
	free(text);
}

void guest_env_clear(GuestEnv *env)
{
	for (size_t i = 0; i < env->count; i++)
		wipe_text(env->variables[i]);
	free(env->variables);
	*env = (GuestEnv){ 0 };
}

/* What a variable takes of GUEST_ENV_MAX. */
static size_t cost(const char *variable)
{
	return strlen(variable) + 1 + sizeof variable;
}

static bool is_name(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz0123456789";

	return *name && strspn(name, allowed) == strlen(name) && !(*name >= '0' && *name <= '9');
}

/* Return: where the variable is, env->count if it is not. */
static size_t find(const GuestEnv *env, const char *name)
{
	size_t length = strcspn(name, "=");

	for (size_t i = 0; i < env->count; i++)
		if (strncmp(env->variables[i], name, length) == 0 &&
		    env->variables[i][length] == '=')
			return i;
	return env->count;
}

/* Takes @variable over, unless it fails. */
static int put(GuestEnv *env, char *variable)
{
	size_t place = find(env, variable);
	size_t size = env->size + cost(variable);
	char **variables;

	if (place < env->count)
		size -= cost(env->variables[place]);
	if (size > GUEST_ENV_MAX)
		return -ENOSPC;
	if (place == env->count) {
		variables = reallocarray(env->variables, env->count + 2, sizeof *variables);
		if (!variables)
			return -ENOMEM;
		env->variables = variables;
		env->count++;
		variables[place + 1] = NULL;
	} else {
		wipe_text(env->variables[place]);
	}
	env->variables[place] = variable;
	env->size = size;
	return 0;
}

int guest_env_set(GuestEnv *env, const char *name, const char *text)
{
	char *variable = NULL;
	int r;

	if (!is_name(name))
		return -EINVAL;
	if (asprintf(&variable, "%s=%s", name, text) < 0)
		return -ENOMEM;
	r = put(env, variable);
	if (r < 0)
		wipe_text(variable);
	return r;
}

int guest_env_copy(GuestEnv *to, const GuestEnv *from)
{
	for (size_t i = 0; i < from->count; i++) {
		char *variable = strdup(from->variables[i]);
		int r = variable ? put(to, variable) : -ENOMEM;

		if (r < 0) {
			wipe_text(variable);
			return r;
		}
	}
	return 0;
}

int guest_env_merge(GuestEnv *env, const GuestJson *json, const GuestJsonValue *object)
{
	for (const GuestJsonValue *at = guest_json_first(json, object); at;
	     at = guest_json_next(json, at)) {
		const char *name = guest_json_name(json, at), *text = guest_json_text(json, at);
		int r = text ? guest_env_set(env, name, text) : -EINVAL;

		if (r < 0)
			return r;
	}
	return 0;
}

const char *guest_env_get(const GuestEnv *env, const char *name)
{
	size_t place = find(env, name);

	return place < env->count ? env->variables[place] + strlen(name) + 1 : NULL;
}

/* NAME='TEXT' and a newline; a quote within ends the quotes, and is followed by new ones. */
static char *write_variable(char *to, const char *variable)
{
	size_t name = strcspn(variable, "=") + 1;

	memcpy(to, variable, name);
	to += name;
	*to++ = '\'';
	for (const char *at = variable + name; *at; at++) {
		if (*at == '\'') {
			to = stpcpy(to, "'\\''");
		} else {
			*to++ = *at;
		}
	}
	*to++ = '\'';
	*to++ = '\n';
	return to;
}

int guest_env_write(const GuestEnv *env, const char *dir)
{
	size_t room = env->size * 4 + env->count * 3 + 1;
	char *text = malloc(room), *end = text;
	int r;

	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < env->count; i++)
		end = write_variable(end, env->variables[i]);
	r = guest_dir_make(dir);
	if (r == 0)
		r = guest_dir_write(dir, "env", text, (size_t)(end - text));
	explicit_bzero(text, room);
	free(text);
	return r;
}
