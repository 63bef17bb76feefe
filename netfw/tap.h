/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host's end of a VM's network interface: a persistent tap. Its link stays
 * down: until networks exist, nothing passes. Safe from any thread.
 */

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* What names of taps begin with, and no others on the host. */
#define TAP_PREFIX "h"

enum {
	TAP_NAME_MAX = 16, /* IFNAMSIZ */
	TAP_DIGITS = 12,   /* of the instance id, in a tap's name */
};

typedef struct TapConfig {
	const char *name; /* 1 to 15 bytes of [a-z0-9-] */
	uid_t owner;  /* who may open it beside root, user and group; (uid_t)-1: who runs this */
	uint32_t mtu; /* 0: the kernel's choice */
} TapConfig;

/* TAP_PREFIX, 12 digits of @instance_id (16 hexadecimal digits), "-" and @index (0 to 9). */
void tap_name(char ret[static TAP_NAME_MAX], const char *instance_id, unsigned index);

/* Is @name such a name? Then its digits are in @ret. */
bool tap_read_name(char ret[static TAP_DIGITS + 1], const char *name);

/**
 * tap_add() - make a tap that is not there yet
 * @err:	NETWORK_CONFIG, before anything is touched; NETWORK_SETUP: nothing is left then
 */
int tap_add(const TapConfig *config, Error *err) must_check;

/* Removes the tap @name; absent is success. NETWORK_SETUP, also if it is no tap or in use. */
int tap_remove(const char *name, Error *err) must_check;
