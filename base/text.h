/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Bounded text: building it, copying it, and checking what came from outside.
 */

#include "base/cleanup.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * text_append() - format at @at, never past @end, always NUL-terminated
 * @at:		where to write; the returned position of an earlier call, or a buffer
 * @end:	one past the buffer
 *
 * Return: the terminator's position, where the next piece goes.
 */
char *text_append(char *at, const char *end, const char *format, ...) printf_like(3, 4);
char *text_vappend(char *at, const char *end, const char *format, va_list ap) printf_like(3, 0);

/* Copies what fits of @text into @to, NUL-terminated. NULL counts as empty. */
void text_copy(char *to, size_t size, const char *text);

/* A fresh copy, the caller's to free; NULL stays NULL. */
char *text_dup(const char *text);
/* A fresh formatted text, the caller's to free. */
char *text_printf(const char *format, ...) printf_like(1, 2);
char *text_vprintf(const char *format, va_list ap) printf_like(1, 0);

/* Makes capital letters of ASCII small. */
void text_lower(char *text);

/* Equal, where NULL and "" are the same. */
bool text_equal(const char *a, const char *b);

/* Is @text (of @length bytes) valid UTF-8 without NUL? (RFC 3629: no surrogates, no overlongs) */
bool text_is_utf8(const char *text, size_t length);

/**
 * text_to_utf8() - copy bytes, each invalid one becoming U+FFFD, NUL as well
 * @ret:	room for 3 * @length + 1 bytes; NUL-terminated
 *
 * Return: the bytes written, without the NUL.
 */
size_t text_to_utf8(char *ret, const char *bytes, size_t length);

/* Does @id match [a-z0-9]([-a-z0-9]{0,61}[a-z0-9])? */
bool text_is_id(const char *id);

/**
 * text_to_u64() - a whole decimal number and nothing else
 *
 * Return: 0, or -EINVAL (not a number), -ERANGE.
 */
int text_to_u64(uint64_t *ret, const char *text);

/* FNV-1a, 64 bits (draft-eastlake-fnv): short and the same everywhere, but no match for those who
 * choose what is hashed. */
uint64_t text_hash(const void *bytes, size_t size);

/* @count random bytes as lower-case hexadecimal: 2 * @count characters and a NUL. */
void text_random_hex(char *ret, size_t count);

/* A random UUID (RFC 9562, version 4): 36 characters and a NUL. */
void text_random_uuid(char ret[static 37]);
