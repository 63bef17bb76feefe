/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Requests from bytes that anybody may have sent.
 *
 * protobuf-c has no limit on depth, on elements or on memory, merges repeated
 * occurrences of a sub-message quadratically and does not look at UTF-8. So
 * the bytes are read twice: first by a scan without recursion that follows
 * protobuf-c's descriptors and finds everything wrong with them, by path, and
 * only when there is nothing by protobuf-c, into an arena with a budget. Scanning
 * is scan.h's.
 */

#include "agent/arena.h"
#include "agent/method.h"
#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * decode() - the request of @method in @bytes, scanned first
 * @ret:	lives in @arena; also set on failure if the request can be looked at further
 * @arena:	initialised here; the caller clears it, also after a failure
 * @err:	as scan_message(), strict for methods that mutate
 */
int decode(ProtobufCMessage **ret, Arena *arena, const Method *method, const uint8_t *bytes,
	   size_t size, Error *err) must_check;
