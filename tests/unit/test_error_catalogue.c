/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error_table.h"
#include "base/file.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

/* docs/errors.md tells of every error there is, as it is. */

enum {
	DOCUMENT_MAX = 1 << 20,
};

static char *read_catalogue(void)
{
	char *text;

	cr_assert_eq(file_read(&text, NULL, HEARTH_SOURCE_DIR "/docs/errors.md", DOCUMENT_MAX), 0);
	return text;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text += strlen(what);
	}
	return n;
}

Test(error_catalogue, each_kind_has_its_section_with_code_retry_and_message)
{
	static const struct {
		const char *kind, *line;
	} kinds[] = {
#define X(kind, code, retry, message) { #kind, #code ", " #retry ": `" message "`" },
		ERROR_TABLE(X)
#undef X
	};
	cleanup_free char *text = read_catalogue();
	const char *at = text;

	for (size_t i = 0; i < array_size(kinds); i++) {
		cleanup_free char *head =
			text_printf("\n### %s\n\n%s\n\n", kinds[i].kind, kinds[i].line);

		at = strstr(at, head);
		cr_assert(at, "no section, or not in the table's order: %s", head);
	}
	cr_expect_eq(count(text, "\n### "), array_size(kinds));
}

Test(error_catalogue, each_cause_and_retry_has_its_row)
{
	static const char *const rows[] = {
#define X(cause, code, retry) "| " #cause " | " #code " | " #retry " | ",
		CAUSE_TABLE(X)
#undef X
#define X(retry) "\n| " #retry " | ",
			RETRY_TABLE(X)
#undef X
	};
	cleanup_free char *text = read_catalogue();

	for (size_t i = 0; i < array_size(rows); i++)
		cr_expect(strstr(text, rows[i]), "%s", rows[i]);
}
