/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Fields of a protobuf message as they are on the wire.
 */

#include <stddef.h>
#include <stdint.h>

typedef enum WireType {
	WIRE_VARINT = 0,
	WIRE_64BIT = 1,
	WIRE_BYTES = 2,
	WIRE_32BIT = 5,
} WireType;

typedef struct Token {
	uint32_t id;
	WireType wire;
	uint64_t value;       /* WIRE_VARINT */
	const uint8_t *bytes; /* the value as it is on the wire, without a length before it */
	size_t size;
} Token;

/**
 * token_read() - the next field
 * @at:		moved past it
 *
 * Return: NULL, or what is wrong with the bytes.
 */
const char *token_read(Token *ret, const uint8_t **at, const uint8_t *end);

/* The same for one varint of at most @max bytes. */
const char *token_read_varint(uint64_t *ret, const uint8_t **at, const uint8_t *end, unsigned max);
