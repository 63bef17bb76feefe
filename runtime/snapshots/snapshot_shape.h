/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Structures of the manifest described by tables, and from these their JSON, strictly: every text
 * is bounded and looked at, every number has its limit, and what is not in a table is refused.
 * For runtime/snapshots/snapshot_manifest.c alone.
 */

#include "runtime/snapshots/snapshot_manifest.h"

#include <jansson.h>

typedef struct SnapshotShape SnapshotShape;

typedef enum SnapshotType {
	SNAPSHOT_TYPE_TEXT,   /* char *; NULL: unset */
	SNAPSHOT_TYPE_NUMBER, /* uint64_t */
	SNAPSHOT_TYPE_BOOL,
	SNAPSHOT_TYPE_KIND, /* SnapshotKind */
	SNAPSHOT_TYPE_LIST, /* SnapshotList of .shape */
	SNAPSHOT_TYPE_COUNT_,
} SnapshotType;

typedef struct SnapshotMember {
	const char *name;
	SnapshotType type;
	bool required;
	size_t offset;
	uint64_t max;                      /* bytes of a text, of a number, elements of a list */
	bool (*is_good)(const char *text); /* NULL: any UTF-8 is */
	const SnapshotShape *shape;
} SnapshotMember;

struct SnapshotShape {
	size_t size;
	const SnapshotMember *members;
	size_t count;
};

/* What is set of @object; to release. Texts are UTF-8 by snapshot_shape_check(). */
json_t *snapshot_shape_to_json(const SnapshotShape *shape, const void *object);

/**
 * snapshot_shape_from_json() - the reverse, into a zeroed @object
 * @strict:	members that are not in the table are refused, else passed over
 *
 * Return: NULL, or the name of the member that is wrong (the table's, or @json's). @object is to be
 * cleared in any case.
 */
const char *snapshot_shape_from_json(const SnapshotShape *shape, void *object, json_t *json,
				     bool strict) must_check;

/* Return: NULL, or the name of the member that snapshot_shape_from_json() would not take. */
const char *snapshot_shape_check(const SnapshotShape *shape, const void *object) must_check;

/* Releases all that @object points to and zeroes it. */
void snapshot_shape_clear(const SnapshotShape *shape, void *object);

/* A zeroed element more; valid until the next. */
void *snapshot_list_add(SnapshotList *list, size_t size);
