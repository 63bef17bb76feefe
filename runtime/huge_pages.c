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

int huge_pages_check(const VmSpec *spec, const char *dir, Error *err)
{
	cleanup_free char *path = text_printf("%s/free_hugepages", dir ? dir : pool);
	cleanup_free char *text = NULL;
	uint64_t needed = spec_memory_mib(spec) / PAGE_MIB, available = 0;

	if (!spec->machine || spec->machine->huge_pages != VM_HUGE_PAGES_2M)
		return 0;
	/* A host without the file has none. */
	if (file_read(&text, NULL, path, NUMBER_MAX) == 0)
		available = strtoull(text, NULL, 10);
	return available >= needed ? 0
				   : error_set_capacity(err, "huge_pages_2m", needed, available);
}
