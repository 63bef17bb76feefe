/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a client says of a call so that it is found again: in the log, beside its own records. */

#include <grpc/grpc.h>

enum {
	TRACE_ID_SIZE = 33, /* 32 hexadecimal digits */
	REQUEST_ID_MAX = 65,
};

typedef struct Trace {
	char trace_id[TRACE_ID_SIZE]; /* of "traceparent" (W3C Trace Context, level 1); "": none */
	char request_id[REQUEST_ID_MAX]; /* "x-request-id", if it is printable; "": none */
} Trace;

/* Values that are not as they should be are none. */
void trace_read(Trace *ret, const grpc_metadata_array *metadata);
