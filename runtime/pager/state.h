/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What must outlive one pager, and what agents read of it: pager.state in the
 * VM's run directory, mapped by all of them.
 *
 *	PagerState, then for each bitmap a bit for every page of the memory file
 *
 * A pager makes it when it has the VMM's memory; the one that takes over after
 * its death finds the regions in it, what has been removed, and what was read
 * and perhaps not yet dealt with: messages are read into this file, so that
 * there is no moment at which only the dead one knows of a REMOVE. Which pages
 * are there the kernel knows: BITS_PRESENT only spares asking it.
 *
 * The fault thread writes, but for ended, failure's first byte and BITS_TOUCHED's being read.
 */

#include "base/process.h"
#include "runtime/pager/counters.h"
#include "runtime/pager/regions.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>

enum {
	STATE_VERSION = 1,
	STATE_MESSAGES_MAX = 16,
	STATE_FAILURE_MAX = 256
};

typedef enum StateBits {
	BITS_PRESENT, /* filled by a pager: a hint */
	BITS_REMOVED, /* given back by the VMM: reads as zeros ever after */
	BITS_TOUCHED, /* filled for a fault: the working set in the making */
	BITS_COUNT_,
} StateBits;

/* In the file, of this machine's byte order. Version 1. */
typedef struct PagerState {
	char magic[8];
	uint32_t version;
	uint32_t size; /* of this structure: where the bitmaps begin */
	int64_t vmm_pid;
	uint64_t vmm_start_time;
	uint64_t memory_size; /* of the memory file */
	uint64_t words;       /* of 64 bits, in each bitmap */
	Regions regions;
	Counters counters;
	struct uffd_msg messages[STATE_MESSAGES_MAX]; /* the latest reading; event 0: done with */
	atomic_uint_fast64_t to_install; /* pages of a working set; 0: none or not yet known */
	atomic_uint_fast64_t installed;  /* 1: all of them are, or cannot be */
	atomic_uint_fast64_t failed;     /* 1: failure says why, as of a uffd error */
	char failure[STATE_FAILURE_MAX];
} PagerState;

static const char state_magic[8] = "hearthpg";

/* What the file at @path says now: 0; -ENOENT; -EINVAL: it is of something else. For others than
 * pagers: read, not mapped, so that a file which somebody cuts short is no SIGBUS of theirs. */
static inline int state_read(PagerState *ret, const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (pread(fd, ret, sizeof *ret, 0) != (ssize_t)sizeof *ret ||
	    memcmp(ret->magic, state_magic, sizeof state_magic) != 0 ||
	    ret->version != STATE_VERSION || ret->size != sizeof *ret)
		return -EINVAL;
	ret->failure[sizeof ret->failure - 1] = '\0';
	return 0;
}

typedef struct State State;

/**
 * state_new() - a fresh file at @path, which replaces what is there
 * @ret:	to be released by state_free()
 * @err:	UFFD; its disk space is taken now
 */
int state_new(State **ret, const char *path, const ProcessId *vmm, const Regions *regions,
	      uint64_t memory_size, Error *err) must_check;

/**
 * state_open() - the file that a dead pager of @vmm left
 * @memory_size:	what it must be of
 * @err:		UFFD; cause CORRUPT if it is not such a file
 */
int state_open(State **ret, const char *path, const ProcessId *vmm, uint64_t memory_size,
	       Error *err) must_check;
void state_free(State *state); /* accepts NULL; the file stays */
DEFINE_CLEANUP(State *, state_free);

PagerState *state_shared(State *state);

/* Any thread may look while the fault thread sets. */
bool state_bit(const State *state, StateBits bits, uint64_t page);
void state_set_bits(State *state, StateBits bits, uint64_t page, uint64_t count);

/* The first page from @page on whose bit is set; @end: none before. */
uint64_t state_next_bit(const State *state, StateBits bits, uint64_t page, uint64_t end);
/* The same for one that is not set. */
uint64_t state_next_clear(const State *state, StateBits bits, uint64_t page, uint64_t end);

/* Says why a page or all of them cannot be served; the first reason stays. */
void state_fail(State *state, const char *format, ...) printf_like(2, 3);
