/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
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

static bool ask_thrice(void *user)
{
	return ++*(int *)user < 3;
}

/* @script, with options. */
static int sh_options(const char *script, const ProcessOptions *options, ProcessResult *ret)
{
	cleanup_free char *copy = strdup(script);
	char *argv[] = { (char[]){ "/bin/sh" }, (char[]){ "-c" }, copy, NULL };

	return process_run_options(ret, argv, options);
}

Test(process, descriptors_are_inherited_in_their_order_whatever_their_numbers_are)
{
	static const char *const words[] = { "one ", "two ", "three " };
	int fds[array_size(words)];
	ProcessOptions options = { .output_max = 100, .timeout = TIMEOUT, .inherited = fds };
	ProcessResult result = { 0 };

	for (size_t i = 0; i < array_size(words); i++) {
		int fd;

		cr_assert_eq(file_in_memory(&fd, words[i], strlen(words[i])), 0);
		cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
		fds[array_size(words) - 1 - i] = fd;
	}
	options.inherited_count = array_size(words);

	cr_assert_eq(sh_options("cat <&5; cat <&4; cat <&3", &options, &result), 0);
	cr_expect_str_eq(result.output, "one two three ");
	free(result.output);
}

Test(process, who_asked_may_give_up)
{
	int asked = 0;
	const ProcessOptions options = {
		.output_max = 100, .timeout = TIMEOUT, .go_on = ask_thrice, .user = &asked
	};
	ProcessResult result = { 0 };

	cr_expect_eq(sh_options("sleep 100", &options, &result), -ECANCELED);
	asked = 0;
	cr_expect_eq(sh_options("exec >/dev/null 2>&1; sleep 100", &options, &result), -ECANCELED);
}

Test(process, one_that_never_stops_talking_is_ended_in_time)
{
	const ProcessOptions options = { .output_max = 100, .timeout = TIMEOUT / 100 };
	ProcessResult result = { 0 };

	cr_expect_eq(sh_options("while :; do echo; done", &options, &result), -ETIMEDOUT);
}
