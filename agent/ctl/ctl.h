/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * hearthctl: one table of commands, and what each command's function is given.
 *
 * A command's function reads ctl->options, makes its calls, prints, and
 * returns the exit status. Everything runs on the one thread.
 */

#include "agent/ctl/client.h"
#include "agent/ctl/failure.h"
#include "agent/ctl/message.h"
#include "agent/ctl/options.h"
#include "hearth/v1/egress.pb-c.h"
#include "hearth/v1/guest.pb-c.h"
#include "hearth/v1/image.pb-c.h"
#include "hearth/v1/node.pb-c.h"
#include "hearth/v1/snapshot.pb-c.h"
#include "hearth/v1/vm.pb-c.h"

typedef enum OutputFormat {
	OUTPUT_TABLE,
	OUTPUT_WIDE,
	OUTPUT_JSON,
	OUTPUT_NAME,
} OutputFormat;

typedef struct Command Command;

typedef struct Ctl {
	Options options;
	const Command *command;
	OutputFormat format;
	const char *address;
	ClientTls tls;
	Client *client; /* made by the first ctl_client() */
} Ctl;

typedef enum CommandTakes {
	TAKES_NOTHING,
	TAKES_VM,
	TAKES_OTHER, /* arguments that completion cannot know */
	TAKES_COMMAND,
	TAKES_SHELL,
} CommandTakes;

struct Command {
	const char *name; /* one word, or two: "node get" */
	const char *arguments;
	const char *summary;
	int (*run)(Ctl *ctl);
	const Option *options; /* may be NULL */
	CommandTakes takes;
	unsigned min, max;   /* arguments */
	const char *details; /* for its help; may be NULL */
};

enum {
	ARGUMENTS_MANY = 10000
};

extern const Option global_options[];
/* Ended by one without a name. */
extern const Command commands[];

int ctl_main(int argc, char **argv);

Client *ctl_client(Ctl *ctl);
static inline bool ctl_json(const Ctl *ctl)
{
	return ctl->format == OUTPUT_JSON;
}

/* --timeout, or else @otherwise: microseconds or CLIENT_FOREVER. */
int64_t ctl_timeout(const Ctl *ctl, int64_t otherwise);
enum {
	TIMEOUT_UNARY = 60 * 1000 * 1000
};
/* The same of create, start and resume: how long until a VM is ready is its guest's affair. */
int64_t ctl_start_timeout(const Ctl *ctl);

/**
 * ctl_call() - a unary call with the usual timeout
 * @ret:	as client_call()
 *
 * Return: 0, or the exit status of the failure, which it has reported.
 */
int ctl_call(Ctl *ctl, Method method, const ProtobufCMessage *request, void *ret);
/* The same, of a call that takes as long as it takes. */
int ctl_call_long(Ctl *ctl, Method method, const ProtobufCMessage *request, void *ret);

/* Methods by name, for the calls above. */
Method vm_method(const char *name);
Method node_method(const char *name);
Method egress_method(const char *name);
Method guest_method(const char *name);
Method image_method(const char *name);
Method snapshot_method(const char *name);

/* The first word of commands that have two, such as "node". */
typedef struct CommandGroup {
	const char *name;
	const char *summary;
} CommandGroup;

/* Ended by one without a name. */
extern const CommandGroup command_groups[];

/* What comes behind the first word: "set" of "egress set"; NULL if @command is not of @group. */
const char *command_in_group(const Command *command, const CommandGroup *group);

/* help.c */
int run_help(Ctl *ctl);
int help_command(const Command *command);
int help_all(FILE *to);

/* completion.c */
int run_completion(Ctl *ctl);

/* commands_create.c, commands_vm.c, commands_read.c, commands_watch.c */
int run_create(Ctl *ctl);
int run_update(Ctl *ctl);
int run_start(Ctl *ctl);
int run_stop(Ctl *ctl);
int run_pause(Ctl *ctl);
int run_resume(Ctl *ctl);
int run_destroy(Ctl *ctl);
int run_get(Ctl *ctl);
int run_describe(Ctl *ctl);
int run_diagnose(Ctl *ctl);
int run_list(Ctl *ctl);
int run_watch(Ctl *ctl);
int run_wait(Ctl *ctl);
int run_events(Ctl *ctl);
int run_console(Ctl *ctl);
int run_metrics(Ctl *ctl);

/* commands_guest.c, commands_exec.c */
int run_ping(Ctl *ctl);
int run_env_set(Ctl *ctl);
int run_secret_set(Ctl *ctl);
int run_secret_remove(Ctl *ctl);
int run_exec(Ctl *ctl);

/* commands_egress.c */
int run_egress_get(Ctl *ctl);
int run_egress_set(Ctl *ctl);
int run_egress_explain(Ctl *ctl);
int run_egress_watch(Ctl *ctl);

/* commands_template.c */
int run_template_import(Ctl *ctl);
int run_template_list(Ctl *ctl);
int run_template_get(Ctl *ctl);
int run_template_verify(Ctl *ctl);
int run_template_delete(Ctl *ctl);

/* commands_snapshot.c */
int run_snapshot_create(Ctl *ctl);
int run_snapshot_list(Ctl *ctl);
int run_snapshot_watch(Ctl *ctl);
int run_snapshot_get(Ctl *ctl);
int run_snapshot_flatten(Ctl *ctl);
int run_snapshot_verify(Ctl *ctl);
int run_snapshot_delete(Ctl *ctl);

/* commands_node.c */
int run_node_get(Ctl *ctl);
int run_node_watch(Ctl *ctl);
int run_node_cordon(Ctl *ctl);
int run_node_drain(Ctl *ctl);
int run_node_uncordon(Ctl *ctl);
int run_doctor(Ctl *ctl);
int run_health(Ctl *ctl);
int run_version(Ctl *ctl);
