/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a guest says, cut into lines and read as JSON; no I/O.
 *
 * The guest is not trusted: whatever it sends, no more than a line is kept, and what
 * is too long or no object is skipped and counted.
 */

#include "runtime/guest/protocol.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero is empty. */
typedef struct GuestInput {
	char *bytes; /* GUEST_LINE_MAX of them, once there were some */
	size_t count;
	bool skipping; /* the rest of a line that was too long */
	uint64_t
		skipped; /* bytes of lines that were none, and of those whoever reads calls noise */
} GuestInput;

void guest_input_clear(GuestInput *input);

/* What a line says. Most are output of programs, in the very words of hearth-guest, and are read
 * without making an object of them, which takes ten times as long. */
typedef struct GuestSaid {
	json_t *object; /* to json_decref(); NULL: it is output: */
	json_int_t stream;
	int fd;           /* 1 or 2 */
	const char *data; /* base64, or at least its characters; until more is taken */
} GuestSaid;

/**
 * guest_input_take() - reads up to and including the first line that is an object
 * @bytes:	more of what has come
 * @count:	how much of it; less on return by what was read
 *
 * Return: 1; 0: all of it was read, and more is needed.
 */
int guest_input_take(GuestInput *input, const char **bytes, size_t *count, GuestSaid *ret);

/* The bytes of base64 in @text, of @room at most: how many; -EINVAL: it is none, or longer. */
int guest_decode(unsigned char *ret, size_t room, const char *text);
/* To free. */
char *guest_encode(const void *bytes, size_t count);
