/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A command's standard input.
 */

#include "runtime/guest/command.h"

/* Return: 0, or -ENOBUFS when it is more than the host may send. */
int guest_command_input_add(GuestCommand *command, const char *bytes, size_t length) must_check;

/* It ends after what was added. */
void guest_command_input_end(GuestCommand *command);

/* Writes as much as it takes, and says how much more may come. */
void guest_command_input_write(GuestCommand *command);

void guest_command_input_close(GuestCommand *command);
