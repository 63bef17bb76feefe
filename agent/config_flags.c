/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config_keys.h"
#include "base/file.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* The flag of a key: "limits.max_vms" is --limits-max-vms. */
static void flag_name(char ret[static CONFIG_FLAG_MAX], const ConfigKey *key)
{
	text_copy(ret, CONFIG_FLAG_MAX, key->name);
	for (char *at = ret; (at = strpbrk(at, "._"));)
		*at = '-';
}

static const ConfigKey *find_flag(const char *name, size_t length)
{
	for (size_t i = 0; i < array_size(config_keys); i++) {
		char flag[CONFIG_FLAG_MAX];

		flag_name(flag, &config_keys[i]);
		if (strlen(flag) == length && strncmp(flag, name, length) == 0)
			return &config_keys[i];
	}
	return NULL;
}

/* The arguments, one flag at a time: --name value or --name=value. */
typedef struct FlagWalk {
	int argc;
	char *const *argv;
	int at;
	const char *name;
	size_t name_length;
	const char *value; /* NULL: none given yet */
} FlagWalk;

static int flag_next(FlagWalk *walk, Error *err)
{
	const char *argument = walk->argv[walk->at++];

	if (strncmp(argument, "--", 2) != 0 || !argument[2])
		return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
				       "'%.64s' is no flag; see hearthd --help", argument);
	walk->name = argument + 2;
	walk->name_length = strcspn(walk->name, "=");
	walk->value = walk->name[walk->name_length] ? walk->name + walk->name_length + 1 : NULL;
	return 0;
}

static bool flag_is(const FlagWalk *walk, const char *name)
{
	return strlen(name) == walk->name_length &&
	       strncmp(name, walk->name, walk->name_length) == 0;
}

static int flag_value(FlagWalk *walk, Error *err)
{
	if (!walk->value && walk->at < walk->argc)
		walk->value = walk->argv[walk->at++];
	if (!walk->value)
		return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
				       "--%.64s needs a value", walk->name);
	return 0;
}

static int read_file(Config *config, const char *path, Error *err)
{
	cleanup_free char *text = NULL;
	size_t length;
	int r = file_read(&text, &length, path, CONFIG_FILE_MAX);

	if (r < 0)
		return error_set_errno(err, ERROR_INVALID_REQUEST, -r, "--config %s", path);
	return config_read_text(config, text, length, path, err);
}

/* Flags that are not keys; true if @walk's is one of them. */
static bool is_action(const FlagWalk *walk, ConfigAction *action)
{
	static const struct {
		const char *name;
		ConfigAction action;
	} rows[] = {
		{ "help", CONFIG_HELP },
		{ "version", CONFIG_VERSION },
		{ "check", CONFIG_CHECK },
		{ "rebuild", CONFIG_REBUILD },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		if (walk->value || !flag_is(walk, rows[i].name))
			continue;
		if (*action != CONFIG_HELP && *action != CONFIG_VERSION)
			*action = rows[i].action;
		return true;
	}
	return false;
}

/* First pass. */
int config_read_actions(Config *config, ConfigAction *action, int argc, char *const argv[],
			Error *err)
{
	FlagWalk walk = { argc, argv, 1, NULL, 0, NULL };
	const char *path = NULL;

	while (walk.at < argc) {
		bool is_config;

		if (flag_next(&walk, err) < 0)
			return -1;
		if (is_action(&walk, action))
			continue;
		is_config = flag_is(&walk, "config");
		if (!is_config && !find_flag(walk.name, walk.name_length))
			return error_set_cause(err, ERROR_INVALID_REQUEST, CAUSE_INPUT,
					       "unknown flag --%.64s; see hearthd --help",
					       walk.name);
		if (flag_value(&walk, err) < 0)
			return -1;
		if (is_config)
			path = walk.value;
	}
	if (*action == CONFIG_HELP || *action == CONFIG_VERSION || !path)
		return 0;
	return read_file(config, path, err);
}

int config_read_flags(Config *config, int argc, char *const argv[], Error *err)
{
	FlagWalk walk = { argc, argv, 1, NULL, 0, NULL };
	bool seen[CONFIG_KEY_COUNT] = { false };
	ConfigAction ignored = CONFIG_RUN;

	while (walk.at < argc) {
		const ConfigKey *key;

		if (flag_next(&walk, err) < 0)
			return -1;
		if (is_action(&walk, &ignored))
			continue;
		key = find_flag(walk.name, walk.name_length);
		if (flag_value(&walk, err) < 0)
			return -1;
		if (!key)
			continue;
		if (!seen[key - config_keys])
			config_reset(config, key);
		seen[key - config_keys] = true;
		config_set(config, key, walk.value, err);
	}
	return error_is_set(err) ? -1 : 0;
}

void config_print_help(FILE *to)
{
	(void)fputs(
		"Usage: hearthd [--config FILE] [--check | --rebuild] [--FLAG VALUE]...\n\n"
		"The node agent: runs microVMs and serves hearth's API.\n\n"
		"  --config FILE   YAML; every flag below is a key of it (in brackets); flags win\n"
		"  --check         validate the configuration and exit\n"
		"  --rebuild       move a store that cannot be trusted aside, make a new one from "
		"what\n"
		"                  can be read and what runs, and exit\n"
		"  --version       say which version this is\n"
		"  --help          say this\n\n",
		to);
	for (size_t i = 0; i < array_size(config_keys); i++) {
		const ConfigKey *key = &config_keys[i];
		char flag[CONFIG_FLAG_MAX];

		flag_name(flag, key);
		(void)fprintf(to, "  --%s %s   [%s]\n      %s", flag,
			      key->type == CONFIG_NUMBER ? "N"
			      : key->choices             ? key->choices
			      : key->type == CONFIG_PATH ? "PATH"
							 : "TEXT",
			      key->name, key->help);
		if (key->type == CONFIG_NUMBER)
			(void)fprintf(to, "; %" PRIu64 " to %" PRIu64, key->min, key->max);
		if (key->value)
			(void)fprintf(to, " (default: %s)", key->value);
		(void)fputc('\n', to);
	}
}
