/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether what lies in the state directory can be the truth. SQLite takes an
 * empty file for a new database, and a log that it cannot read for an empty
 * one: a store that was lost so would have the sweep end what runs.
 */
#include "base/text.h"
#include "runtime/store_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

enum {
	LOG_HEADER = 32,
	LOG_MAGIC = 0x377f0682, /* the last bit is the byte order of checksums */
};

static bool is_log_header(const unsigned char *at, ssize_t bytes)
{
	uint32_t magic;

	if (bytes < LOG_HEADER)
		return true; /* as good as none: it was being made */
	magic = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	return magic == 0 || (magic & ~1U) == LOG_MAGIC;
}

static int check_log(const Store *store, Error *err)
{
	cleanup_free char *path = text_printf("%s-wal", store->writer.path);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	unsigned char header[LOG_HEADER];

	if (fd < 0 || is_log_header(header, pread(fd, header, sizeof header, 0)))
		return 0;
	return db_corrupt(&store->writer, err, "its write-ahead log is damaged");
}

/* Does any VM of an earlier store have a run directory? */
static bool has_run(const Store *store)
{
	cleanup_free char *path = text_dup(store->writer.path);
	cleanup_free char *vms = text_printf("%s/vms", dirname(path));
	cleanup_closedir DIR *dir = opendir(vms);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		cleanup_free char *record = text_printf("%s/%s/record.json", vms, entry->d_name);

		if (entry->d_name[0] != '.' && access(record, F_OK) == 0)
			return true;
	}
	return false;
}

int store_check_files(const Store *store, Error *err)
{
	cleanup_free char *log = text_printf("%s-wal", store->writer.path);
	struct stat st;
	bool is_there = stat(store->writer.path, &st) == 0 && st.st_size > 0;

	if (is_there)
		return check_log(store, err);
	if (stat(log, &st) == 0 && st.st_size > 0)
		return db_corrupt(&store->writer, err, "is empty, but its write-ahead log is not");
	if (has_run(store))
		return db_corrupt(&store->writer, err,
				  "is empty, but VMs have run that it should know");
	return 0;
}

int store_check_tables(Db *db, Error *err)
{
	for (DbSql check = SQL_CHECK_META; check <= SQL_CHECK_CORDONS; check++) {
		sqlite3_stmt *row = db_start(db, check, NULL, 0, err);
		char what[256];

		if (!row || db_next(db, row, err) < 0)
			return -1;
		text_copy(what, sizeof what, db_column_text(row, 0));
		db_end(row);
		if (strcmp(what, "ok") != 0)
			return db_corrupt(db, err, what);
	}
	return 0;
}

void store_note_damage(Store *store, const Error *err)
{
	if (err->cause != CAUSE_CORRUPT)
		return;
	lock_take(&store->lock);
	store->damage = *err;
	lock_drop(&store->lock);
}
