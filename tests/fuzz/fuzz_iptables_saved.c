/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "netfw/iptables_saved.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* All that is found can be written back as one word, and is ours by its name. */
static void check_word(const char *word)
{
	assert(word && *word && !strpbrk(word, " \n"));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	cleanup_(iptables_saved_clear) IptablesSaved saved = { 0 };

	iptables_saved_parse(&saved, text_printf("%.*s", (int)size, (const char *)data));

	for (size_t i = 0; i < saved.count; i++) {
		const SavedEntry *entry = &saved.entries[i];

		assert(iptables_is_chain(entry->chain));
		if (entry->kind != SAVED_CHAIN)
			check_word(entry->text);
		if (entry->kind == SAVED_JUMP)
			check_word(entry->hook);
	}
	return 0;
}
