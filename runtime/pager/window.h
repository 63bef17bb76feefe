/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How much to bring with a page that is asked for.
 *
 * Real guests mostly touch pages here and there, so that whatever comes along
 * unasked for costs time and memory; but when one reads on and on, one fault
 * for many pages is several times faster. So a window begins with the page
 * alone, and doubles each time the next fault is right behind it, as
 * readahead does. A few such streams are followed at once.
 */

#include <stddef.h>
#include <stdint.h>

enum {
	WINDOW_STREAMS = 8
};

/* Zeroed, but for max. */
typedef struct Window {
	uint64_t max; /* pages; 1: always the page alone */
	struct {
		uint64_t next;  /* the page behind what was brought last */
		uint64_t pages; /* how many that were wanted */
	} streams[WINDOW_STREAMS];
	size_t latest; /* the stream of the latest fault */
	size_t oldest; /* the one to make way */
} Window;

/* How many pages, from @page on, to bring for a fault at @page; at least 1. */
uint64_t window_open(Window *window, uint64_t page);
/* How many it became: up to where the fault that goes on has to be. */
void window_close(Window *window, uint64_t page, uint64_t count);
