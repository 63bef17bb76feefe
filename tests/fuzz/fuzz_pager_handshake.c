/* SPDX-License-Identifier: Apache-2.0 */

/* What a VMM says of its memory: the first byte says how large its memory file is. */

/* NOLINTBEGIN(bugprone-suspicious-include): the pager is a program, not a library */
#include "runtime/pager/handshake.c"
#include "runtime/pager/regions.c"
#include "runtime/pager/uffd.c"
/* NOLINTEND(bugprone-suspicious-include) */

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is taken can be served: every page has one place in the VMM and the file. */
static void check(const Regions *regions, uint64_t file_size)
{
	assert(regions->count >= 1 && regions->count <= REGIONS_MAX);
	assert(regions->page_size == PAGE_SMALL || regions->page_size == PAGE_HUGE);
	for (size_t i = 0; i < regions->count; i++) {
		const Region *region = &regions->items[i];
		uint64_t first = region->offset / regions->page_size;

		assert(region->size && region->size <= file_size);
		assert(region->offset <= file_size - region->size);
		assert(regions_find(regions, region->address + region->size - 1) == region);
		assert(regions_of_page(regions, first) == region);
		assert(region_address(regions, region, first) == region->address);
		assert(region_page(regions, region, region->address) == first);
		assert(i == 0 || region[-1].address + region[-1].size <= region->address);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t file_size = size ? UINT64_C(4096) << data[0] % 52 : 0;
	Regions regions;
	Error err = { 0 };

	if (!size)
		return 0;
	if (handshake_parse(&regions, (const char *)data + 1, size - 1, file_size, &err) == 0)
		check(&regions, file_size);
	else
		assert(err.kind == ERROR_UFFD && err.cause == CAUSE_INPUT);
	return 0;
}
