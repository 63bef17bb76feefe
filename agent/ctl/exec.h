/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One program in a guest: what it writes comes out here, what is read here goes
 * in there, and so do signals and the terminal's size.
 *
 * One loop waits for all of it. What comes is asked for only when what came
 * before is written, and standard input is read only when what was read before
 * is sent: whoever is slow, at either end, holds up the other one, and nothing
 * piles up between them. Nothing is read, and the terminal is left alone, until
 * the program runs.
 *
 * SIGINT and SIGTERM are the program's once it runs, but the second one ends
 * the call, and with it the program. With a terminal they end hearthctl.
 */

#include "agent/ctl/ctl.h"

/**
 * exec_run() - run it to its end
 * @first:	the request; with a terminal if standard input's is to be the program's
 * @input:	does it read standard input?
 *
 * Return: the exit status, with all said on stderr that there is to say.
 */
int exec_run(Ctl *ctl, const Hearth__V1__ExecRequest *first, bool input);
