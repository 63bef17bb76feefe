/* SPDX-License-Identifier: Apache-2.0 */

/* What a Firecracker says its version is; and an accepted version reads back as itself. */

#include "base/text.h"
#include "runtime/firecracker_features.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = new0_array(char, size + 1);
	cleanup_free char *again = NULL;
	FirecrackerVersion version, copy;

	memcpy(text, data, size);
	if (!firecracker_version_parse(&version, text))
		return 0;

	again = text_printf("%u.%u.%u", version.major, version.minor, version.patch);
	assert(firecracker_version_parse(&copy, again));
	assert(memcmp(&version, &copy, sizeof version) == 0);
	return 0;
}
