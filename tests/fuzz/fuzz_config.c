/* SPDX-License-Identifier: Apache-2.0 */

/* The configuration file: any bytes are read or refused with words, and nothing leaks. */

#include "agent/config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_(config_clear) Config config = { 0 };
	cleanup_free char *text = NULL;
	Error err = { 0 };
	int r;

	if (size > CONFIG_FILE_MAX)
		return 0;
	text = new0_array(char, size + 1);
	if (size)
		memcpy(text, data, size);
	r = config_read_text(&config, text, size, "fuzz.yaml", &err);
	assert((r == 0) == !error_is_set(&err));
	assert(r == 0 || err.what[0]);
	return 0;
}
