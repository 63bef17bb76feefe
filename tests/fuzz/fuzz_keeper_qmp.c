/* SPDX-License-Identifier: Apache-2.0 */

/* What a VMM says to its keeper: the first byte says how large the pieces are it arrives in. */

/* NOLINTNEXTLINE(bugprone-suspicious-include): the keeper is a program, not a library */
#include "runtime/keeper/qmp_watch.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece = size ? (size_t)data[0] + 1 : 1;
	QmpWatch watch = { 0 };

	for (size_t at = 1; at < size; at += piece)
		qmp_watch_feed(&watch, (const char *)data + at,
			       piece < size - at ? piece : size - at);
	/* It goes into exit.json as it is. */
	if (watch.evidence[strspn(watch.evidence, reason_letters)])
		__builtin_trap();
	return 0;
}
