/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/ctl.h"

#include "base/file.h"
#include "base/text.h"

#include <string.h>

enum {
	PEM_MAX = 1 << 20,
};

static const char default_address[] = "unix:/run/hearth/hearth.sock";

static const char *const formats[] = {
	[OUTPUT_TABLE] = "table",
	[OUTPUT_WIDE] = "wide",
	[OUTPUT_JSON] = "json",
	[OUTPUT_NAME] = "name",
};

static void ctl_release(Ctl *ctl)
{
	if (ctl->client)
		client_free(ctl->client);
	free(ctl->tls.ca);
	free(ctl->tls.certificate);
	free(ctl->tls.key);
	free(ctl->tls.server_name);
	options_release(&ctl->options);
}

Client *ctl_client(Ctl *ctl)
{
	if (!ctl->client)
		ctl->client = client_new(ctl->address, &ctl->tls);
	return ctl->client;
}

int64_t ctl_timeout(const Ctl *ctl, int64_t otherwise)
{
	return options_duration(&ctl->options, "timeout", otherwise);
}

int64_t ctl_start_timeout(const Ctl *ctl)
{
	bool ready = options_enum(&ctl->options, "return", 0) ==
		     HEARTH__V1__RETURN_WHEN__RETURN_WHEN_READY;

	return ctl_timeout(ctl, ready ? CLIENT_FOREVER : TIMEOUT_UNARY);
}

static int call_within(Ctl *ctl, Method method, const ProtobufCMessage *request, int64_t timeout,
		       void *ret)
{
	cleanup_(failure_release) Failure failure = { 0 };

	if (client_call(ctl_client(ctl), method, request, ctl_timeout(ctl, timeout), ret,
			&failure) < 0)
		return failure_report(&failure, ctl_json(ctl));
	return 0;
}

int ctl_call(Ctl *ctl, Method method, const ProtobufCMessage *request, void *ret)
{
	return call_within(ctl, method, request, TIMEOUT_UNARY, ret);
}

int ctl_call_long(Ctl *ctl, Method method, const ProtobufCMessage *request, void *ret)
{
	return call_within(ctl, method, request, CLIENT_FOREVER, ret);
}

Method vm_method(const char *name)
{
	return (Method){ &hearth__v1__vm_service__descriptor, name };
}

Method node_method(const char *name)
{
	return (Method){ &hearth__v1__node_service__descriptor, name };
}

Method egress_method(const char *name)
{
	return (Method){ &hearth__v1__egress_service__descriptor, name };
}

Method image_method(const char *name)
{
	return (Method){ &hearth__v1__image_service__descriptor, name };
}

Method snapshot_method(const char *name)
{
	return (Method){ &hearth__v1__snapshot_service__descriptor, name };
}

Method guest_method(const char *name)
{
	return (Method){ &hearth__v1__guest_service__descriptor, name };
}

const char *command_in_group(const Command *command, const CommandGroup *group)
{
	size_t length = strlen(group->name);

	if (strncmp(command->name, group->name, length) != 0 || command->name[length] != ' ')
		return NULL;
	return command->name + length + 1;
}

/* "node: get, watch or drain is missing" */
static void say_missing(const CommandGroup *group, char problem[static OPTION_PROBLEM_MAX])
{
	char *end = problem + OPTION_PROBLEM_MAX;
	char *at = text_append(problem, end, "%s: ", group->name);
	const char *last = NULL;
	const char *before = "";

	for (const Command *row = commands; row->name; row++) {
		const char *word = command_in_group(row, group);

		if (!word)
			continue;
		if (last) {
			at = text_append(at, end, "%s%s", before, last);
			before = ", ";
		}
		last = word;
	}
	(void)text_append(at, end, "%s%s is missing", *before ? " or " : "", last);
}

/* What to say of a first word that is no command by itself. */
static void say_unknown(const char *word, char problem[static OPTION_PROBLEM_MAX])
{
	(void)text_append(problem, problem + OPTION_PROBLEM_MAX, "no command '%s'", word);
	for (const CommandGroup *group = command_groups; group->name; group++)
		if (strcmp(word, group->name) == 0)
			say_missing(group, problem);
}

/* How many of @words name @command: 0 if they do not. */
static int match_command(const Command *command, const char *const *words)
{
	const char *space = strchr(command->name, ' ');
	size_t length = space ? (size_t)(space - command->name) : strlen(command->name);

	if (!words[0] || strlen(words[0]) != length ||
	    strncmp(words[0], command->name, length) != 0)
		return 0;
	if (!space)
		return 1;
	return words[1] && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

/* An option, or else what the environment has. */
static const char *given(const Ctl *ctl, const char *option, const char *variable)
{
	const char *text = options_text(&ctl->options, option);

	if (!text || !*text)
		text = getenv(variable);
	return text && *text ? text : NULL;
}

/* What -o, --address and their defaults come to. */
static void settle_globals(Ctl *ctl)
{
	const char *format = options_text(&ctl->options, "output");
	const char *address = given(ctl, "address", "HEARTH_ADDRESS");

	for (size_t i = 0; format && i < array_size(formats); i++)
		if (strcmp(formats[i], format) == 0)
			ctl->format = (OutputFormat)i;
	ctl->address = address ? address : default_address;
}

/* TLS is for TCP alone, so that one environment does for both. */
static int settle_tls(Ctl *ctl)
{
	struct {
		const char *option, *variable;
		char **text;
	} rows[] = {
		{ "tls-ca", "HEARTH_TLS_CA", &ctl->tls.ca },
		{ "tls-certificate", "HEARTH_TLS_CERTIFICATE", &ctl->tls.certificate },
		{ "tls-key", "HEARTH_TLS_KEY", &ctl->tls.key },
	};
	const char *name = given(ctl, "tls-server-name", "HEARTH_TLS_SERVER_NAME");

	if (strncmp(ctl->address, "unix:", 5) == 0)
		return 0;
	for (size_t i = 0; i < array_size(rows); i++) {
		const char *path = given(ctl, rows[i].option, rows[i].variable);
		int r = path ? file_read(rows[i].text, NULL, path, PEM_MAX) : 0;

		if (r < 0)
			return failure_report_local(ctl_json(ctl), EXIT_USAGE, "--%s: %s: %s",
						    rows[i].option, path, strerror(-r));
	}
	ctl->tls.server_name = name ? text_dup(name) : NULL;
	if (!ctl->tls.certificate != !ctl->tls.key)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--tls-certificate and --tls-key go together");
	if (ctl->tls.certificate && !ctl->tls.ca)
		return failure_report_local(ctl_json(ctl), EXIT_USAGE,
					    "--tls-certificate: needs --tls-ca");
	return 0;
}

static int refuse(const Ctl *ctl, const char *problem)
{
	const char *name = ctl->command ? ctl->command->name : "";

	return failure_report_local(ctl_json(ctl), EXIT_USAGE, "%s%s%s; see 'hearthctl help%s%s'",
				    name, *name ? ": " : "", problem, *name ? " " : "", name);
}

static int check_arguments(const Ctl *ctl)
{
	size_t n = ctl->options.n_arguments;

	if (n < ctl->command->min || n > ctl->command->max) {
		char problem[OPTION_PROBLEM_MAX];

		(void)text_append(problem, problem + sizeof problem, "%s (usage: hearthctl %s %s)",
				  n < ctl->command->min ? "something is missing"
							: "too many arguments",
				  ctl->command->name, ctl->command->arguments);
		return refuse(ctl, problem);
	}
	return 0;
}

static int run_command(Ctl *ctl, const char *const *words)
{
	char problem[OPTION_PROBLEM_MAX];
	int used = 0;
	int status;

	for (ctl->command = commands; ctl->command->name; ctl->command++)
		if ((used = match_command(ctl->command, words)))
			break;
	if (!ctl->command->name) {
		ctl->command = NULL;
		say_unknown(words[0], problem);
		return refuse(ctl, problem);
	}
	ctl->options.tables[1] = ctl->command->options;
	if (options_parse(&ctl->options, words + used, false, problem) < 0)
		return refuse(ctl, problem);
	settle_globals(ctl);
	if (options_has(&ctl->options, "help"))
		return help_command(ctl->command);
	status = check_arguments(ctl);
	if (status == 0)
		status = settle_tls(ctl);
	return status ? status : ctl->command->run(ctl);
}

int ctl_main(int argc, char **argv)
{
	cleanup_(ctl_release) Ctl ctl = { .options.tables = { global_options } };
	const char *const *words = (const char *const *)argv + (argc > 0);
	char problem[OPTION_PROBLEM_MAX];
	int used = options_parse(&ctl.options, words, true, problem);
	int status;

	if (used < 0)
		return refuse(&ctl, problem);
	settle_globals(&ctl);
	words += used;
	if (!*words && options_has(&ctl.options, "help"))
		return help_all(stdout);
	if (!*words) {
		(void)help_all(stderr);
		return EXIT_USAGE;
	}
	status = run_command(&ctl, words);
	if (fflush(stdout) != 0 && status == 0)
		return failure_report_local(ctl_json(&ctl), EXIT_LOCAL,
					    "cannot write the output: %s", strerrordesc_np(errno));
	return status;
}
