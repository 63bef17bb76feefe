/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Programs that read what strangers have made: resize2fs, e2fsck and their like, of which a bug
 * must be worth nothing to who made the image.
 *
 * Such a program is another user, without capabilities and without a way to get any, in a network
 * of its own that leads nowhere, and bounded in memory, time, output and in how large a file of its
 * may become. It is the first process of a pid namespace: with it ends all that it started, and of
 * others, who may be the same user and work on other images, it sees nothing. The image is handed
 * to it as an open descriptor; it is its own meanwhile, in a directory that it could not enter.
 *
 * Blocks; safe from any thread.
 */

#include "runtime/images/disk_file.h"

#include <stddef.h>
#include <sys/types.h>

/* What the first of a tool's files is to it. */
#define IMAGE_TOOL_FILE "/proc/self/fd/3"

enum {
	IMAGE_TOOL_WORDS_MAX = 256,
};

typedef struct ImageTool {
	char *const *argv;
	uid_t uid;         /* whose its process is, and gid as well; 0: as we are */
	int file;          /* to be changed; of its mode no more is promised afterwards */
	const int *inputs; /* its descriptors 4 and so on, as they are */
	size_t input_count;
	const char *const *environment; /* NAME=value besides PATH, ended by NULL; may be NULL */
	int64_t timeout;                /* usec; of its processor time as well */
	bool (*go_on)(void *user);      /* asked every 0.1 s; false: it is ended; may be NULL */
	void *user;
} ImageTool;

typedef struct ImageToolResult {
	int code;     /* its exit code */
	char *output; /* the beginning of it, NUL-terminated; to free */
} ImageToolResult;

/**
 * image_tool_run() - run it to its end
 *
 * ROOTFS: it is not installed, or could not be run, or was ended by a signal; TIMEOUT, given up as
 * well.
 */
int image_tool_run(ImageToolResult *ret, const ImageTool *tool, Error *err) must_check;

/* The last line of what it said, in letters that do no harm. */
void image_tool_last_words(const ImageToolResult *result, char ret[static IMAGE_TOOL_WORDS_MAX]);

/* Fills @err with them: ROOTFS, and EXHAUSTED if the disk was full. Evaluates to -1. */
int image_tool_failed(const ImageTool *tool, const ImageToolResult *result, Error *err);

/* Are programs missing that templates need? Names them, with commas between. */
bool image_tools_missing(char *names, size_t size);
