/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A store that cannot be trusted is moved aside whole, and read row by row: a
 * row that cannot be read costs no other. What is read is never written to.
 */
#include "base/text.h"
#include "runtime/store_internal.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum {
	ROWS_UNSEEN = 100000 /* looked for when the last one's number cannot be read */
};

int store_move_aside(const char *path, char **ret, Error *err)
{
	static const char *const parts[] = { "-wal", "" }; /* the database itself last */
	cleanup_free char *log = text_printf("%s-wal", path);
	time_t now = time(NULL);
	char stamp[32];
	struct tm utc;

	if (access(path, F_OK) < 0 && access(log, F_OK) < 0)
		return 0;
	(void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &utc));
	*ret = text_printf("%s.corrupt-%s", path, stamp);
	for (size_t i = 0; i < array_size(parts); i++) {
		cleanup_free char *from = text_printf("%s%s", path, parts[i]);
		cleanup_free char *to = text_printf("%s%s", *ret, parts[i]);

		if (access(to, F_OK) == 0) /* nothing is ever lost, least of all to a repetition */
			return error_set_errno(err, ERROR_STORE, EEXIST, "move '%s' to '%s'", from,
					       to);
		if (rename(from, to) < 0 && errno != ENOENT)
			return error_set_errno(err, ERROR_STORE, errno, "move '%s' to '%s'", from,
					       to);
	}
	return 0;
}

/* One row: 1; 0: there is none; -1: it cannot be read. */
static int read_vm(Db *db, int64_t number, VmRecord **ret)
{
	Error ignored = { 0 };
	sqlite3_stmt *row = db_start(db, SQL_VM_BY_NUMBER, DB_VALUES(db_number(number)), &ignored);
	int r = row ? db_next(db, row, &ignored) : -1;

	if (r <= 0)
		return r;
	r = record_from_text(ret, db_column_text(row, 1), (uint64_t)sqlite3_column_int64(row, 0));
	db_end(row);
	return r == 0 && record_is_whole(*ret) ? 1 : -1;
}

static void salvage_vms(Db *db, const StoreSalvage *to)
{
	Error ignored = { 0 };
	sqlite3_stmt *row = db_start(db, SQL_LAST_VM_NUMBER, NULL, 0, &ignored);
	int64_t last = ROWS_UNSEEN;
	size_t lost = 0;
	char what[64];

	if (row && db_next(db, row, &ignored) > 0) {
		last = sqlite3_column_int64(row, 0);
		db_end(row);
	}
	for (int64_t i = 1; i <= last; i++) {
		VmRecord *record = NULL;
		int r = read_vm(db, i, &record);

		if (r > 0) {
			to->each(to->user, record);
			continue;
		}
		record_unref(record);
		if (r < 0)
			lost++;
	}
	if (!lost)
		return;
	(void)text_append(what, what + sizeof what, "up to %zu rows cannot be read", lost);
	to->lost(to->user, what);
}

/* Copies rows of three columns, as far as they can be read. */
static int copy_rows(Db *from, DbSql read, Store *store, DbSql write, Error *err)
{
	Error ignored = { 0 };
	sqlite3_stmt *row = db_start(from, read, NULL, 0, &ignored);

	while (row && db_next(from, row, &ignored) > 0)
		if (db_run(&store->writer, write,
			   DB_VALUES(db_text(db_column_text(row, 0)),
				     db_text(db_column_text(row, 1)),
				     db_number(sqlite3_column_int64(row, 2))),
			   err) < 0) {
			db_end(row);
			return -1;
		}
	return 0;
}

int store_salvage(Store *store, const char *aside, const StoreSalvage *to, Error *err)
{
	cleanup_free char *index = text_printf("%s-shm", aside);
	Db db = { .path = text_dup(aside), .read_only = true };
	Error ignored = { 0 };
	int r = 0;

	if (db_open(&db, 1024, &ignored) < 0) {
		to->lost(to->user, ignored.what);
	} else {
		salvage_vms(&db, to);
		r = copy_rows(&db, SQL_LIST_CORDONS, store, SQL_PUT_CORDON, err);
		if (r == 0)
			r = copy_rows(&db, SQL_LIST_TOMBSTONES, store, SQL_ADD_TOMBSTONE, err);
	}
	db_close(&db);
	free(db.path);
	(void)unlink(index);
	return r;
}

int store_adopt(Store *store, VmRecord *const *records, size_t count, Error *err)
{
	uint64_t revision = store_revision(store);
	Db *db = &store->writer;

	for (size_t i = 0; i < count; i++)
		if (records[i]->revision > revision)
			revision = records[i]->revision;
	if (db_run(db, SQL_BEGIN, NULL, 0, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const VmRecord *record = records[i];
		cleanup_free char *text = record_to_text(record);
		uint64_t its = record->revision ? record->revision : revision;

		if (db_run(db, SQL_PUT_VM,
			   DB_VALUES(db_text(record->vm_id), db_text(record->uid),
				     db_number((int64_t)its), db_text(text)),
			   err) < 0)
			return -1;
	}
	if (db_run(db, SQL_PUT_META, DB_VALUES(db_text("revision"), db_number((int64_t)revision)),
		   err) < 0 ||
	    db_run(db, SQL_PUT_META, DB_VALUES(db_text("compacted"), db_number((int64_t)revision)),
		   err) < 0)
		return -1;
	return db_run(db, SQL_COMMIT, NULL, 0, err);
}
