/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode.h"

#include "agent/scan.h"

enum {
	BUDGET_BASE = 256 * 1024,
	BUDGET_FACTOR = 16, /* for each byte on the wire */
	BUDGET_MAX = 8 * 1024 * 1024,
};

int decode(ProtobufCMessage **ret, Arena *arena, const Method *method, const uint8_t *bytes,
	   size_t size, Error *err)
{
	size_t budget = BUDGET_BASE + size * BUDGET_FACTOR;
	ProtobufCMessage *message;
	int r;

	arena_init(arena, budget < BUDGET_MAX ? budget : BUDGET_MAX);
	r = scan_message(method->input, bytes, size, method->mutates, err);
	if (r < 0)
		return -1;
	message = protobuf_c_message_unpack(method->input, &arena->allocator, size, bytes);
	if (!message && r == 0)
		return error_add_violation(err, "request", "cannot be decoded: %s",
					   "it would take too much memory");
	*ret = message;
	return r ? -1 : 0;
}
