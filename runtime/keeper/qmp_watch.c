/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/qmp_watch.h"

#include "base/text.h"

#include <string.h>

static const char reason_letters[] = "abcdefghijklmnopqrstuvwxyz-";

/* The text after "@key": "  in @line, or NULL. */
static const char *value_of(const char *line, const char *key)
{
	size_t length = strlen(key);
	const char *at = line;

	while ((at = strstr(at, key))) {
		bool quoted = at > line && at[-1] == '"' && at[length] == '"';

		at += length;
		if (!quoted)
			continue;
		at += 1 + strspn(at + 1, " \t");
		if (*at != ':')
			continue;
		at += 1 + strspn(at + 1, " \t");
		if (*at == '"')
			return at + 1;
	}
	return NULL;
}

static bool value_is(const char *value, const char *text)
{
	size_t length = strlen(text);

	return value && strncmp(value, text, length) == 0 && value[length] == '"';
}

static void line_done(QmpWatch *watch)
{
	const char *event, *reason;
	size_t length;

	watch->line[watch->used] = '\0';
	if (strstr(watch->line, "\"QMP\""))
		watch->greeted = true;
	event = value_of(watch->line, "event");
	if (value_is(event, "GUEST_PANICKED"))
		text_copy(watch->evidence, sizeof watch->evidence, "guest-panic");
	/* QEMU resets or stops after a panic: the panic is the cause. */
	if (!value_is(event, "SHUTDOWN") || strcmp(watch->evidence, "guest-panic") == 0)
		return;
	reason = value_of(watch->line, "reason");
	length = reason ? strspn(reason, reason_letters) : 0;
	if (!length || length >= sizeof watch->evidence || reason[length] != '"')
		return;
	(void)memcpy(watch->evidence, reason, length);
	watch->evidence[length] = '\0';
}

void qmp_watch_feed(QmpWatch *watch, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '\n') {
			if (!watch->skipping)
				line_done(watch);
			watch->used = 0;
			watch->skipping = false;
		} else if (watch->used == sizeof watch->line - 1) {
			watch->skipping = true;
		} else {
			watch->line[watch->used++] = bytes[i];
		}
	}
}
