/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Structures described by tables: one row a member.
 *
 * A table gives a structure its JSON form (the store's), its validation, its
 * comparison, its copy and its release; agent/wire.c pairs the same rows with
 * protobuf-c's descriptors by name. Adding a field to the API is an edit of
 * the proto, a member, and a row.
 *
 * Everything a structure points to is its own: fields_copy() is deep,
 * fields_clear() releases all. Zero means unset for every type: 0, false,
 * NULL, no elements. Tables are constants; all functions are safe from any
 * thread on objects that nobody is changing.
 */

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

typedef struct FieldTable FieldTable;

typedef enum FieldType {
	FIELD_BOOL,     /* bool */
	FIELD_U32,      /* uint32_t */
	FIELD_I32,      /* int32_t */
	FIELD_U64,      /* uint64_t */
	FIELD_ENUM,     /* an enum, stored as int; names in .names; 0 is unset */
	FIELD_TEXT,     /* char *, NUL-terminated UTF-8; NULL and "" are both unset */
	FIELD_TIME,     /* int64_t, usec since the epoch; google.protobuf.Timestamp */
	FIELD_DURATION, /* int64_t, usec; google.protobuf.Duration */
	FIELD_MAP,      /* FieldMap, by key, keys unique; map<string, string> */
	FIELD_OBJECT,   /* pointer to a structure of .table, or NULL */
	FIELD_LIST,     /* FieldList of structures of .table */
	FIELD_TEXTS,    /* FieldTexts; repeated string */
	FIELD_TYPE_COUNT_,
} FieldType;

/* Sorted by key once checked (fields_check) or parsed from the store. */
typedef struct FieldMap {
	struct FieldPair {
		char *key;
		char *value;
	} * pairs;
	size_t count;
} FieldMap;

/* @count structures, one after the other. */
typedef struct FieldList {
	void *items;
	size_t count;
} FieldList;

/* Texts, each of them the field's own; none is NULL. */
typedef struct FieldTexts {
	char **items;
	size_t count;
} FieldTexts;

enum {
	FIELD_TEXTS_BYTES_MAX = 255, /* of each of them */
};

enum {
	FIELD_REQUIRED = 1, /* must be set */
	FIELD_PATH = 2,   /* TEXT: an absolute path without "." or ".." components, "//", or NUL */
	FIELD_UNIQUE = 4, /* TEXT in a LIST's element: no two elements share it */
	FIELD_LATE = 8,   /* not in JSON, not copied, not compared: set by whoever numbers it */
};

typedef struct Field {
	const char *name; /* in JSON and in the proto alike */
	FieldType type;
	unsigned flags; /* FIELD_REQUIRED and the like */
	size_t offset;
	const FieldTable *table;  /* OBJECT, LIST */
	const char *const *names; /* ENUM: by value, lower case; NULL entries are not values */
	size_t name_count;        /* ENUM */
	/*
	 * When set: numbers, durations (usec) lie in [min, max]; TEXT has so many bytes; LIST,
	 * TEXTS and MAP so many elements. max 0: no bound beyond the type's. MAP keys are 1 to 63
	 * bytes of [A-Za-z0-9._/-], values up to 255 bytes.
	 */
	uint64_t min, max;
	const char *accept; /* TEXT, TEXTS: every byte is one of these; NULL: any valid UTF-8 */
} Field;

struct FieldTable {
	const char *name;
	size_t size; /* of the structure */
	const Field *fields;
	size_t count;
};

/* Where @field is in @object. */
static inline void *field_at(const Field *field, void *object)
{
	return (char *)object + field->offset;
}

static inline const void *field_in(const Field *field, const void *object)
{
	return (const char *)object + field->offset;
}

bool field_is_set(const Field *field, const void *object);

/* Members of @object that are set, by name; enums by name, times and durations as integers
 * (usec). The caller's to release. Never NULL. */
json_t *fields_to_json(const FieldTable *table, const void *object);

/**
 * fields_from_json() - the reverse, into a zeroed @object
 *
 * Members @json lacks stay unset; members the table lacks are passed over (a newer agent wrote
 * them). Nothing is left to release on failure.
 *
 * Return: 0, or -EINVAL when a member has another type or an enum name is unknown.
 */
int fields_from_json(const FieldTable *table, void *object, const json_t *json) must_check;

/**
 * fields_check() - every bad field of @object at once
 * @path:	of the object, such as "spec"; fields are reported as "<path>.<name>",
 *		of an empty one as "<name>"
 * @err:	violations are added; stays empty if there are none
 *
 * Sorts maps. Times must lie in years 1970 to 9999, durations must not be negative.
 */
void fields_check(const FieldTable *table, void *object, const char *path, Error *err);

/* Deep copy into a zeroed @to. */
void fields_copy(const FieldTable *table, void *to, const void *from);
bool fields_equal(const FieldTable *table, const void *a, const void *b);
/* Releases all that @object points to and zeroes it; the object itself stays. */
void fields_clear(const FieldTable *table, void *object);

/* Is @key 1 to 63 bytes of [A-Za-z0-9._/-]? */
bool field_key_is_good(const char *key);
/* The value of @key, or NULL. */
const char *field_map_get(const FieldMap *map, const char *key);
/* Appends a zeroed element of @table and answers it; valid until the next append. */
void *field_list_add(FieldList *list, const FieldTable *table);
/* Replaces the text, a member that no text and "" are the same to. */
void field_set_text(char **member, const char *text);
bool field_texts_has(const FieldTexts *texts, const char *text);
/* Appends a copy of @text. */
void field_texts_add(FieldTexts *texts, const char *text);
void field_texts_clear(FieldTexts *texts); /* releases all, and is empty */
