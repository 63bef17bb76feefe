/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/huge_pages.h"

#include "base/file.h"
#include "base/text.h"

#include <string.h>

enum {
	NUMBER_MAX = 64,
	MEMINFO_MAX = 65536,
	KIB = 1024,
};

static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/* A host without the file has none. */
static uint64_t count(const char *dir, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", dir ? dir : pool, name);
	cleanup_free char *text = NULL;

	return file_read(&text, NULL, path, NUMBER_MAX) == 0 ? strtoull(text, NULL, 10) : 0;
}

uint64_t huge_pages_count(const char *dir)
{
	return count(dir, "nr_hugepages");
}

/* Of the line of @meminfo that begins with @key, in KiB; 0 without one. */
static uint64_t kib_of(const char *meminfo, const char *key)
{
	const char *at = strstr(meminfo, key);

	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

uint64_t huge_pages_other_memory(const char *path)
{
	cleanup_free char *text = NULL;
	uint64_t all, huge;

	if (file_read(&text, NULL, path ? path : "/proc/meminfo", MEMINFO_MAX) < 0)
		return 0;
	all = kib_of(text, "MemTotal:");
	huge = kib_of(text, "Hugetlb:");
	return all > huge ? (all - huge) / KIB : 0;
}

int huge_pages_check(const VmSpec *spec, const char *dir, Error *err)
{
	uint64_t needed = spec_huge_pages(spec), available, reserved;

	if (!needed)
		return 0;
	available = count(dir, "free_hugepages");
	/* Another's, who has not touched them yet: they are free, and yet not to be had. */
	reserved = count(dir, "resv_hugepages");
	available -= reserved < available ? reserved : available;
	return available >= needed ? 0
				   : error_add_capacity(err, "huge_pages_2m", needed, available);
}
