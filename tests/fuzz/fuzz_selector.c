/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/selector.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* What parses is matched, twice with the same answer; what does not is refused in words. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct FieldPair pairs[] = { { (char[]){ "a" }, (char[]){ "b" } },
				     { (char[]){ "c" }, (char[]){ "" } } };
	const FieldMap labels = { pairs, array_size(pairs) };
	cleanup_(selector_freep) Selector *selector = NULL;
	cleanup_free char *text = new0_array(char, size + 1);
	Error err = { 0 };

	if (size)
		memcpy(text, data, size);
	if (selector_parse(&selector, text, "label_selector", &err) < 0)
		assert(!selector && err.kind == ERROR_INVALID_REQUEST);
	else
		assert(selector_match(selector, &labels) == selector_match(selector, &labels));
	return 0;
}
