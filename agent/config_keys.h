/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The table of configuration keys, and who reads them: config_flags.c (flags), config_file.c
 * (YAML). */

#include "agent/config.h"

typedef enum ConfigType {
	CONFIG_TEXT,   /* char * */
	CONFIG_PATH,   /* char *, absolute */
	CONFIG_NUMBER, /* uint64_t */
	CONFIG_LIST,   /* ConfigList of addresses */
} ConfigType;

typedef struct ConfigKey {
	const char *name; /* at most one dot: group and key of the file */
	ConfigType type;
	size_t offset;       /* in Config */
	uint64_t min, max;   /* the number; else bytes, or elements */
	const char *value;   /* built in; NULL: from the host */
	const char *choices; /* TEXT: "a|b", or anything */
	const char *help;
} ConfigKey;

enum {
	CONFIG_KEY_COUNT = 56,
	CONFIG_FLAG_MAX = 64,
};

extern const ConfigKey config_keys[CONFIG_KEY_COUNT];

/* Checks @text and sets @key, or adds to it if it is a list; violations name the key. */
void config_set(Config *config, const ConfigKey *key, const char *text, Error *err);
/* Empties a list before another source's values. */
void config_reset(Config *config, const ConfigKey *key);

/* config_flags.c: first the actions and the file that is named, so that flags win wherever they
 * stand; then the flags. INVALID_REQUEST. */
int config_read_actions(Config *config, ConfigAction *action, int argc, char *const argv[],
			Error *err) must_check;
int config_read_flags(Config *config, int argc, char *const argv[], Error *err) must_check;
