/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/selector.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* What parses is matched, twice with the same answer; what does not is refused in words. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct FieldPair pairs[] = { { (char[]){ "a" }, (char[]){ "b" } },
				     { (char[]){ "c" }, (char[]){ "" } } };
	const FieldMap labels = { pairs, array_size(pairs) };
	cleanup_(selector_freep) Selector *selector = NULL;
	cleanup_free char *text = text_printf("%.*s", (int)size, (const char *)data);
	Error err = { 0 };

	if (selector_parse(&selector, text, "label_selector", &err) < 0)
		assert(!selector && err.kind == ERROR_INVALID_REQUEST);
	else
		assert(selector_match(selector, &labels) == selector_match(selector, &labels));
	return 0;
}
