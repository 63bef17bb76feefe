/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/store_internal.h"

#include <inttypes.h>

static int corrupt_record(const Db *db, const char *vm_id, uint64_t revision, Error *err)
{
	char what[160];

	(void)text_append(what, what + sizeof what,
			  "the record of vm '%s' at revision %" PRIu64 " cannot be read", vm_id,
			  revision);
	return db_corrupt(db, err, what);
}

int store_load_vms(Store *store, void (*each)(void *user, VmRecord *record), void *user, Error *err)
{
	sqlite3_stmt *row = db_start(&store->writer, SQL_LIST_VMS, NULL, 0, err);
	int r;

	if (!row)
		return -1;
	while ((r = db_next(&store->writer, row, err)) > 0) {
		uint64_t revision = (uint64_t)sqlite3_column_int64(row, 1);
		VmRecord *record = NULL;

		if (record_from_text(&record, db_column_text(row, 2), revision) < 0) {
			r = corrupt_record(&store->writer, db_column_text(row, 0), revision, err);
			db_end(row);
			return r;
		}
		each(user, record);
	}
	return r;
}

/* SQL_LATEST_EVENTS' row as a change; NULL if its record cannot be read. */
static Change *change_from_row(sqlite3_stmt *row)
{
	uint64_t revision = (uint64_t)sqlite3_column_int64(row, 0);
	VmRecord *record = NULL;
	Change *change;

	if (record_from_text(&record, db_column_text(row, 8), revision) < 0)
		return NULL;
	change = change_new((ChangeType)sqlite3_column_int(row, 1), record, db_column_text(row, 4));
	change->revision = revision;
	change->time = sqlite3_column_int64(row, 2);
	change->message = db_column_dup(row, 5);
	change->operation_id = db_column_dup(row, 6);
	change->principal = db_column_dup(row, 7);
	return change;
}

int store_load_changes(Store *store, size_t max, void (*each)(void *user, Change *change),
		       void *user, Error *err)
{
	uint64_t revision = store_revision(store);
	uint64_t after = revision > max ? revision - max : 0;
	sqlite3_stmt *row;
	int r;

	row = db_start(&store->writer, SQL_LATEST_EVENTS, DB_VALUES(db_number((int64_t)after)),
		       err);
	if (!row)
		return -1;
	while ((r = db_next(&store->writer, row, err)) > 0) {
		Change *change = change_from_row(row);

		if (!change) {
			r = corrupt_record(&store->writer, db_column_text(row, 3),
					   (uint64_t)sqlite3_column_int64(row, 0), err);
			db_end(row);
			return r;
		}
		each(user, change);
	}
	return r;
}

int store_uid_used(Store *store, const char *uid, Error *err)
{
	int64_t since = clock_wall_us() - (int64_t)STORE_TOMBSTONE_SEC * USEC_PER_SEC;
	sqlite3_stmt *row;
	int r = -1;

	lock_take(&store->read_lock);
	row = db_start(&store->reader, SQL_UID_USED, DB_VALUES(db_text(uid), db_number(since)),
		       err);
	if (row)
		r = db_next(&store->reader, row, err);
	if (r > 0)
		db_end(row);
	lock_drop(&store->read_lock);
	if (r < 0)
		store_note_damage(store, err);
	return r;
}

static VmState state_from_text(const char *text)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	/* An event is history: one that cannot be read must not hide the others. */
	if (record_from_text(&record, text, 0) < 0)
		return VM_STATE_UNSET;
	return record->status.state;
}

static void event_from_row(StoreEvent *event, sqlite3_stmt *row)
{
	*event = (StoreEvent){
		.revision = (uint64_t)sqlite3_column_int64(row, 0),
		.type = (ChangeType)sqlite3_column_int(row, 1),
		.time = sqlite3_column_int64(row, 2),
		.vm_id = db_column_dup(row, 3),
		.uid = db_column_dup(row, 4),
		.reason = db_column_dup(row, 5),
		.message = db_column_dup(row, 6),
		.operation_id = db_column_dup(row, 7),
		.principal = db_column_dup(row, 8),
		.state = state_from_text(db_column_text(row, 9)),
	};
}

void store_event_clear(StoreEvent *event)
{
	free(event->vm_id);
	free(event->uid);
	free(event->reason);
	free(event->message);
	free(event->operation_id);
	free(event->principal);
	*event = (StoreEvent){ 0 };
}

/* The rows of @row, which may be NULL for one that could not be started, into @events. */
static int take_events(Store *store, sqlite3_stmt *row, StoreEvent *events, size_t *n, Error *err)
	lock_requires(store->read_lock)
{
	size_t found = 0;
	int r = -1;

	if (row)
		while ((r = db_next(&store->reader, row, err)) > 0)
			event_from_row(&events[found++], row);
	if (r == 0) {
		*n = found;
		return 0;
	}
	while (found)
		store_event_clear(&events[--found]);
	return -1;
}

/* NOLINTNEXTLINE(readability-function-size): one query's worth of parameters */
int store_list_events(Store *store, const char *vm_id, const char *uid, uint64_t after,
		      StoreEvent *events, size_t max, size_t *n, Error *err)
{
	int64_t past = after > INT64_MAX ? INT64_MAX : (int64_t)after;
	sqlite3_stmt *row;
	int r;

	lock_take(&store->read_lock);
	row = db_start(&store->reader, SQL_LIST_EVENTS,
		       DB_VALUES(db_text(vm_id), db_number(past), db_text(uid ? uid : ""),
				 db_number((int64_t)max)),
		       err);
	r = take_events(store, row, events, n, err);
	lock_drop(&store->read_lock);
	if (r < 0)
		store_note_damage(store, err);
	return r;
}

int store_last_events(Store *store, const VmRecord *record, StoreEvent *events, size_t max,
		      size_t *n, Error *err)
{
	sqlite3_stmt *row;
	int r;

	lock_take(&store->read_lock);
	row = db_start(
		&store->reader, SQL_LAST_EVENTS,
		DB_VALUES(db_text(record->vm_id), db_text(record->uid), db_number((int64_t)max)),
		err);
	r = take_events(store, row, events, n, err);
	lock_drop(&store->read_lock);
	if (r < 0)
		store_note_damage(store, err);
	return r;
}
