/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which pages of a memory file guests have used soon after a restore, as a
 * file beside the snapshot:
 *
 *	WorkingSetHeader, then for each extent two numbers of 32 bits: how many
 *	pages lie between the one before and it, and how many it has
 *
 * Extents are in order, apart from one another, and never empty; so there is
 * one file for one set. Parsing what may have been tampered with is bounded.
 */

#include "base/error.h"

enum {
	WORKING_SET_VERSION = 1,
	WORKING_SET_EXTENTS_MAX = 1 << 20
};

/* In the file, little-endian as all machines hearth runs on. */
typedef struct WorkingSetHeader {
	char magic[8];
	uint32_t version;
	uint32_t extents;
	uint64_t page_size;
	uint64_t memory_size;
	uint64_t checksum; /* text_hash() of what follows */
} WorkingSetHeader;

typedef struct Extent {
	uint64_t page, count;
} Extent;

typedef struct WorkingSet {
	Extent *extents;
	size_t count;
	uint64_t pages; /* of all of them */
} WorkingSet;

/* Adds @count pages from @page, which lies beyond all that is there; those that meet become one. */
void working_set_add(WorkingSet *set, uint64_t page, uint64_t count);
void working_set_clear(WorkingSet *set);

/* How many pages from @page on are in the set, one after the other; 0: not even that one. */
uint64_t working_set_run(const WorkingSet *set, uint64_t page);

/**
 * working_set_parse() - the set of the file's bytes
 * @ret:	to be emptied by working_set_clear()
 * @page_size:	and
 * @memory_size: of the memory it must be of
 *
 * Return: 0; -EINVAL: no such file, or damaged; -ESTALE: of other memory.
 */
int working_set_parse(WorkingSet *ret, const void *bytes, size_t size, uint64_t page_size,
		      uint64_t memory_size) must_check;

/* The same of the file @path; -errno. */
int working_set_load(WorkingSet *ret, const char *path, uint64_t page_size, uint64_t memory_size)
	must_check;

/* Replaces @path, whole or not at all: 0 or -errno. */
int working_set_save(const WorkingSet *set, const char *path, uint64_t page_size,
		     uint64_t memory_size) must_check;
