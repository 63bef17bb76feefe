/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * systemd as process 1 of the host: the one service it is asked for.
 *
 * Asked by systemd-run(1), which speaks to it over its own socket: no bus is needed,
 * but the host's PID namespace is, as it answers only to whom it can name.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

/* Is it process 1? As sd_booted(3) has it. */
bool systemd_is_init(void);

/**
 * systemd_make_service() - a service with a control group for others to be put into
 * @name:	with ".service"
 * @slice:	with ".slice"
 * @why:	of @size bytes: what systemd-run says
 *
 * Its one process waits for ever in the group's root. What else is in the group is the caller's
 * business (Delegate=), and outlives the service. Blocks. Return: 0; -errno, -EIO with what it
 * says.
 */
int systemd_make_service(const char *name, const char *slice, char *why, size_t size) must_check;
