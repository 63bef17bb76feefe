/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/trace.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <string.h>

#define ID "0af7651916cd43dd8448eb211c80319c"
#define PARENT "00-" ID "-b7ad6b7169203331-01"

static Trace read_one(const char *key, const char *value)
{
	grpc_metadata one = {
		.key = grpc_slice_from_copied_string(key),
		.value = grpc_slice_from_copied_string(value),
	};
	const grpc_metadata_array all = { .count = 1, .capacity = 1, .metadata = &one };
	Trace trace;

	trace_read(&trace, &all);
	grpc_slice_unref(one.key);
	grpc_slice_unref(one.value);
	return trace;
}

Test(trace, a_parent_is_read)
{
	cr_expect_str_eq(read_one("traceparent", PARENT).trace_id, ID);
	cr_expect_str_eq(read_one("traceparent", "01-" ID "-b7ad6b7169203331-01-more").trace_id,
			 ID);
	cr_expect_str_eq(read_one("other", PARENT).trace_id, "");
}

Test(trace, what_is_none_is_not_taken)
{
	static const char *const bad[] = {
		"",
		"00",
		PARENT "-more",
		PARENT "0",
		"ff-" ID "-b7ad6b7169203331-01",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-" ID "-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
		"00_" ID "-b7ad6b7169203331-01",
		"00-" ID "-b7ad6b7169203331-0x",
	};

	for (size_t i = 0; i < array_size(bad); i++)
		cr_expect_str_eq(read_one("traceparent", bad[i]).trace_id, "", "%s", bad[i]);
}

Test(trace, a_request_id_is_printable_and_short)
{
	char longest[REQUEST_ID_MAX], longer[REQUEST_ID_MAX + 1];

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	cr_expect_str_eq(read_one("x-request-id", "a/1").request_id, "a/1");
	cr_expect_str_eq(read_one("x-request-id", longest).request_id, longest);
	cr_expect_str_eq(read_one("x-request-id", longer).request_id, "");
	cr_expect_str_eq(read_one("x-request-id", "a b").request_id, "");
	cr_expect_str_eq(read_one("x-request-id", "a\n").request_id, "");
}
