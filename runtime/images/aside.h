/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names in a catalog's directory of what is not whole yet, or is not to be there any more:
 * ".WHAT-" and 16 hexadecimal digits of chance. Safe from any thread.
 */

#include <stdbool.h>

/* A new one in @dir, for the caller to free. */
char *aside_path(const char *dir, const char *what);

/* Did aside_path() make @name, for one of @whats, which a NULL ends? */
bool aside_is(const char *name, const char *const *whats);
