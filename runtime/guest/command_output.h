/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a command writes: read no faster than the host asks for it, and thrown away when there is
 * no host to ask.
 */

#include "runtime/guest/command.h"

/* May @output be read now? */
bool guest_command_output_is_wanted(const GuestCommand *command, const GuestOutput *output);

/* Reads some, and says it. */
void guest_command_output_read(GuestCommand *command, GuestOutput *output);

/* The command has ended a second ago: of what is still open, what is there by now is the last. */
void guest_command_output_bound(GuestCommand *command);

/* Has all been said? */
bool guest_command_output_is_over(GuestCommand *command);
