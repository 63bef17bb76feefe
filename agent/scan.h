/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is wrong with a message, read from its bytes without recursion and
 * without building it: malformed encoding, strings that are not UTF-8 or hold
 * NUL, enum values and (if asked) fields that this agent does not know, map
 * keys given twice, sub-messages given twice, too much depth, too many parts.
 *
 * Types must have at most 64 fields and not contain themselves; the contract's
 * do (tests/unit/test_decode.c).
 */

#include "base/error.h"

#include <protobuf-c/protobuf-c.h>

enum {
	SCAN_DEPTH_MAX = 16,       /* messages within each other */
	SCAN_ELEMENTS_MAX = 65536, /* fields and elements of lists, all together */
	SCAN_VIOLATIONS_MAX = 32,  /* the scan ends there */
	SCAN_FIELDS_MAX = 64,      /* of a type */
};

/**
 * scan_message() - everything wrong with @bytes as a message of @type
 * @strict:	fields that @type does not have are UNKNOWN_FIELD; else they are skipped
 * @err:	INVALID_REQUEST (cause INPUT) or UNKNOWN_FIELD, with violations by path
 *
 * Return: 0; -1; or 1 when something is wrong with the values, yet all was read and may be unpacked
 * to see what else is.
 */
int scan_message(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
		 bool strict, Error *err) must_check;
