/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the guest share.
 */

#include <stdint.h>

/* Says on the serial port. */
void put(const char *text);
void put_number(uint32_t number);

/* What follows @key in @text, or "". */
const char *find(const char *text, const char *key);

/* The number @text begins with, hexadecimal after "0x"; 0 for none. */
uint32_t number_at(const char *text);
