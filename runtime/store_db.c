/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/store_internal.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>

enum {
	BUSY_MSEC = 1000, /* somebody looked at the file with a tool just before the start */
};

static const char *const texts[SQL_COUNT_] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_PUT_VM] = "INSERT INTO vms(vm_id, uid, revision, record) VALUES(?1, ?2, ?3, ?4) "
		       "ON CONFLICT(vm_id) DO UPDATE SET uid = ?2, revision = ?3, record = ?4",
	[SQL_DROP_VM] = "DELETE FROM vms WHERE vm_id = ?1",
	[SQL_ADD_EVENT] = "INSERT INTO events(revision, type, time, vm_id, uid, reason, message, "
			  "operation_id, principal, record) "
			  "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[SQL_PRUNE_EVENTS] = "DELETE FROM events WHERE revision <= ?1",
	[SQL_ADD_TOMBSTONE] = "INSERT OR REPLACE INTO tombstones(uid, vm_id, delete_time) "
			      "VALUES(?1, ?2, ?3)",
	[SQL_PRUNE_TOMBSTONES] = "DELETE FROM tombstones WHERE uid IN (SELECT uid FROM tombstones "
				 "WHERE delete_time < ?1 ORDER BY delete_time LIMIT ?2)",
	[SQL_GET_META] = "SELECT value FROM meta WHERE key = ?1",
	[SQL_PUT_META] = "INSERT OR REPLACE INTO meta(key, value) VALUES(?1, ?2)",
	[SQL_PUT_CORDON] = "INSERT OR REPLACE INTO cordons(owner, reason, time) VALUES(?1, ?2, ?3)",
	[SQL_DROP_CORDON] = "DELETE FROM cordons WHERE owner = ?1",
	[SQL_LIST_CORDONS] = "SELECT owner, reason, time FROM cordons ORDER BY owner",
	[SQL_LIST_VMS] = "SELECT vm_id, revision, record FROM vms ORDER BY vm_id",
	[SQL_LATEST_EVENTS] = "SELECT revision, type, time, vm_id, reason, message, operation_id, "
			      "principal, record FROM events WHERE revision > ?1 ORDER BY revision",
	[SQL_LIST_EVENTS] = "SELECT revision, type, time, vm_id, uid, reason, message, "
			    "operation_id, principal, record FROM events "
			    "WHERE vm_id = ?1 AND revision > ?2 AND (?3 = '' OR uid = ?3) "
			    "ORDER BY revision LIMIT ?4",
	[SQL_LAST_EVENTS] = "SELECT * FROM (SELECT revision, type, time, vm_id, uid, reason, "
			    "message, operation_id, principal, record FROM events "
			    "WHERE vm_id = ?1 AND uid = ?2 ORDER BY revision DESC LIMIT ?3) "
			    "ORDER BY revision",
	[SQL_UID_USED] = "SELECT 1 FROM vms WHERE uid = ?1 UNION ALL "
			 "SELECT 1 FROM tombstones WHERE uid = ?1 AND delete_time >= ?2",
	[SQL_SPARE_PAGES] = "PRAGMA freelist_count",
	[SQL_PAGES] = "PRAGMA page_count",
	[SQL_FILL] = "INSERT INTO events(revision, message) VALUES(0, zeroblob(?1))",
	[SQL_UNFILL] = "DELETE FROM events WHERE revision = 0",
	[SQL_CHECK_META] = "PRAGMA quick_check(meta)",
	[SQL_CHECK_VMS] = "PRAGMA quick_check(vms)",
	[SQL_CHECK_TOMBSTONES] = "PRAGMA quick_check(tombstones)",
	[SQL_CHECK_CORDONS] = "PRAGMA quick_check(cordons)",
	[SQL_VM_BY_NUMBER] = "SELECT revision, record FROM vms WHERE rowid = ?1",
	[SQL_LAST_VM_NUMBER] = "SELECT max(rowid) FROM vms",
	[SQL_LIST_TOMBSTONES] = "SELECT uid, vm_id, delete_time FROM tombstones",
	[SQL_TABLES] = "SELECT count(*), total(name = 'meta') FROM sqlite_schema",
};

int db_corrupt(const Db *db, Error *err, const char *what)
{
	return error_set_cause(err, ERROR_STORE, CAUSE_CORRUPT,
			       "'%s': %s; run hearthd once with --rebuild, which keeps what can "
			       "be read and what runs, or restore a backup without its -wal",
			       db->path, what);
}

static bool is_exhausted(int code, int errnum)
{
	return code == SQLITE_FULL || errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

int db_error(Db *db, Error *err)
{
	int last = errno;
	int code = sqlite3_errcode(db->handle) & 0xff;
	int errnum = code == SQLITE_IOERR ? sqlite3_system_errno(db->handle) : 0;
	const char *words = sqlite3_errmsg(db->handle);

	/* SQLite passes the number on from most places, but not from a commit. */
	if (code == SQLITE_IOERR && !errnum)
		errnum = last;
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return db_corrupt(db, err, words);
	if (is_exhausted(code, errnum))
		return error_set_cause(err, ERROR_STORE, CAUSE_EXHAUSTED, "'%s': %s%s%s", db->path,
				       words, errnum ? ": " : "",
				       errnum ? strerrordesc_np(errnum) : "");
	if (errnum)
		return error_set_errno(err, ERROR_STORE, errnum, "'%s': %s", db->path, words);
	return error_set(err, ERROR_STORE, "'%s': %s", db->path, words);
}

static void configure_once(void)
{
	/* The agent shares its memory with thousands of VMs: no pools. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	(void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}

int db_open(Db *db, int cache_kib, Error *err)
{
	/* The log's index is in memory then, not in a mapped file: there would have to be room for
	 * it at each start, and where a file system has none for a hole, SIGBUS says so. */
	static const char vfs[] = "unix-excl";
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char pragmas[256];
	int keep_log = 1;

	(void)pthread_once(&once, configure_once);
	if (sqlite3_open_v2(db->path, &db->handle,
			    SQLITE_OPEN_NOMUTEX |
				    (db->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE),
			    vfs) != SQLITE_OK) {
		if (!db->handle)
			return error_set_errno(err, ERROR_STORE, ENOMEM, "open '%s'", db->path);
		return db_error(db, err);
	}
	(void)sqlite3_busy_timeout(db->handle, BUSY_MSEC);
	(void)sqlite3_file_control(db->handle, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep_log);
	(void)text_append(pragmas, pragmas + sizeof pragmas,
			  "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
			  "PRAGMA mmap_size = 0; PRAGMA cache_size = -%d;"
			  "PRAGMA journal_size_limit = %d;",
			  cache_kib, STORE_LOG_BYTES);
	return db_exec(db, pragmas, err);
}

void db_close(Db *db)
{
	Error ignored = { 0 };

	for (size_t i = 0; i < SQL_COUNT_; i++)
		(void)sqlite3_finalize(take_ptr(db->statements[i]));
	if (db->handle) /* or its log, which the next one wants, would be cut to nothing */
		(void)!db_exec(db, "PRAGMA journal_size_limit = -1", &ignored);
	(void)sqlite3_close(take_ptr(db->handle));
}

int db_exec(Db *db, const char *script, Error *err)
{
	errno = 0;
	if (sqlite3_exec(db->handle, script, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(db, err);
	return 0;
}

sqlite3_stmt *db_start(Db *db, DbSql sql, const DbValue *values, size_t count, Error *err)
{
	sqlite3_stmt *statement = db->statements[sql];

	if (!statement) {
		errno = 0;
		if (sqlite3_prepare_v3(db->handle, texts[sql], -1, SQLITE_PREPARE_PERSISTENT,
				       &statement, NULL) != SQLITE_OK) {
			(void)db_error(db, err);
			return NULL;
		}
		db->statements[sql] = statement;
	}

	for (size_t i = 0; i < count; i++) {
		int at = (int)i + 1;
		int r = values[i].is_text ? sqlite3_bind_text(statement, at, values[i].text, -1,
							      SQLITE_STATIC)
					  : sqlite3_bind_int64(statement, at, values[i].number);

		assert(r == SQLITE_OK || r == SQLITE_TOOBIG || r == SQLITE_NOMEM);
		if (r != SQLITE_OK) {
			(void)db_error(db, err);
			db_end(statement);
			return NULL;
		}
	}
	return statement;
}

int db_next(Db *db, sqlite3_stmt *statement, Error *err)
{
	int r;

	errno = 0;
	r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		return 1;
	r = r == SQLITE_DONE ? 0 : db_error(db, err);
	db_end(statement);
	return r;
}

void db_end(sqlite3_stmt *statement)
{
	(void)sqlite3_reset(statement);
	(void)sqlite3_clear_bindings(statement);
}

int db_run(Db *db, DbSql sql, const DbValue *values, size_t count, Error *err)
{
	sqlite3_stmt *statement = db_start(db, sql, values, count, err);
	int r;

	if (!statement)
		return -1;
	r = db_next(db, statement, err);
	if (r > 0)
		db_end(statement);
	return r < 0 ? -1 : 0;
}

void db_rollback(Db *db)
{
	Error ignored = { 0 };

	/* SQLite itself rolls back on some errors. */
	if (!sqlite3_get_autocommit(db->handle))
		(void)!db_run(db, SQL_ROLLBACK, NULL, 0, &ignored);
}

char *db_column_dup(sqlite3_stmt *statement, int column)
{
	return text_dup((const char *)sqlite3_column_text(statement, column));
}

const char *db_column_text(sqlite3_stmt *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	return text ? (const char *)text : "";
}
