/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Aligned columns. Rows are collected by table_cell() and printed by
 * table_flush(), as wide as the widest cell so far; a stream flushes after
 * every row or batch, and the heading is printed once.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct Column {
	const char *heading;
	bool only_wide;
} Column;

typedef struct Table Table;

/* @columns: ended by one without a heading; borrowed. */
Table *table_new(const Column *columns, bool wide);
void table_free(Table *table);
DEFINE_CLEANUP(Table *, table_free);

/* At least @width for the column with @heading: for streams, whose later rows are not known. */
void table_widen(Table *table, const char *heading, size_t width);

/* The next cell of the row; every column takes one, shown or not. Empty text shows as "-". */
void table_cell(Table *table, const char *format, ...) printf_like(2, 3);

/* Prints the rows since the last time. */
void table_flush(Table *table, FILE *to);
