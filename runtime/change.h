/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One change of one VM: intended when it is submitted, an event once durable.
 *
 * Whoever changes a VM fills one in and submits it (store_submit). The store's
 * writer numbers it and its record, commits it with whatever else waits, and
 * hands it to the registry, which publishes it: from then on it is immutable
 * and shared by reference.
 */

#include "runtime/record.h"

typedef enum ChangeType {
	CHANGE_UNSET,
	CHANGE_ADDED = 2, /* numbers of EventType */
	CHANGE_MODIFIED = 3,
	CHANGE_DELETED = 4,
} ChangeType;

typedef struct Change Change;
struct Change {
	atomic_uint refs;
	uint64_t revision; /* the writer's to set */
	ChangeType type;
	int64_t time; /* wall usec */
	char *reason; /* one CamelCase word */
	char *message;
	char *operation_id;
	char *principal;
	VmRecord *record; /* as it is after the change */
	VmRecord *before; /* set when published; NULL for ADDED */

	/*
	 * An intent may fail (full disk): its submitter gives the operation up. An outcome has
	 * happened: the writer tries again until it is durable.
	 */
	bool is_outcome;
	bool frees; /* an intent that is to make room: on a full disk the reserve is for it */

	/* Called once, on the writer's thread, after publication, or with @err when an intent could
	 * not be made durable. Must not block. NULL: nobody waits. */
	void (*done)(Change *change, const Error *err);
	void *user;
	Change *next; /* the store's */
};

Change *change_new(ChangeType type, VmRecord *record, const char *reason); /* takes @record over */
Change *change_ref(Change *change);
void change_unref(Change *change);
DEFINE_CLEANUP(Change *, change_unref);
