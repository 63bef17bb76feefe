/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "base/text.h"

#include <string.h>

enum {
	LABEL_MAX = 64,
	GRPC_CODES = 17
};

static void print_option(FILE *to, const Option *option, size_t width)
{
	char label[LABEL_MAX];
	char *at = label;
	char name[40];

	if (option->letter)
		at = text_append(at, label + LABEL_MAX, "-%c, ", option->letter);
	else
		at = text_append(at, label + LABEL_MAX, "    ");
	at = text_append(at, label + LABEL_MAX, "--%s", option->name);
	if (option->value)
		(void)text_append(at, label + LABEL_MAX, " %s", option->value);
	(void)fprintf(to, "  %-*s  %s", (int)width, label, option->help);
	if (option->type == OPTION_CHOICE)
		(void)fprintf(to, ": %s", option->choices);
	for (unsigned i = 1; option->names && i < option->names->n_values; i++)
		(void)fprintf(to, "%s%s", i > 1 ? ", " : ": ",
			      enum_text(option->names, option->names->values[i].value, name));
	(void)fprintf(to, "%s\n", option->many ? " (may be repeated)" : "");
}

static void print_options(FILE *to, const Option *options)
{
	size_t width = 0;

	for (const Option *row = options; row->name; row++) {
		size_t length = strlen("-x, --") + strlen(row->name) +
				(row->value ? 1 + strlen(row->value) : 0);

		if (length > width)
			width = length;
	}
	for (const Option *row = options; row->name; row++)
		print_option(to, row, width);
}

int help_command(const Command *command)
{
	(void)printf("%s\n\nUsage: hearthctl %s%s%s%s\n", command->summary, command->name,
		     command->options ? " [OPTION...]" : "", *command->arguments ? " " : "",
		     command->arguments);
	if (command->details)
		(void)printf("\n%s", command->details);
	if (command->options) {
		(void)printf("\nOptions:\n");
		print_options(stdout, command->options);
	}
	(void)printf("\nGlobal options:\n");
	print_options(stdout, global_options);
	return 0;
}

int help_all(FILE *to)
{
	(void)fprintf(to,
		      "hearthctl: the command line of hearthd, the microVM agent of this node\n\n"
		      "Usage: hearthctl [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n");
	for (const Command *row = commands; row->name; row++)
		(void)fprintf(to, "  %-14s  %s\n", row->name, row->summary);
	(void)fprintf(to, "\nGlobal options:\n");
	print_options(to, global_options);
	(void)fprintf(to, "\nMore: 'hearthctl help COMMAND', 'hearthctl help exit-codes'\n");
	return 0;
}

static int help_exit_codes(void)
{
	(void)printf("hearthctl exits with\n"
		     "   0  done\n"
		     "  %2d  bad news from doctor or health, or trouble on this side\n"
		     "  %2d  the command line makes no sense\n"
		     "  and %d + the gRPC code where the agent, or the way to it, failed:\n",
		     EXIT_LOCAL, EXIT_USAGE, EXIT_RPC);
	for (int code = 1; code < GRPC_CODES; code++)
		(void)printf("  %2d  %s\n", EXIT_RPC + code, code_name(code));
	(void)printf(
		"With several VMs, the first failure counts. exec exits as its program did.\n");
	return 0;
}

int run_help(Ctl *ctl)
{
	const Options *given = &ctl->options;
	char name[64];
	char *at = name;
	bool group = false;

	if (given->n_arguments == 0)
		return help_all(stdout);
	*at = '\0';
	for (size_t i = 0; i < given->n_arguments; i++)
		at = text_append(at, name + sizeof name, "%s%s", i ? " " : "", given->arguments[i]);
	if (strcmp(name, "exit-codes") == 0)
		return help_exit_codes();
	for (const Command *row = commands; row->name; row++) {
		size_t length = strlen(name);

		if (strcmp(row->name, name) == 0)
			return help_command(row);
		if (strncmp(row->name, name, length) == 0 && row->name[length] == ' ') {
			(void)printf("  %-14s  %s\n", row->name, row->summary);
			group = true;
		}
	}
	if (group)
		return 0;
	return failure_report_local(ctl_json(ctl), EXIT_USAGE, "no command '%s'", name);
}
