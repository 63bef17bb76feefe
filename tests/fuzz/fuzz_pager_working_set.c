/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A working set's file: what the fuzzer gives, and the same with a right sum, without which it
 * would not come far. What is taken is saved as the same bytes again.
 */

#include "base/file.h"
/* NOLINTNEXTLINE(bugprone-suspicious-include): the pager is a program, not a library */
#include "runtime/pager/working_set.c"

#include <assert.h>

enum {
	PAGE = 4096,
	MEMORY = 1024 * PAGE
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_saved(const WorkingSet *set, const uint8_t *bytes, size_t size)
{
	char path[] = "/tmp/hearth-fuzz-XXXXXX";
	cleanup_free char *saved = NULL;
	size_t length;
	int fd = mkstemp(path), r;

	assert(fd >= 0);
	(void)close(fd);
	r = working_set_save(set, path, PAGE, MEMORY);
	assert(r == 0);
	r = file_read(&saved, &length, path, size);
	assert(r == 0 && length == size && memcmp(saved, bytes, size) == 0);
	(void)unlink(path);
}

static void try_it(const uint8_t *bytes, size_t size)
{
	WorkingSet set = { 0 };
	uint64_t end = 0, pages = 0;

	if (working_set_parse(&set, bytes, size, PAGE, MEMORY) < 0)
		return;
	for (size_t i = 0; i < set.count; i++) {
		assert(set.extents[i].count && (i == 0 || set.extents[i].page > end));
		end = set.extents[i].page + set.extents[i].count;
		pages += set.extents[i].count;
	}
	assert(end <= MEMORY / PAGE && pages == set.pages);
	check_saved(&set, bytes, size);
	working_set_clear(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free uint8_t *bytes = must_calloc(1, size);
	WorkingSetHeader header;

	try_it(data, size);
	if (size < sizeof header)
		return 0;
	memcpy(bytes, data, size);
	memcpy(&header, data, sizeof header);
	header.checksum = text_hash(bytes + sizeof header, size - sizeof header);
	memcpy(bytes, &header, sizeof header);
	try_it(bytes, size);
	return 0;
}
