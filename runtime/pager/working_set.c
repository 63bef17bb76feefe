/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/working_set.h"

#include "base/file.h"
#include "base/text.h"

#include <string.h>

static const char magic[8] = "hearthws";

/* An extent in the file. */
typedef struct Entry {
	uint32_t gap, count;
} Entry;

void working_set_add(WorkingSet *set, uint64_t page, uint64_t count)
{
	Extent *last = set->count ? &set->extents[set->count - 1] : NULL;

	set->pages += count;
	if (last && last->page + last->count == page) {
		last->count += count;
		return;
	}
	if (!(set->count & (set->count - 1))) /* room for a power of two */
		set->extents = must_realloc(set->extents, set->count ? 2 * set->count : 1,
					    sizeof *set->extents);
	set->extents[set->count++] = (Extent){ page, count };
}

void working_set_clear(WorkingSet *set)
{
	free(set->extents);
	*set = (WorkingSet){ 0 };
}

uint64_t working_set_run(const WorkingSet *set, uint64_t page)
{
	size_t low = 0, high = set->count;

	while (low < high) { /* the first extent that ends beyond @page */
		size_t middle = low + (high - low) / 2;

		if (set->extents[middle].page + set->extents[middle].count <= page)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == set->count || set->extents[low].page > page)
		return 0;
	return set->extents[low].page + set->extents[low].count - page;
}

static int take_entries(WorkingSet *set, const unsigned char *at, size_t count, uint64_t pages)
{
	uint64_t page = 0;

	for (size_t i = 0; i < count; i++, at += sizeof(Entry)) {
		Entry entry;

		memcpy(&entry, at, sizeof entry);
		page += entry.gap;
		if (!entry.count || (i && !entry.gap) || page >= pages ||
		    entry.count > pages - page)
			return -EINVAL;
		working_set_add(set, page, entry.count);
		page += entry.count;
	}
	return 0;
}

int working_set_parse(WorkingSet *ret, const void *bytes, size_t size, uint64_t page_size,
		      uint64_t memory_size)
{
	const unsigned char *entries = (const unsigned char *)bytes + sizeof(WorkingSetHeader);
	WorkingSetHeader header;
	WorkingSet set = { 0 };

	if (size < sizeof header)
		return -EINVAL;
	memcpy(&header, bytes, sizeof header);
	size -= sizeof header;
	if (memcmp(header.magic, magic, sizeof magic) != 0 ||
	    header.version != WORKING_SET_VERSION || header.extents > WORKING_SET_EXTENTS_MAX ||
	    size != header.extents * sizeof(Entry) || header.checksum != text_hash(entries, size))
		return -EINVAL;
	if (header.page_size != page_size || header.memory_size != memory_size)
		return -ESTALE;
	if (take_entries(&set, entries, header.extents, memory_size / page_size) < 0) {
		working_set_clear(&set);
		return -EINVAL;
	}
	*ret = set;
	return 0;
}

int working_set_load(WorkingSet *ret, const char *path, uint64_t page_size, uint64_t memory_size)
{
	cleanup_free char *bytes = NULL;
	size_t size;
	int r = file_read(&bytes, &size, path,
			  sizeof(WorkingSetHeader) + WORKING_SET_EXTENTS_MAX * sizeof(Entry));

	return r < 0 ? r : working_set_parse(ret, bytes, size, page_size, memory_size);
}

int working_set_save(const WorkingSet *set, const char *path, uint64_t page_size,
		     uint64_t memory_size)
{
	size_t count = set->count < WORKING_SET_EXTENTS_MAX ? set->count : WORKING_SET_EXTENTS_MAX;
	size_t size = count * sizeof(Entry);
	cleanup_free char *bytes = must_calloc(1, sizeof(WorkingSetHeader) + size);
	char *entries = bytes + sizeof(WorkingSetHeader);
	WorkingSetHeader header = {
		.version = WORKING_SET_VERSION,
		.extents = (uint32_t)count,
		.page_size = page_size,
		.memory_size = memory_size,
	};
	uint64_t page = 0;

	memcpy(header.magic, magic, sizeof magic);
	for (size_t i = 0; i < count; i++) {
		const Extent *extent = &set->extents[i];
		Entry entry = { (uint32_t)(extent->page - page), (uint32_t)extent->count };

		memcpy(entries + i * sizeof entry, &entry, sizeof entry);
		page = extent->page + extent->count;
	}
	header.checksum = text_hash(entries, size);
	memcpy(bytes, &header, sizeof header);
	return file_write_atomic(path, bytes, sizeof header + size);
}
