/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/aside.h"

#include "base/text.h"

#include <string.h>

enum {
	CHANCE_BYTES = 8,
	CHANCE_DIGITS = 2 * CHANCE_BYTES,
};

char *aside_path(const char *dir, const char *what)
{
	char chance[CHANCE_DIGITS + 1];

	text_random_hex(chance, CHANCE_BYTES);
	return text_printf("%s/.%s-%s", dir, what, chance);
}

bool aside_is(const char *name, const char *const *whats)
{
	for (; *whats; whats++) {
		size_t length = strlen(*whats);
		const char *chance = name + length + 2;

		if (name[0] == '.' && strncmp(name + 1, *whats, length) == 0 &&
		    name[length + 1] == '-' && strlen(chance) == CHANCE_DIGITS &&
		    strspn(chance, "0123456789abcdef") == CHANCE_DIGITS)
			return true;
	}
	return false;
}
