/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trace.h"

#include "base/cleanup.h"

#include <stdbool.h>
#include <string.h>

enum {
	PARENT_LENGTH = 55, /* "00-", 32 digits, "-", 16 digits, "-", 2 digits */
	PARENT_AT = 36,
	FLAGS_AT = 53,
	TRACE_AT = 3,
	TRACE_DIGITS = TRACE_ID_SIZE - 1,
};

static bool is_hex(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	return true;
}

static bool is_zero(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] != '0')
			return false;
	return true;
}

/* A later version may go on behind what this one knows. */
static bool is_parent(const char *text, size_t length)
{
	if (length < PARENT_LENGTH || (length > PARENT_LENGTH && text[PARENT_LENGTH] != '-') ||
	    !is_hex(text, 2) || strncmp(text, "ff", 2) == 0 ||
	    (length > PARENT_LENGTH && strncmp(text, "00", 2) == 0))
		return false;
	return text[TRACE_AT - 1] == '-' && text[PARENT_AT - 1] == '-' &&
	       text[FLAGS_AT - 1] == '-' && is_hex(text + TRACE_AT, TRACE_DIGITS) &&
	       is_hex(text + PARENT_AT, FLAGS_AT - 1 - PARENT_AT) && is_hex(text + FLAGS_AT, 2) &&
	       !is_zero(text + TRACE_AT, TRACE_DIGITS) &&
	       !is_zero(text + PARENT_AT, FLAGS_AT - 1 - PARENT_AT);
}

static bool is_id(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return false;
	return length < REQUEST_ID_MAX;
}

void trace_read(Trace *ret, const grpc_metadata_array *metadata)
{
	*ret = (Trace){ .trace_id = "" };
	for (size_t i = 0; i < metadata->count; i++) {
		const grpc_metadata *one = &metadata->metadata[i];
		const char *value = (const char *)GRPC_SLICE_START_PTR(one->value);
		size_t length = GRPC_SLICE_LENGTH(one->value);

		if (grpc_slice_str_cmp(one->key, "traceparent") == 0 && is_parent(value, length))
			memcpy(ret->trace_id, value + TRACE_AT, TRACE_DIGITS);
		else if (grpc_slice_str_cmp(one->key, "x-request-id") == 0 && is_id(value, length))
			memcpy(ret->request_id, value, length);
	}
}
