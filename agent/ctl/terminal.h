/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The terminal at standard input, while it is another one's: of a program in a
 * guest, whose own terminal does all that this one would do with what is typed.
 *
 * However hearthctl ends, the terminal is afterwards as it was: restored at
 * exit, and by the handlers of all signals that would end it and can be had.
 */

#include <stdbool.h>
#include <stdint.h>

bool terminal_is_there(void);

/* Its size; 24 lines of 80 if it does not know. */
void terminal_size(uint32_t *rows, uint32_t *columns);

/**
 * terminal_set_raw() - have every byte as it is typed, with no echo and no signals
 *
 * SIGINT and SIGTERM end the process from now on, and are let through to this thread.
 *
 * Return: 0 or -errno.
 */
int terminal_set_raw(void);

/* As it was; if it is, nothing. */
void terminal_restore(void);
