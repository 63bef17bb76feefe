/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * UTF-8: what the guest reads must be it, and what it says is.
 */

#include <stddef.h>
#include <stdint.h>

/* The length of the valid sequence at @at, of which @room bytes are there; 0: it is none. */
size_t guest_utf8_length(const char *at, size_t room);

/* Writes @point, at most 0x10ffff and no surrogate. Return: how many bytes, 1 to 4. */
size_t guest_utf8_put(char *to, uint32_t point);
