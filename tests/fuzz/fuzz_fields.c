/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/record.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* Whatever reads as a record is checked, copied and written, and reads again as the same. */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	cleanup_(record_unrefp) VmRecord *record = NULL, *copy = NULL, *again = NULL;
	cleanup_free char *input = text_printf("%.*s", (int)size, (const char *)data);
	cleanup_free char *text = NULL, *same = NULL;
	Error err = { 0 };
	int r;

	if (record_from_text(&record, input, 1) < 0)
		return 0;
	(void)spec_check(record->spec, &err);
	copy = record_copy(record);
	text = record_to_text(copy);
	r = record_from_text(&again, text, 1);
	assert(r == 0);
	same = record_to_text(again);
	assert(strcmp(text, same) == 0);
	assert(fields_equal(&vm_status_table, &record->status, &again->status));
	return 0;
}
