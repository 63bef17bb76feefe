/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages as JSON and back, by protobuf-c's descriptors, in proto3's mapping:
 * lowerCamelCase names, 64-bit integers as strings, Timestamp and Duration as
 * text, enums by name, maps as objects, bytes in base64, unset members left
 * out. Any is expanded where its type is one of google.rpc's error details.
 */

#include "base/error.h"

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>

static inline void json_freep(json_t **json)
{
	json_decref(*json);
}

/* A new reference, the caller's; never NULL. */
json_t *json_from_message(const ProtobufCMessage *message);

/* Writes @json and a newline: indented for people, or on one line. Flushes. */
void json_print(FILE *to, const json_t *json, bool indented);
/* @message so, on stdout. */
void json_print_message(const ProtobufCMessage *message, bool indented);

/**
 * json_to_message() - a message of @type from @json
 * @ret:	the caller's to free with protobuf_c_message_free_unpacked()
 * @err:	INVALID_REQUEST with a violation for each member that is unknown or unfit,
 *		named by its path in @json
 *
 * Members may have lowerCamelCase names or those of the .proto; null counts as absent.
 */
int json_to_message(ProtobufCMessage **ret, const ProtobufCMessageDescriptor *type, json_t *json,
		    Error *err) must_check;

/* A field's lowerCamelCase name, at most 63 bytes. */
void json_name(char ret[static 64], const ProtobufCFieldDescriptor *field);

/* Is @field a map? Its entries are messages of a key and a value. */
bool json_is_map(const ProtobufCFieldDescriptor *field);

/* RFC 3339 time, with Z or an offset: 0, or -EINVAL. */
int timestamp_from_text(int64_t *seconds, int32_t *nanos, const char *text) must_check;
