/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/table.h"

#include "agent/ctl/format.h"
#include "base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

enum {
	GAP = 3
};

struct Table {
	const Column *columns;
	bool wide;
	bool headed;
	size_t n_columns;
	size_t *widths;
	char **cells; /* row by row */
	size_t n_cells;
};

/* How many characters @text is; a terminal shows each as one column, near enough. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

Table *table_new(const Column *columns, bool wide)
{
	Table *table = new0(Table);

	table->columns = columns;
	table->wide = wide;
	while (columns[table->n_columns].heading)
		table->n_columns++;
	table->widths = new0_array(size_t, table->n_columns);
	for (size_t i = 0; i < table->n_columns; i++)
		table->widths[i] = strlen(columns[i].heading);
	return table;
}

static void drop_cells(Table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	table->n_cells = 0;
}

void table_free(Table *table)
{
	drop_cells(table);
	free((void *)table->cells);
	free(table->widths);
	free(table);
}

void table_widen(Table *table, const char *heading, size_t width)
{
	for (size_t i = 0; i < table->n_columns; i++)
		if (strcmp(table->columns[i].heading, heading) == 0 && table->widths[i] < width)
			table->widths[i] = width;
}

void table_cell(Table *table, const char *format, ...)
{
	size_t column = table->n_cells % table->n_columns;
	size_t width;
	va_list ap;
	char *text;

	va_start(ap, format);
	text = text_vprintf(format, ap);
	va_end(ap);
	/* A cell is one line. */
	for (char *at = text; *at; at++)
		if (*at == '\n' || *at == '\t')
			*at = ' ';
	width = text_width(text);
	if (width > table->widths[column])
		table->widths[column] = width;
	table->cells = (char **)must_realloc((void *)table->cells, table->n_cells + 1,
					     sizeof *table->cells);
	table->cells[table->n_cells++] = text;
}

static bool is_shown(const Table *table, size_t column)
{
	return table->wide || !table->columns[column].only_wide;
}

static void print_cell(const Table *table, size_t column, const char *text, FILE *to)
{
	size_t next = column + 1;

	if (!is_shown(table, column))
		return;
	if (!*text)
		text = "-";
	print_clean(to, "%s", text);
	while (next < table->n_columns && !is_shown(table, next))
		next++;
	if (next < table->n_columns)
		(void)fprintf(to, "%*s", (int)(table->widths[column] - text_width(text) + GAP), "");
}

void table_flush(Table *table, FILE *to)
{
	assert(table->n_cells % table->n_columns == 0);
	if (!table->headed) {
		for (size_t i = 0; i < table->n_columns; i++)
			print_cell(table, i, table->columns[i].heading, to);
		(void)fputc('\n', to);
		table->headed = true;
	}
	for (size_t i = 0; i < table->n_cells; i++) {
		print_cell(table, i % table->n_columns, table->cells[i], to);
		if ((i + 1) % table->n_columns == 0)
			(void)fputc('\n', to);
	}
	(void)fflush(to);
	drop_cells(table);
}
