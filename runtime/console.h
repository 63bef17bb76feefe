/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reading a VM's console as its keeper writes it: console.log, and console.1
 * with what was before the last rotation.
 *
 * A ConsoleReader belongs to one caller at a time. It never blocks: files are
 * read as far as they go. ConsoleWatch tells when to look again.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ConsoleReader ConsoleReader;

/**
 * console_open() - begin reading
 * @run_dir:	of the VM; its files may not exist yet, or any more
 * @tail_bytes:	begin so far before the end; 0: at the beginning of what is kept
 */
ConsoleReader *console_open(const char *run_dir, uint64_t tail_bytes);
void console_close(ConsoleReader *reader);
DEFINE_CLEANUP(ConsoleReader *, console_close);

/**
 * console_read() - the next bytes
 * @gap:	set to true if output was lost before these bytes
 *
 * Return: bytes read, 0 when there are none now, -errno.
 */
ssize_t console_read(ConsoleReader *reader, char *buffer, size_t size, bool *gap) must_check;

/* The last @max bytes as valid UTF-8, beginning at a line's start if one is in them; to free;
 * NULL if there is nothing. */
char *console_tail(const char *run_dir, size_t max);

/*
 * One thread and one inotify descriptor for all followers. @changed is called from that thread
 * whenever the directory's console may have grown or been rotated; it must not block, and may
 * be called without cause.
 */
typedef struct ConsoleWatch ConsoleWatch;
typedef struct ConsoleFollow ConsoleFollow;
ConsoleWatch *console_watch_new(void);
void console_watch_free(ConsoleWatch *watch);
/* NULL with errno set when the directory cannot be watched. */
ConsoleFollow *console_follow(ConsoleWatch *watch, const char *run_dir, void (*changed)(void *),
			      void *user);
/* When it returns @changed will not be called again. */
void console_unfollow(ConsoleWatch *watch, ConsoleFollow *follow);
