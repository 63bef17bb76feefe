/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Text for people: ages, times, sizes, and printing that cannot disturb a
 * terminal whatever the agent or a guest put into it.
 */

#include "base/cleanup.h"
#include "google/protobuf/timestamp.pb-c.h"

#include <stdint.h>
#include <stdio.h>

enum {
	FORMAT_MAX = 48
};

/* printf whose control characters, but for newlines and tabs, become "?". */
void print_clean(FILE *to, const char *format, ...) printf_like(2, 3);

/* "Name:      value" on a line of its own, or nothing for an empty value. */
void print_field(const char *name, const char *format, ...) printf_like(2, 3);

/* Adds an item to *@list ("a, b"), which is NULL at first and the caller's to free. */
void list_add(char **list, const char *separator, const char *format, ...) printf_like(3, 4);

/* Two units at most: "850ms", "1.5s", "42s", "3m20s", "5h", "2d4h". Returns @buffer. */
const char *format_span(int64_t usec, char buffer[static FORMAT_MAX]);
/* How long ago @time was; "-" if unset. */
const char *format_age(const Google__Protobuf__Timestamp *time, char buffer[static FORMAT_MAX]);
/* Local time, "2026-11-23 16:00:00.123"; "-" if unset. */
const char *format_time(const Google__Protobuf__Timestamp *time, char buffer[static FORMAT_MAX]);
/* From @start to @end, or to now; "-" if @start is unset. */
const char *format_between(const Google__Protobuf__Timestamp *start,
			   const Google__Protobuf__Timestamp *end, char buffer[static FORMAT_MAX]);
/* Whole MiB that these bytes fill or begin. */
const char *format_bytes(uint64_t bytes, char buffer[static FORMAT_MAX]);
const char *format_mib(uint64_t mib, char buffer[static FORMAT_MAX]);
