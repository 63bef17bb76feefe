/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * As much of hearth-guest as a host needs to take it for one: a hello is answered, and a ping.
 */

#include <stdint.h>

/* It is there only when @args say "daemon=1". */
void daemon_start(const char *args);

/**
 * daemon_answer() - put the answers to the lines in @text in their place
 * @length:	of the lines, each of them whole
 * @room:	for the answers
 * Return:	the answers' length; without a daemon @length: what was said comes back
 */
uint32_t daemon_answer(char *text, uint32_t length, uint32_t room);
