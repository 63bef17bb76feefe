/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/window.h"

uint64_t window_open(Window *window, uint64_t page)
{
	size_t i = 0;

	while (i < WINDOW_STREAMS && (window->streams[i].next != page || !page))
		i++;
	if (i == WINDOW_STREAMS) {
		i = window->oldest;
		window->oldest = (i + 1) % WINDOW_STREAMS;
		window->streams[i].pages = 1;
	} else if (2 * window->streams[i].pages <= window->max) {
		window->streams[i].pages *= 2;
	}
	window->latest = i;
	return window->streams[i].pages;
}

void window_close(Window *window, uint64_t page, uint64_t count)
{
	window->streams[window->latest].next = page + count;
}
