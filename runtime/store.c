/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/store_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

enum {
	WRITER_CACHE_KIB = 1024,
	READER_CACHE_KIB = 256,
};

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE vms(vm_id TEXT PRIMARY KEY, uid TEXT, revision INTEGER, record TEXT);"
	"CREATE INDEX vms_by_uid ON vms(uid);"
	"CREATE TABLE tombstones(uid TEXT PRIMARY KEY, vm_id TEXT, delete_time INTEGER);"
	"CREATE INDEX tombstones_by_time ON tombstones(delete_time);"
	"CREATE TABLE events(revision INTEGER PRIMARY KEY, type INTEGER, time INTEGER, vm_id TEXT,"
	" uid TEXT, reason TEXT, message TEXT, operation_id TEXT, principal TEXT, record TEXT);"
	"CREATE INDEX events_by_vm ON events(vm_id);"
	"CREATE TABLE cordons(owner TEXT PRIMARY KEY, reason TEXT, time INTEGER);";

/* Writes who holds the lock into it, for the one who is refused; not knowing is no failure. */
static void sign_lock(int fd)
{
	char text[32];
	char *end = text_append(text, text + sizeof text, "%d\n", (int)getpid());

	if (ftruncate(fd, 0) == 0)
		(void)!pwrite(fd, text, (size_t)(end - text), 0);
}

static int refuse_second(int fd, const char *path, Error *err)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (!text[0])
		return error_set(err, ERROR_STORE, "'%s' is held by another agent", path);
	return error_set(err, ERROR_STORE, "'%s' is held by another agent, pid %s", path, text);
}

static int lock_state_dir(Store *store, const char *state_dir, Error *err)
{
	cleanup_free char *path = text_printf("%s/lock", state_dir);

	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->lock_fd < 0)
		return error_set_errno(err, ERROR_STORE, errno, "open '%s'", path);
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return refuse_second(store->lock_fd, path, err);
		return error_set_errno(err, ERROR_STORE, errno, "lock '%s'", path);
	}
	sign_lock(store->lock_fd);
	return 0;
}

/* The number @key stands for in meta; absent is damage. */
static int get_number(Db *db, const char *key, uint64_t *ret, Error *err)
{
	sqlite3_stmt *row = db_start(db, SQL_GET_META, DB_VALUES(db_text(key)), err);
	int64_t number;
	int r;

	if (!row)
		return -1;
	r = db_next(db, row, err);
	if (r < 0)
		return -1;
	number = r ? sqlite3_column_int64(row, 0) : -1;
	if (r)
		db_end(row);
	if (number < 0)
		return db_corrupt(db, err, "its table meta is damaged");
	*ret = (uint64_t)number;
	return 0;
}

static int put_number(Db *db, const char *key, int64_t number, Error *err)
{
	return db_run(db, SQL_PUT_META, DB_VALUES(db_text(key), db_number(number)), err);
}

static int make_tables(Db *db, Error *err)
{
	char id[37];

	text_random_uuid(id);
	if (db_run(db, SQL_BEGIN, NULL, 0, err) < 0 || db_exec(db, schema, err) < 0 ||
	    put_number(db, "major", STORE_MAJOR, err) < 0 ||
	    put_number(db, "minor", STORE_MINOR, err) < 0 ||
	    put_number(db, "revision", 1, err) < 0 || put_number(db, "compacted", 0, err) < 0 ||
	    db_run(db, SQL_PUT_META, DB_VALUES(db_text("store_id"), db_text(id)), err) < 0)
		return -1;
	return db_run(db, SQL_COMMIT, NULL, 0, err);
}

/* Is the file this store's, of a version this agent knows, or still empty? */
static int check_tables(Db *db, bool *empty, Error *err)
{
	sqlite3_stmt *row = db_start(db, SQL_TABLES, NULL, 0, err);
	bool has_meta;
	uint64_t major = 0;

	if (!row || db_next(db, row, err) < 0)
		return -1;
	*empty = sqlite3_column_int(row, 0) == 0;
	has_meta = sqlite3_column_int(row, 1) > 0;
	db_end(row);
	if (*empty)
		return 0;

	if (!has_meta)
		return db_corrupt(db, err, "is a database, but not hearth's");
	if (get_number(db, "major", &major, err) < 0)
		return -1;
	if (major != STORE_MAJOR)
		return error_set(err, ERROR_STORE,
				 "'%s' has version %" PRIu64 " and this agent knows version %d: "
				 "run the agent that wrote it, or a later one",
				 db->path, major, STORE_MAJOR);
	return 0;
}

static int use_wal(Db *db, Error *err)
{
	sqlite3_stmt *row = NULL;
	bool on;

	if (sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode = WAL", -1, &row, NULL) !=
	    SQLITE_OK)
		return db_error(db, err);
	if (db_next(db, row, err) < 0) {
		(void)sqlite3_finalize(row);
		return -1;
	}
	on = strcmp(db_column_text(row, 0), "wal") == 0;
	(void)sqlite3_finalize(row);
	if (!on)
		return error_set(err, ERROR_STORE,
				 "'%s': its file system has no shared memory for a write-ahead log",
				 db->path);
	return 0;
}

/* What stands under @key in meta; "" if nothing does. */
static int get_text(Db *db, const char *key, char ret[static 37], Error *err)
{
	sqlite3_stmt *row = db_start(db, SQL_GET_META, DB_VALUES(db_text(key)), err);
	int r;

	if (!row)
		return -1;
	r = db_next(db, row, err);
	if (r < 0)
		return -1;
	text_copy(ret, 37, r ? db_column_text(row, 0) : "");
	if (r)
		db_end(row);
	return 0;
}

static int read_meta(Store *store, Error *err)
{
	uint64_t revision;
	Db *db = &store->writer;

	if (get_text(db, "store_id", store->id, err) < 0 ||
	    get_number(db, "revision", &revision, err) < 0 ||
	    get_number(db, "compacted", &store->compacted, err) < 0)
		return -1;
	if (!store->id[0])
		return db_corrupt(db, err, "its table meta is damaged");
	atomic_store(&store->revision, revision);
	return 0;
}

/* Made here for its mode, which SQLite also gives to its other files. */
static int open_file(Store *store, Error *err)
{
	const char *path = store->writer.path;

	store->db_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return store->db_fd < 0 ? error_set_errno(err, ERROR_STORE, errno, "open '%s'", path) : 0;
}

/* A disk that is full already is no reason not to serve. */
static int open_reserve(Store *store, Error *err)
{
	store->opened = true;
	if (store_reserve_open(store, &store->failure) == 0)
		return 0;
	store->full = true;
	if (store->failure.cause == CAUSE_EXHAUSTED)
		return 0;
	*err = store->failure;
	return -1;
}

static int open_database(Store *store, Error *err)
{
	Db *db = &store->writer;
	bool empty;

	if (open_file(store, err) < 0 || db_open(db, WRITER_CACHE_KIB, err) < 0 ||
	    check_tables(db, &empty, err) < 0 || use_wal(db, err) < 0)
		return -1;
	if ((empty ? make_tables(db, err) : store_check_tables(db, err)) < 0)
		return -1;
	if (read_meta(store, err) < 0 || db_open(&store->reader, READER_CACHE_KIB, err) < 0)
		return -1;
	if (db_exec(&store->reader, "PRAGMA query_only = 1", err) < 0)
		return -1;
	return open_reserve(store, err);
}

static int open_store(Store **ret, const StoreConfig *config, char **aside, Error *err)
{
	Store *store = new0(Store);

	store->lock_fd = store->db_fd = -1;
	store->history = config->history;
	store->writer.path = text_printf("%s/hearth.db", config->state_dir);
	store->reader.path = text_dup(store->writer.path);
	lock_init(&store->lock);
	lock_init(&store->read_lock);
	cond_init(&store->wake);
	cond_init(&store->settled);

	if (lock_state_dir(store, config->state_dir, err) < 0 ||
	    (aside ? store_move_aside(store->writer.path, aside, err)
		   : store_check_files(store, err)) < 0 ||
	    open_database(store, err) < 0) {
		store_close(store);
		return -1;
	}
	*ret = store;
	return 0;
}

int store_open(Store **ret, const StoreConfig *config, Error *err)
{
	return open_store(ret, config, NULL, err);
}

int store_open_anew(Store **ret, const StoreConfig *config, char **aside, Error *err)
{
	return open_store(ret, config, aside, err);
}

const char *store_id(const Store *store)
{
	return store->id;
}

uint64_t store_revision(const Store *store)
{
	return atomic_load(&store->revision);
}

static int put_cordon(Store *store, StoreTask *task, Error *err)
{
	return db_run(
		&store->writer, SQL_PUT_CORDON,
		DB_VALUES(db_text(task->key), db_text(task->value), db_number(clock_wall_us())),
		err);
}

int store_set_cordon(Store *store, const char *owner, const char *reason, Error *err)
{
	StoreTask task = { .run = put_cordon, .key = owner, .value = reason };

	return store_task_run(store, &task, err);
}

static int drop_cordon(Store *store, StoreTask *task, Error *err)
{
	return db_run(&store->writer, SQL_DROP_CORDON, DB_VALUES(db_text(task->key)), err);
}

int store_remove_cordon(Store *store, const char *owner, Error *err)
{
	StoreTask task = { .run = drop_cordon, .key = owner };

	return store_task_run(store, &task, err);
}

int store_list_cordons(Store *store, StoreCordon **ret, size_t *n, Error *err)
{
	StoreCordon *cordons = NULL;
	sqlite3_stmt *row;
	size_t count = 0;
	int r = -1;

	lock_take(&store->read_lock);
	row = db_start(&store->reader, SQL_LIST_CORDONS, NULL, 0, err);
	while (row && (r = db_next(&store->reader, row, err)) > 0) {
		cordons = must_realloc(cordons, count + 1, sizeof *cordons);
		cordons[count++] = (StoreCordon){
			.owner = db_column_dup(row, 0),
			.reason = db_column_dup(row, 1),
			.time = sqlite3_column_int64(row, 2),
		};
	}
	lock_drop(&store->read_lock);

	if (r < 0) {
		store_note_damage(store, err);
		store_cordons_free(cordons, count);
		return -1;
	}
	*ret = cordons;
	*n = count;
	return 0;
}

void store_cordons_free(StoreCordon *cordons, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(cordons[i].owner);
		free(cordons[i].reason);
	}
	free(cordons);
}

static int exchange_boot_id(Store *store, StoreTask *task, Error *err)
{
	if (get_text(&store->writer, "boot_id", task->answer, err) < 0)
		return -1;
	return db_run(&store->writer, SQL_PUT_META,
		      DB_VALUES(db_text("boot_id"), db_text(task->key)), err);
}

int store_exchange_boot_id(Store *store, const char *boot_id, char before[static 37], Error *err)
{
	StoreTask task = { .run = exchange_boot_id, .key = boot_id };

	if (store_task_run(store, &task, err) < 0)
		return -1;
	text_copy(before, sizeof task.answer, task.answer);
	return 0;
}

void store_close(Store *store)
{
	if (!store)
		return;
	store_writer_stop(store);
	db_close(&store->reader);
	store_reserve_close(store);
	free(store->reader.path);
	free(store->writer.path);
	cond_destroy(&store->wake);
	cond_destroy(&store->settled);
	closep(&store->db_fd);
	closep(&store->lock_fd);
	free(store);
}
