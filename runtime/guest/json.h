/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A strict reader of JSON, of one line at a time and without memory of its own: texts are
 * unescaped where they are in the line, and there is a value for every two bytes of the longest
 * line, so that nothing can run out. What it says of a line is valid until the line is gone.
 *
 * Of two members of one name the last one counts. Numbers are those of int64_t; others are
 * allowed in the line, for the sake of members nobody knows, and are no number to anybody.
 */

#include "base/cleanup.h"
#include "runtime/guest/protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GUEST_JSON_DEPTH = 8,
	GUEST_JSON_VALUES = GUEST_LINE_MAX / 2,
};

typedef enum GuestJsonType {
	GUEST_JSON_NULL,
	GUEST_JSON_BOOL,
	GUEST_JSON_NUMBER,
	GUEST_JSON_FRACTION, /* a number that is none of int64_t */
	GUEST_JSON_TEXT,
	GUEST_JSON_ARRAY,
	GUEST_JSON_OBJECT,
} GuestJsonType;

typedef struct GuestJsonValue {
	int64_t number; /* or of a text the length, of an array or object how many are in it */
	uint16_t name;  /* where it is in the line; of an object's members */
	uint16_t text;  /* where it is in the line */
	uint16_t next;  /* the next one in the same array or object, or 0 */
	uint8_t type;   /* GuestJsonType */
} GuestJsonValue;

typedef struct GuestJson {
	char *line;
	GuestJsonValue values[GUEST_JSON_VALUES]; /* the first is the line's object */
} GuestJson;

/**
 * guest_json_read() - read the object in @line, which is changed and must outlive @json
 * @length:	less than GUEST_LINE_MAX; line[length] is written to
 * Return:	0, or -EBADMSG when the line is no object
 */
int guest_json_read(GuestJson *json, char *line, size_t length) must_check;

/* The line's object. */
const GuestJsonValue *guest_json_root(const GuestJson *json);

/* The first value within an array or object, and the one after @value; or NULL. */
const GuestJsonValue *guest_json_first(const GuestJson *json, const GuestJsonValue *parent);
const GuestJsonValue *guest_json_next(const GuestJson *json, const GuestJsonValue *value);

/* A member of an object; NULL: there is none, or it is null. */
const GuestJsonValue *guest_json_member(const GuestJson *json, const GuestJsonValue *object,
					const char *name);

const char *guest_json_name(const GuestJson *json, const GuestJsonValue *value);

/* What a text says; NULL: it is no text, or has a zero byte in it. */
const char *guest_json_text(const GuestJson *json, const GuestJsonValue *value);
