/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Room that is the store's already, for when the disk is full.
 *
 * It cannot be a file that is given up in need: whoever filled the disk would
 * take that too. So it lies where nobody else can have it: pages of the
 * database that hold nothing, which SQLite uses before the file grows, and a
 * write-ahead log that keeps its size. The writer looks before each batch. If
 * pages are missing, the file grows first, by blocks that the file system has
 * promised; where it promises none, only what frees and what has happened is
 * written, until there is room again.
 */
#include "base/text.h"
#include "runtime/store_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
	PAGE_BYTES = 4096, /* SQLite's own choice */
	PAGE_PAYLOAD = PAGE_BYTES - 4,
	KEPT_PAGES = 1024,  /* a batch takes fewer */
	ADDED_PAGES = 1024, /* at once, so that it is seldom */
	LOW_PAGES = KEPT_PAGES / 2,
	SLACK_PAGES = 8, /* of the row and the tree above it */
	MIB = 1024 * 1024,
};

static int get_count(Db *db, DbSql sql, int64_t *ret, Error *err)
{
	sqlite3_stmt *row = db_start(db, sql, NULL, 0, err);

	if (!row || db_next(db, row, err) < 0)
		return -1;
	*ret = sqlite3_column_int64(row, 0);
	db_end(row);
	return 0;
}

static int explain(const Store *store, int errnum, off_t bytes, Error *err)
{
	struct statvfs fs = { 0 };

	(void)fstatvfs(store->db_fd, &fs);
	return error_set_cause(
		err, ERROR_STORE, CAUSE_EXHAUSTED,
		"'%s' cannot grow: %s; %llu MiB are free there, %lld MiB are needed; "
		"until then VMs can only be stopped and destroyed",
		store->writer.path, strerrordesc_np(errnum),
		(unsigned long long)fs.f_bavail * fs.f_frsize / MIB, (long long)bytes / MIB + 1);
}

/* Adds a row that takes up the free pages and as many more, and drops it: all of them are free. */
static int add_pages(Db *db, int64_t pages, Error *err)
{
	if (db_run(db, SQL_BEGIN, NULL, 0, err) < 0 ||
	    db_run(db, SQL_FILL, DB_VALUES(db_number(pages * PAGE_PAYLOAD)), err) < 0 ||
	    db_run(db, SQL_UNFILL, NULL, 0, err) < 0 || db_run(db, SQL_COMMIT, NULL, 0, err) < 0) {
		db_rollback(db);
		return -1;
	}
	return 0;
}

int store_reserve_keep(Store *store, Error *err)
{
	const int64_t goal = KEPT_PAGES + ADDED_PAGES;
	Db *db = &store->writer;
	int64_t spare, pages;
	off_t bytes;
	int r;

	if (get_count(db, SQL_SPARE_PAGES, &spare, err) < 0)
		return -1;
	store->reserve_low = spare < LOW_PAGES;
	if (spare >= KEPT_PAGES)
		return 0;
	if (get_count(db, SQL_PAGES, &pages, err) < 0)
		return -1;

	bytes = (off_t)(goal - spare + SLACK_PAGES) * PAGE_BYTES;
	r = posix_fallocate(store->db_fd, (off_t)pages * PAGE_BYTES, bytes);
	if (r == ENOSPC || r == EDQUOT || r == EFBIG)
		return explain(store, r, bytes, err);
	if (r)
		return error_set_errno(err, ERROR_STORE, r, "enlarge '%s'", db->path);
	if (add_pages(db, goal, err) < 0)
		return -1;
	store->reserve_low = false;
	return 0;
}

int store_reserve_open(Store *store, Error *err)
{
	cleanup_free char *path = text_printf("%s-wal", store->writer.path);
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? errno : posix_fallocate(fd, 0, STORE_LOG_BYTES);

	if (r == ENOSPC || r == EDQUOT || r == EFBIG)
		return explain(store, r, STORE_LOG_BYTES, err);
	if (r)
		return error_set_errno(err, ERROR_STORE, r, "enlarge '%s'", path);
	return store_reserve_keep(store, err);
}

/* Is all of the log in the database? */
static bool is_checkpointed(Db *db)
{
	int in_log = 0, done = -1;

	return sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_FULL, &in_log,
					 &done) == SQLITE_OK &&
	       in_log == done;
}

void store_reserve_close(Store *store)
{
	static const char void_header[32];
	cleanup_free char *path = text_printf("%s-wal", store->writer.path);
	cleanup_close int fd = -1;
	bool is_void = store->opened && is_checkpointed(&store->writer);

	db_close(&store->writer);
	if (!is_void)
		return;
	/* Or it would be written over a backup that is put in the database's place. */
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		(void)!pwrite(fd, void_header, sizeof void_header, 0);
}
