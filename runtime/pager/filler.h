/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Filling pages of a VMM from its memory file: which lie together, and how each kind is brought.
 * For the fault thread alone (faults.h).
 */

#include "runtime/pager/memory_file.h"
#include "runtime/pager/state.h"

typedef struct Filler {
	int uffd;
	const MemoryFile *memory;
	State *state;
	const Regions *regions;
	Counters *counters;
	void *spare; /* a page of zeros, but while one that cannot be copied is read */
} Filler;

/* Pages that one call can fill. */
typedef struct Run {
	uint64_t page, count;
	uint64_t address; /* of the first */
	bool zero;
} Run;

/* To be cleared; all arguments must outlive it. */
void filler_init(Filler *ret, int uffd, const MemoryFile *memory, State *state);
void filler_clear(Filler *filler);

/* Of what is at page @page of @region there are that many of one kind, @count at most. */
Run filler_plan(const Filler *filler, const Region *region, uint64_t page, uint64_t count);

/**
 * filler_fill() - bring the pages of @run, and wake who waits for them
 * @counter:	gets those added that were not there before
 *
 * Return: how many, from the first, are there now; -errno as in uffd.h if not even that one.
 */
int64_t filler_fill(Filler *filler, const Run *run, atomic_uint_fast64_t *counter) must_check;

/**
 * filler_reread() - a page that the kernel could not copy from the file: once more, by pread()
 *
 * Return: 0; -errno as in uffd.h; -EIO: it cannot be read, and pager.state says why.
 */
int filler_reread(Filler *filler, const Run *page) must_check;

/* Who waits for the page at @address looks again. */
void filler_wake(const Filler *filler, uint64_t address);
