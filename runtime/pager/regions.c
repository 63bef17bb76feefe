/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/regions.h"

#include <inttypes.h>

/* No process has memory beyond: the kernel's own half begins there (with five levels of tables). */
static const uint64_t address_end = UINT64_C(1) << 56;

static int by_address(const void *a, const void *b)
{
	const Region *left = a, *right = b;

	return (left->address > right->address) - (left->address < right->address);
}

static int check_one(const Regions *regions, const Region *region, uint64_t file_size, Error *err)
{
	uint64_t mask = regions->page_size - 1;

	if (!region->size || (region->size | region->address | region->offset) & mask)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "region at %#" PRIx64 ": size %" PRIu64 " or offset %" PRIu64
				       " is not of whole pages of %" PRIu64 " bytes",
				       region->address, region->size, region->offset,
				       regions->page_size);
	if (region->address >= address_end || region->size > address_end - region->address)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "region at %#" PRIx64 ": %" PRIu64 " bytes fit no process",
				       region->address, region->size);
	if (region->offset > file_size || region->size > file_size - region->offset)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "region at %#" PRIx64 ": bytes %" PRIu64 "+%" PRIu64
				       " are beyond the memory file's %" PRIu64,
				       region->address, region->offset, region->size, file_size);
	return 0;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int check_pair(const Region *a, const Region *b, Error *err)
{
	if (overlap(a->address, a->size, b->address, b->size))
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "regions at %#" PRIx64 " and %#" PRIx64 " overlap",
				       a->address, b->address);
	if (overlap(a->offset, a->size, b->offset, b->size))
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "regions at %#" PRIx64 " and %#" PRIx64
				       " overlap in the memory file",
				       a->address, b->address);
	return 0;
}

int regions_check(Regions *regions, uint64_t file_size, Error *err)
{
	if (regions->page_size != PAGE_SMALL && regions->page_size != PAGE_HUGE)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "pages of %" PRIu64 " bytes are not served",
				       regions->page_size);
	if (regions->count == 0 || regions->count > REGIONS_MAX)
		return error_set_cause(err, ERROR_UFFD, CAUSE_INPUT,
				       "%" PRIu64 " regions; 1 to %d are served", regions->count,
				       REGIONS_MAX);
	for (size_t i = 0; i < regions->count; i++)
		if (check_one(regions, &regions->items[i], file_size, err) < 0)
			return -1;
	for (size_t i = 1; i < regions->count; i++)
		for (size_t k = 0; k < i; k++)
			if (check_pair(&regions->items[k], &regions->items[i], err) < 0)
				return -1;
	qsort(regions->items, regions->count, sizeof *regions->items, by_address);
	return 0;
}

const Region *regions_find(const Regions *regions, uint64_t address)
{
	for (size_t i = 0; i < regions->count; i++)
		if (address - regions->items[i].address < regions->items[i].size)
			return &regions->items[i];
	return NULL;
}

const Region *regions_of_page(const Regions *regions, uint64_t page)
{
	uint64_t offset = page * regions->page_size;

	for (size_t i = 0; i < regions->count; i++)
		if (offset - regions->items[i].offset < regions->items[i].size)
			return &regions->items[i];
	return NULL;
}
