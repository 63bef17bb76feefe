/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All commands, at most GUEST_COMMANDS_MAX of them, those of sessions that are over included.
 */

#include "runtime/guest/command.h"

typedef struct GuestCommands GuestCommands;

GuestCommands *guest_commands_new(void);
void guest_commands_free(GuestCommands *commands);

/* The exec request. @env: of every command. */
void guest_commands_exec(GuestCommands *commands, const GuestRequest *request, const GuestEnv *env);

/* A line for the stream @id, ignored if there is none. */
void guest_commands_hear(GuestCommands *commands, const GuestRequest *line, int64_t id);

/* The session is over. */
void guest_commands_abandon(GuestCommands *commands);

void guest_commands_reap(GuestCommands *commands);
void guest_commands_prepare(GuestCommands *commands, GuestPoll *poll);
void guest_commands_serve(GuestCommands *commands, const GuestPoll *poll);
