/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading a VM's console as its keeper writes it: console.log, and console.1
 * with what was before the last rotation. The VMM's own words are in vmm.log
 * and vmm.1, in the same way.
 *
 * A ConsoleReader belongs to one caller at a time. It never blocks: files are
 * read as far as they go. ConsoleWatch tells when to look again.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ConsoleSource { /* the proto's numbers */
	CONSOLE_SOURCE_UNSET,
	CONSOLE_SOURCE_SERIAL,
	CONSOLE_SOURCE_VMM,
	CONSOLE_SOURCE_COUNT_,
} ConsoleSource;

/* "console" or "vmm": what the files are called before their dot. */
const char *console_name(ConsoleSource source);

typedef struct ConsoleReader ConsoleReader;

/**
 * console_open() - begin reading
 * @run_dir:	of the VM; its files may not exist yet, or any more
 * @source:	SERIAL or VMM
 * @tail_bytes:	begin so far before the end; 0: at the beginning of what is kept
 */
ConsoleReader *console_open(const char *run_dir, ConsoleSource source, uint64_t tail_bytes);
void console_close(ConsoleReader *reader);
DEFINE_CLEANUP(ConsoleReader *, console_close);

/**
 * console_read() - the next bytes
 * @gap:	set to true if output was lost before these bytes
 *
 * Return: bytes read, 0 when there are none now, -errno.
 */
ssize_t console_read(ConsoleReader *reader, char *buffer, size_t size, bool *gap) must_check;

/* The last @max bytes of the guest's, or of the VMM's own words, as valid UTF-8, beginning at a
 * line's start if one is in them; to free; NULL if there is nothing. */
char *console_tail(const char *run_dir, ConsoleSource source, size_t max);

/*
 * One thread and one inotify descriptor for all followers. @changed is called from that thread
 * whenever the directory's console (or VMM's log) may have grown or been rotated; it must not
 * block, and may be called without cause.
 */
typedef struct ConsoleWatch ConsoleWatch;
typedef struct ConsoleFollow ConsoleFollow;
ConsoleWatch *console_watch_new(void);
void console_watch_free(ConsoleWatch *watch);
/* NULL with errno set when the directory cannot be watched. */
ConsoleFollow *console_follow(ConsoleWatch *watch, const char *run_dir, ConsoleSource source,
			      void (*changed)(void *), void *user);
/* When it returns @changed will not be called again. */
void console_unfollow(ConsoleWatch *watch, ConsoleFollow *follow);
