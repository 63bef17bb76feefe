/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The table of configuration keys, shared by config.c (flags) and config_file.c (YAML). */

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
	CONFIG_KEY_COUNT = 35,
	CONFIG_FLAG_MAX = 64,
};

extern const ConfigKey config_keys[CONFIG_KEY_COUNT];

/* Checks @text and sets @key, or adds to it if it is a list; violations name the key. */
void config_set(Config *config, const ConfigKey *key, const char *text, Error *err);
/* Empties a list before another source's values. */
void config_reset(Config *config, const ConfigKey *key);
