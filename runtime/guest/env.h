/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Environments: that of every command, as set_env says, and that of one.
 */

#include "runtime/guest/json.h"

enum {
	GUEST_ENV_MAX = 64 * 1024 /* bytes, with what each variable needs beside its text */
};

typedef struct GuestEnv {
	char **variables; /* NAME=TEXT; ends with NULL, or is NULL */
	size_t count, size;
} GuestEnv;

/* Wipes it, too. */
void guest_env_clear(GuestEnv *env);

/* Return: 0 or -ENOMEM, with some of it copied. */
int guest_env_copy(GuestEnv *to, const GuestEnv *from) must_check;

/* Return: 0, -EINVAL (no name), -ENOSPC (GUEST_ENV_MAX), -ENOMEM. */
int guest_env_set(GuestEnv *env, const char *name, const char *text) must_check;

/* Sets what a JSON object says. Return: as above; -EINVAL also when a value is no text. */
int guest_env_merge(GuestEnv *env, const GuestJson *json, const GuestJsonValue *object) must_check;

/* What a variable says, or NULL. */
const char *guest_env_get(const GuestEnv *env, const char *name);

/* Writes the file "env" in @dir, for shells. Return: 0 or -errno. */
int guest_env_write(const GuestEnv *env, const char *dir) must_check;
