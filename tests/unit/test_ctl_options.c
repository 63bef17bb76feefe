/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
static const Option globals[] = {
	{ "output", OPTION_CHOICE, 'o', .value = "FORMAT", .choices = "table|json", .help = "how" },
	{ 0 },
};

static const Option table[] = {
	{ "force", OPTION_FLAG, 'f', .help = "flag" },
	{ "quiet", OPTION_FLAG, 'q', .help = "flag" },
	{ "label", OPTION_TEXT, 'l', .many = true, .value = "KEY=VALUE", .help = "text" },
	{ "number", OPTION_NUMBER, 0, .value = "N", .help = "number" },
	{ "grace", OPTION_DURATION, 0, .value = "DURATION", .help = "duration" },
	{ "state", OPTION_ENUM, 's', .many = true, .value = "STATE", .help = "enum",
	  .names = &hearth__v1__vm_state__descriptor },
	{ "restart", OPTION_ENUM, 0, .value = "MODE", .help = "enum",
	  .names = &hearth__v1__restart_mode__descriptor },
	{ 0 },
};
/* clang-format on */

static Options options_new(void)
{
	return (Options){ .tables = { globals, table } };
}

/* Is this command line refused, with @words in the reason? */
static bool refuses(const char *const *line, const char *words)
{
	cleanup_(options_release) Options options = options_new();
	char problem[OPTION_PROBLEM_MAX] = "";

	return options_parse(&options, line, false, problem) < 0 && strstr(problem, words);
}

#define LINE(...) ((const char *const[]){ __VA_ARGS__, NULL })

Test(ctl_options, options_and_arguments_may_be_mixed)
{
	cleanup_(options_release) Options options = options_new();
	char problem[OPTION_PROBLEM_MAX];
	const char *const *line = LINE("web-1", "-f", "-ojson", "--number=7", "web-2", "--grace",
				       "1m30s", "--", "-f");
	int used = options_parse(&options, line, false, problem);

	cr_assert_eq(used, 9);
	cr_assert(options_has(&options, "force"));
	cr_assert_str_eq(options_text(&options, "output"), "json");
	cr_assert_eq(options_number(&options, "number", 0), 7);
	cr_assert_eq(options_duration(&options, "grace", 0), 90000000);
	cr_assert_eq(options.n_arguments, 3);
	cr_assert_str_eq(options.arguments[1], "web-2");
	cr_assert_str_eq(options.arguments[2], "-f");
}

Test(ctl_options, letters_may_share_a_word)
{
	cleanup_(options_release) Options options = options_new();
	char problem[OPTION_PROBLEM_MAX];

	cr_assert_eq(options_parse(&options, LINE("-fq", "-qla=b", "-qfo", "json", "web-1"), false,
				   problem),
		     5);

	cr_assert(options_has(&options, "force"));
	cr_assert(options_has(&options, "quiet"));
	cr_assert_str_eq(options_text(&options, "label"), "a=b");
	cr_assert_str_eq(options_text(&options, "output"), "json");
	cr_assert_eq(options.n_arguments, 1);
}

Test(ctl_options, parsing_can_stop_at_the_command)
{
	cleanup_(options_release) Options options = options_new();
	char problem[OPTION_PROBLEM_MAX];

	cr_assert_eq(options_parse(&options, LINE("-o", "json", "get", "--bogus"), true, problem),
		     2);
}

Test(ctl_options, what_was_not_given_has_its_default)
{
	cleanup_(options_release) Options options = options_new();

	cr_assert_not(options_has(&options, "force"));
	cr_assert_null(options_text(&options, "label"));
	cr_assert_eq(options_number(&options, "number", 3), 3);
	cr_assert_eq(options_enum(&options, "restart", 5), 5);
}

Test(ctl_options, repeated_options_keep_every_value)
{
	cleanup_(options_release) Options options = options_new();
	char problem[OPTION_PROBLEM_MAX];
	int states[4];
	size_t at = 0;

	cr_assert_eq(options_parse(&options,
				   LINE("-l", "a=b", "-s", "running,paused", "--label=c-", "-s",
					"failed"),
				   false, problem),
		     7);

	cr_assert_str_eq(options_next(&options, "label", &at), "a=b");
	cr_assert_str_eq(options_next(&options, "label", &at), "c-");
	cr_assert_null(options_next(&options, "label", &at));
	cr_assert_eq(options_enums(&options, "state", states, 4), 3);
	cr_assert_eq(states[0], HEARTH__V1__VM_STATE__VM_STATE_RUNNING);
	cr_assert_eq(states[2], HEARTH__V1__VM_STATE__VM_STATE_FAILED);
}

Test(ctl_options, what_makes_no_sense_is_refused_with_the_reason)
{
	cr_assert(refuses(LINE("--bogus"), "unknown option '--bogus'"));
	cr_assert(refuses(LINE("-x"), "unknown option '-x'"));
	cr_assert(refuses(LINE("--number", "7x"), "not a whole number"));
	cr_assert(refuses(LINE("--number", "99999999999999999999"), "not a whole number"));
	cr_assert(refuses(LINE("--number"), "needs a value"));
	cr_assert(refuses(LINE("--force=yes"), "takes no value"));
	cr_assert(refuses(LINE("-f=yes"), "takes no value"));
	cr_assert(refuses(LINE("-fx"), "unknown option '-x'"));
	cr_assert(refuses(LINE("-fo"), "--output needs a value"));
	cr_assert(refuses(LINE("-o", "yaml"), "none of table|json"));
	cr_assert(refuses(LINE("--restart", "sometimes"), "never, on-failure, always"));
	cr_assert(refuses(LINE("--state", "running,unspecified"), "none of"));
}

Test(ctl_options, durations_are_numbers_with_units)
{
	int64_t usec = -1;

	cr_assert_eq(duration_parse(&usec, "0"), 0);
	cr_assert_eq(usec, 0);
	cr_assert_eq(duration_parse(&usec, "1d2h3m4s5ms"), 0);
	cr_assert_eq(usec, 93784005000);
	cr_assert_eq(duration_parse(&usec, "1.5s"), 0);
	cr_assert_eq(usec, 1500000);
	cr_assert_eq(duration_parse(&usec, ""), -EINVAL);
	cr_assert_eq(duration_parse(&usec, "10"), -EINVAL);
	cr_assert_eq(duration_parse(&usec, "-1s"), -EINVAL);
	cr_assert_eq(duration_parse(&usec, "1.2.3s"), -EINVAL);
	cr_assert_eq(duration_parse(&usec, "1y"), -EINVAL);
	cr_assert_eq(duration_parse(&usec, "999999999d"), -ERANGE);
}

Test(ctl_options, enums_are_named_in_short)
{
	char text[40];
	int value = 0;

	cr_assert_str_eq(enum_text(&hearth__v1__restart_mode__descriptor, 2, text), "on-failure");
	cr_assert_str_eq(enum_text(&hearth__v1__restart_mode__descriptor, 77, text), "77");
	cr_assert_eq(enum_parse(&value, &hearth__v1__restart_mode__descriptor, "on-failure", 10),
		     0);
	cr_assert_eq(value, 2);
	cr_assert_eq(enum_parse(&value, &hearth__v1__restart_mode__descriptor, "on", 2), -EINVAL);
}

static void check_option(const Command *command, const Option *option)
{
	cr_assert(*option->help, "%s --%s", command->name, option->name);
	cr_assert_eq(option->value == NULL, option->type == OPTION_FLAG, "%s --%s", command->name,
		     option->name);
	cr_assert_eq(option->names != NULL, option->type == OPTION_ENUM, "%s --%s", command->name,
		     option->name);
}

/* What help and completion rely on. */
Test(ctl_commands, every_command_and_option_says_what_it_is)
{
	for (const Command *command = commands; command->name; command++) {
		cr_assert(*command->summary && command->arguments && command->run);
		for (const Option *row = command->options; row && row->name; row++)
			check_option(command, row);
	}
}

/* How many of @options have @option's name or letter? */
static int count_alike(const Option *options, const Option *option)
{
	int count = 0;

	for (; options && options->name; options++)
		count += strcmp(options->name, option->name) == 0 ||
			 (option->letter && options->letter == option->letter);
	return count;
}

Test(ctl_commands, no_option_hides_another)
{
	for (const Command *command = commands; command->name; command++)
		for (const Option *row = command->options; row && row->name; row++) {
			cr_assert_eq(count_alike(command->options, row), 1, "%s --%s",
				     command->name, row->name);
			cr_assert_eq(count_alike(global_options, row), 0, "%s --%s", command->name,
				     row->name);
		}
}
