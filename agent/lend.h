/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * protobuf-c's and gRPC's structures have no const, though packing only reads
 * them: text that is not ours to change, for as long as the structure lives.
 */
static inline char *lend(const char *text)
{
	const union {
		const char *in;
		char *out;
	} pointer = { .in = text };

	return pointer.out;
}
