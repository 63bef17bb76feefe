/* SPDX-License-Identifier: Apache-2.0 */
#include "base/words.h"

#include "base/text.h"

/* Takes @word over. */
static void take(Words *words, char *word)
{
	words->items = must_realloc(words->items, words->count + 2, sizeof *words->items);
	words->items[words->count++] = word;
	words->items[words->count] = NULL;
}

void words_add(Words *words, const char *word)
{
	take(words, text_dup(word));
}

void words_add_option(Words *words, const char *option, const char *value)
{
	words_add(words, option);
	words_add(words, value);
}

void words_printf(Words *words, const char *option, const char *format, ...)
{
	va_list ap;

	words_add(words, option);
	va_start(ap, format);
	take(words, text_vprintf(format, ap));
	va_end(ap);
}

void words_clear(Words *words)
{
	words_free(words->items);
	*words = (Words){ 0 };
}

void words_free(char **items)
{
	for (size_t i = 0; items && items[i]; i++)
		free(items[i]);
	free(items);
}
