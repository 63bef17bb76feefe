/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A command line in the making: words one after the other, always ended by NULL. All are copied. */

#include "base/cleanup.h"

typedef struct Words {
	char **items; /* NULL before the first */
	size_t count;
} Words;

void words_add(Words *words, const char *word);
void words_add_option(Words *words, const char *option, const char *value);
/* An option whose value is formatted. */
void words_printf(Words *words, const char *option, const char *format, ...) printf_like(3, 4);

void words_clear(Words *words);

/* The same for items that were taken out. Accepts NULL. */
void words_free(char **items);
DEFINE_CLEANUP(char **, words_free);
