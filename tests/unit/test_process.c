/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	TIMEOUT = 30 * 1000000,
	LARGE = 300000, /* more than a pipe holds */
};

static char *sh(const char *script, const char *input, size_t output_max)
{
	char shell[] = "/bin/sh", option[] = "-c";
	char *argv[] = { shell, option, NULL, NULL };
	char *copy = strdup(script);
	ProcessResult result = { 0 };
	int r;

	argv[2] = copy;
	r = process_run_with(&result, argv, input, output_max, TIMEOUT);
	free(copy);
	cr_assert_eq(r, 0);
	cr_assert_eq(result.code, 0);
	return result.output;
}

Test(process, a_program_reads_what_it_is_given_to_the_end)
{
	cleanup_free char *input = new0_array(char, LARGE + 1);
	cleanup_free char *output = NULL;

	memset(input, 'x', LARGE);
	output = sh("cat", input, LARGE);

	cr_assert_str_eq(output, input);
}

Test(process, one_that_does_not_read_ends_all_the_same)
{
	cleanup_free char *input = new0_array(char, LARGE + 1);
	cleanup_free char *output = NULL;

	memset(input, 'x', LARGE);
	output = sh("echo done", input, 100);

	cr_assert_str_eq(output, "done\n");
}

Test(process, without_a_text_there_is_nothing_to_read)
{
	cleanup_free char *output = sh("cat; echo end", NULL, 100);

	cr_assert_str_eq(output, "end\n");
}

Test(process, output_beyond_the_limit_is_left_out)
{
	cleanup_free char *output = sh("cat", "0123456789", 4);

	cr_assert_str_eq(output, "0123");
}
