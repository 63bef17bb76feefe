/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The daemon: its loop, and the signals that reach it.
 */

#include "base/cleanup.h"

#include <stdbool.h>

typedef struct GuestDaemonConfig {
	const char *dir;    /* GUEST_DIR, but for tests */
	const char *socket; /* or NULL; see transport.h */
	bool wait_ready;    /* for "hearth-guest ready" */
} GuestDaemonConfig;

/* Runs until it is told to end. Return: 0 or -errno, said to stderr. */
int guest_daemon_run(const GuestDaemonConfig *config) must_check;
