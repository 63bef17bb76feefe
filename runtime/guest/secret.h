/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Secrets: files in the directory "secrets", for whoever runs in the guest as root.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	GUEST_SECRETS_MAX = 256
};

/* May a secret have this name? */
bool guest_secret_is_name(const char *name);

/* Return: 0, -ENOSPC (there are GUEST_SECRETS_MAX others), -errno. */
int guest_secret_set(const char *dir, const char *name, const void *bytes, size_t length)
	must_check;

/* One that is not there is removed. Return: 0 or -errno. */
int guest_secret_remove(const char *dir, const char *name) must_check;
