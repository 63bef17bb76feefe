/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where in the VMM a guest's memory lies, and where in the memory file its
 * contents are. Plain, so that it can lie in a file (state.h).
 *
 * Pages are numbered by their place in the memory file, whose pages belong to
 * one region at most: a page's number is the same for every VMM that is
 * restored from that file.
 */

#include "base/error.h"

enum {
	REGIONS_MAX = 32,
	PAGE_SMALL = 4096,
	PAGE_HUGE = 2 * 1024 * 1024
};

typedef struct Region {
	uint64_t address; /* in the VMM */
	uint64_t size;
	uint64_t offset; /* in the memory file */
} Region;

typedef struct Regions {
	uint64_t page_size; /* PAGE_SMALL or PAGE_HUGE, of all of them */
	uint64_t count;
	Region items[REGIONS_MAX]; /* by address */
} Regions;

/**
 * regions_check() - sort @regions and see whether they can be served
 * @file_size:	of the memory file, in which they have to lie
 * @err:	UFFD, cause INPUT: what is wrong with which
 */
int regions_check(Regions *regions, uint64_t file_size, Error *err) must_check;

/* The region @address lies in; NULL: none. */
const Region *regions_find(const Regions *regions, uint64_t address);
/* The region that page @page of the file belongs to; NULL: none. */
const Region *regions_of_page(const Regions *regions, uint64_t page);

/* The page at @address, which lies in @region, and back. */
static inline uint64_t region_page(const Regions *regions, const Region *region, uint64_t address)
{
	return (address - region->address + region->offset) / regions->page_size;
}

static inline uint64_t region_address(const Regions *regions, const Region *region, uint64_t page)
{
	return page * regions->page_size - region->offset + region->address;
}

/* One past the last page of @region. */
static inline uint64_t region_end(const Regions *regions, const Region *region)
{
	return (region->offset + region->size) / regions->page_size;
}
