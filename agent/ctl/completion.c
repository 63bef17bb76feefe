/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"
#include "base/text.h"

#include <string.h>

/*
 * Completion scripts, made from the tables of commands and options. VM ids are
 * asked of the agent when they are needed.
 */

/* The values an option can have, separated by spaces; empty if anything goes. */
static const char *values_of(const Option *option, char *text, size_t size)
{
	char *at = text;
	char name[40];

	*at = '\0';
	for (unsigned i = 1; option->names && i < option->names->n_values; i++)
		at = text_append(at, text + size, "%s%s", i > 1 ? " " : "",
				 enum_text(option->names, option->names->values[i].value, name));
	if (option->choices)
		(void)text_append(at, text + size, "%s", option->choices);
	for (at = text; *at; at++)
		if (*at == '|')
			*at = ' ';
	return text;
}

static void bash_option_words(const Option *options)
{
	for (const Option *row = options; row && row->name; row++)
		(void)printf(" --%s", row->name);
}

static void bash_pattern(const char *command, const Option *option, const char *before)
{
	(void)printf("%s'%s:--%s'", before, command, option->name);
	if (option->letter)
		(void)printf(" | '%s:-%c'", command, option->letter);
}

/* Cases that answer for an option's value, such as 'list:--state' | 'list:-s'. */
static void bash_value_cases(const char *command, const Option *options)
{
	char values[1024] = "";

	for (const Option *row = options; row && row->name; row++) {
		bool is_path = row->type == OPTION_PATH;

		if (row->type == OPTION_FLAG ||
		    (!is_path && !*values_of(row, values, sizeof values)))
			continue;
		bash_pattern(command, row, "\t");
		if (is_path)
			(void)printf(") COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n");
		else
			(void)printf(
				") COMPREPLY=($(compgen -W '%s' -- \"$current\")); return ;;\n",
				values);
	}
}

/* The same for values that are left to the user. */
static void bash_free_values(const char *command, const Option *options)
{
	const char *before = "\t";

	for (const Option *row = options; row && row->name; row++) {
		if (row->type == OPTION_FLAG || row->type == OPTION_PATH || row->names ||
		    row->choices)
			continue;
		bash_pattern(command, row, before);
		before = " | ";
	}
	if (*before == ' ')
		(void)printf(") return ;;\n");
}

/* Every first word, once. */
static void command_names(void)
{
	const char *group = "";

	for (const Command *row = commands; row->name; row++) {
		size_t length = strcspn(row->name, " ");

		if (strlen(group) >= length && strncmp(group, row->name, length) == 0)
			continue;
		(void)printf("%s%.*s", row == commands ? "" : " ", (int)length, row->name);
		group = row->name[length] ? row->name : "";
	}
}

/* For each group, the words behind it. */
static void bash_group_words(void)
{
	for (const CommandGroup *group = command_groups; group->name; group++) {
		(void)printf("\t%s) words='", group->name);
		for (const Command *row = commands; row->name; row++)
			if (command_in_group(row, group))
				(void)printf("%s ", command_in_group(row, group));
		(void)printf("' ;;\n");
	}
}

/* "egress|node", as patterns of both shells. */
static void group_pattern(void)
{
	for (const CommandGroup *group = command_groups; group->name; group++)
		(void)printf("%s%s", group == command_groups ? "" : "|", group->name);
}

static void bash_word_cases(void)
{
	(void)printf("\t'') words='");
	command_names();
	bash_option_words(global_options);
	(void)printf("' ;;\n");
	bash_group_words();
	for (const Command *row = commands; row->name; row++) {
		(void)printf("\t'%s') words='", row->name);
		if (row->takes == TAKES_SHELL)
			(void)printf("bash zsh");
		if (row->takes == TAKES_COMMAND) {
			command_names();
			(void)printf(" exit-codes");
		}
		(void)printf("'; options='");
		bash_option_words(row->options);
		bash_option_words(global_options);
		(void)printf("'%s ;;\n", row->takes == TAKES_VM ? "; vms=yes" : "");
	}
}

static int bash(void)
{
	(void)printf(
		"# bash completion for hearthctl, made by 'hearthctl completion bash'\n"
		"_hearthctl_vms()\n{\n"
		"\tlocal address=\n"
		"\t[[ $COMP_LINE =~ (--address|-a)[=\\ ]([^\\ ]+) ]] && "
		"address=${BASH_REMATCH[2]}\n"
		"\thearthctl ${address:+--address \"$address\"} --timeout 2s list -o name "
		"2>/dev/null\n}\n\n"
		"_hearthctl()\n{\n"
		"\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
		"\tlocal command= words= options= vms= i\n"
		"\tCOMPREPLY=()\n"
		"\tif [[ $current == '=' ]]; then current=\n"
		"\telif [[ $previous == '=' ]]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
		"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		"\t\tcase \" ");
	command_names();
	(void)printf(" \" in\n"
		     "\t\t*\" ${COMP_WORDS[i]} \"*) command=${COMP_WORDS[i]}; break ;;\n"
		     "\t\tesac\n\tdone\n"
		     "\tcase $command in ");
	group_pattern();
	(void)printf(") ((i + 1 < COMP_CWORD)) && "
		     "command=\"$command ${COMP_WORDS[i+1]}\" ;; esac\n"
		     "\tcase \"$command:$previous\" in\n");
	for (const Command *row = commands; row->name; row++) {
		bash_value_cases(row->name, row->options);
		bash_free_values(row->name, row->options);
	}
	(void)printf("\tesac\n\tcase \":$previous\" in\n");
	bash_value_cases("", global_options);
	bash_free_values("", global_options);
	(void)printf("\tesac\n\tcase $command in\n");
	bash_word_cases();
	(void)printf("\tesac\n"
		     "\tif [[ $current == -* ]]; then words=\"$words $options\"\n"
		     "\telif [[ $vms ]]; then words=$(_hearthctl_vms); fi\n"
		     "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\n"
		     "complete -F _hearthctl hearthctl\n");
	return 0;
}

/* Text inside '...[here]' of an _arguments specification. */
static void zsh_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			(void)fputs("'\\''", stdout);
		else if (strchr("[]:\\", *text))
			(void)printf("\\%c", *text);
		else
			(void)putchar(*text);
	}
}

static void zsh_option(const Option *option, const char *name)
{
	const char *separator = strncmp(name, "--", 2) == 0 ? "=" : "+";
	char values[1024] = "";

	(void)printf(" '%s%s%s[", option->many ? "*" : "", name,
		     option->type == OPTION_FLAG ? "" : separator);
	zsh_text(option->help);
	(void)printf("]");
	if (option->type != OPTION_FLAG) {
		(void)printf(":");
		zsh_text(option->value);
		(void)printf(":");
	}
	if (option->type == OPTION_PATH)
		(void)printf("_files");
	else if (*values_of(option, values, sizeof values))
		(void)printf("(%s)", values);
	(void)printf("'");
}

static void zsh_options(const Option *options)
{
	for (const Option *row = options; row && row->name; row++) {
		char name[64] = "";

		(void)text_append(name, name + sizeof name, "--%s", row->name);
		zsh_option(row, name);
		if (row->letter) {
			(void)text_append(name, name + sizeof name, "-%c", row->letter);
			zsh_option(row, name);
		}
	}
}

static void zsh_name(const char *name, const char *summary)
{
	(void)printf(" '%s:", name);
	zsh_text(summary);
	(void)printf("'");
}

/* Descriptions of first words. */
static void zsh_names(void)
{
	for (const Command *row = commands; row->name; row++)
		if (!strchr(row->name, ' '))
			zsh_name(row->name, row->summary);
	for (const CommandGroup *group = command_groups; group->name; group++)
		zsh_name(group->name, group->summary);
}

/* What comes behind the first word of two. */
static void zsh_groups(void)
{
	for (const CommandGroup *group = command_groups; group->name; group++) {
		(void)printf("\t\t%s)\n\t\t\tif ((CURRENT == 2)); then\n\t\t\t\tcommands=(",
			     group->name);
		for (const Command *row = commands; row->name; row++)
			if (command_in_group(row, group))
				zsh_name(command_in_group(row, group), row->summary);
		(void)printf(")\n\t\t\t\t_describe command commands\n\t\t\t\treturn\n\t\t\tfi\n"
			     "\t\t\tcommand=\"%s $words[2]\"\n"
			     "\t\t\tshift words\n\t\t\t((CURRENT--)) ;;\n",
			     group->name);
	}
}

static void zsh_cases(void)
{
	for (const Command *row = commands; row->name; row++) {
		(void)printf("\t\t'%s') _arguments $globals", row->name);
		zsh_options(row->options);
		if (row->takes == TAKES_VM)
			(void)printf(" '*:VM:_hearthctl_vms'");
		if (row->takes == TAKES_SHELL)
			(void)printf(" '1:shell:(bash zsh)'");
		if (row->takes == TAKES_COMMAND) {
			(void)printf(" '1:command:(");
			command_names();
			(void)printf(" exit-codes)'");
		}
		(void)printf(" ;;\n");
	}
}

static int zsh(void)
{
	(void)printf("#compdef hearthctl\n"
		     "# zsh completion for hearthctl, made by 'hearthctl completion zsh'\n"
		     "_hearthctl_vms()\n{\n"
		     "\tlocal -a ids\n"
		     "\tids=(${(f)\"$(hearthctl --timeout 2s list -o name 2>/dev/null)\"})\n"
		     "\tcompadd -a ids\n}\n\n"
		     "_hearthctl()\n{\n"
		     "\tlocal curcontext=$curcontext state line command\n"
		     "\tlocal -a globals commands\n"
		     "\tglobals=(");
	zsh_options(global_options);
	(void)printf(")\n"
		     "\t_arguments -C $globals '1: :->command' '*:: :->arguments'\n"
		     "\tcase $state in\n"
		     "\tcommand)\n\t\tcommands=(");
	zsh_names();
	(void)printf(")\n\t\t_describe command commands ;;\n"
		     "\targuments)\n"
		     "\t\tcommand=$words[1]\n"
		     "\t\tcase $command in\n");
	zsh_groups();
	(void)printf("\t\tesac\n\t\tcase $command in\n");
	zsh_cases();
	(void)printf("\t\tesac ;;\n\tesac\n}\n\n"
		     "if [[ $funcstack[1] == _hearthctl ]]; then _hearthctl \"$@\"\n"
		     "else compdef _hearthctl hearthctl; fi\n");
	return 0;
}

int run_completion(Ctl *ctl)
{
	const char *shell = ctl->options.arguments[0];

	if (strcmp(shell, "bash") == 0)
		return bash();
	if (strcmp(shell, "zsh") == 0)
		return zsh();
	return failure_report_local(ctl_json(ctl), EXIT_USAGE,
				    "completion: '%s' is neither bash nor zsh", shell);
}
