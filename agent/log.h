/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The agent's log: one line an event on standard error, key=value or JSON.
 *
 * A line is built on the stack and written with one write(2) of less than
 * PIPE_BUF bytes, so that threads' lines never mix; what does not fit is cut.
 * Values are escaped: no value can forge a line or a key, whatever is in it.
 * From any thread once log_init() has been called.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum LogLevel {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT_,
} LogLevel;

enum {
	LOG_LINE_MAX = 2048
};

typedef struct LogLine {
	char text[LOG_LINE_MAX];
	size_t length;
	bool muted; /* below the level */
} LogLine;

/* @level: "error", "info" or "debug". Before any thread. */
void log_init(bool json, const char *level);

/* Time, level and @event; then any number of values, then log_end(). Keys are words of ours. */
void log_begin(LogLine *line, LogLevel level, const char *event);
void log_text(LogLine *line, const char *key, const char *value); /* NULL or empty: left out */
void log_number(LogLine *line, const char *key, int64_t value);
/* The same, of a line that is written whatever the level is. */
void log_begin_always(LogLine *line, const char *event);
/* Ends the line; @line->text holds it, newline included. */
void log_close(LogLine *line);
/* Ends the line and writes it. */
void log_end(LogLine *line);
