/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The pairs of field table rows and proto fields that wire.c and wire_spec.c walk. */

#include "runtime/fields.h"

#include <protobuf-c/protobuf-c.h>

enum {
	WIRE_PAIRS_MAX = 24,
};

typedef struct WireTable WireTable;

typedef struct WirePair {
	const Field *field;
	const ProtobufCFieldDescriptor *proto;
	const WireTable
		*table; /* OBJECT, LIST; NULL for a VmFailure, which is a google.rpc.Status */
} WirePair;

struct WireTable {
	const FieldTable *fields;
	const ProtobufCMessageDescriptor *message;
	WirePair pairs[WIRE_PAIRS_MAX];
	size_t count;
};

typedef struct WireTables {
	const WireTable *vm, *spec, *egress, *status;
} WireTables;

/* Paired at the first call. */
const WireTables *wire_tables(void);

static inline void *wire_member(void *message, unsigned offset)
{
	return (char *)message + offset;
}

static inline const void *wire_member_in(const void *message, unsigned offset)
{
	return (const char *)message + offset;
}
