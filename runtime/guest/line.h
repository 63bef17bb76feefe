/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A line to the host while it is written: a JSON object, member by member. What does not fit
 * spoils the whole line, so that no half of one is ever sent.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct GuestLine {
	char *start, *at, *end;
	bool spoilt;
} GuestLine;

void guest_line_begin(GuestLine *line, char *room, size_t size);
void guest_line_number(GuestLine *line, const char *name, int64_t number);
void guest_line_bool(GuestLine *line, const char *name, bool value);
void guest_line_text(GuestLine *line, const char *name, const char *text);
void guest_line_data(GuestLine *line, const char *name, const void *bytes, size_t length);

/* Return: how long the line is, with its newline; 0: it did not fit. */
size_t guest_line_end(GuestLine *line);
