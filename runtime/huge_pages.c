/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/huge_pages.h"

#include "base/file.h"
#include "base/text.h"

#include <string.h>

enum {
	PAGE_MIB = 2,
	NUMBER_MAX = 64,
};

static const char pool[] = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/* A host without the file has none. */
static uint64_t count(const char *dir, const char *name)
{
	cleanup_free char *path = text_printf("%s/%s", dir ? dir : pool, name);
	cleanup_free char *text = NULL;

	return file_read(&text, NULL, path, NUMBER_MAX) == 0 ? strtoull(text, NULL, 10) : 0;
}

int huge_pages_check(const VmSpec *spec, const char *dir, Error *err)
{
	uint64_t needed = spec_memory_mib(spec) / PAGE_MIB, available, reserved;

	if (!spec->machine || spec->machine->huge_pages != VM_HUGE_PAGES_2M)
		return 0;
	available = count(dir, "free_hugepages");
	/* Another's, who has not touched them yet: they are free, and yet not to be had. */
	reserved = count(dir, "resv_hugepages");
	available -= reserved < available ? reserved : available;
	return available >= needed ? 0
				   : error_set_capacity(err, "huge_pages_2m", needed, available);
}
