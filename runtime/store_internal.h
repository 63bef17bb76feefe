/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the files of the store share. Nobody else includes this.
 *
 * store_db.c wraps SQLite: a Db is one connection with its statements, used
 * by one thread at a time. store.c opens and closes, store_writer.c has the
 * queue and the thread that writes, store_reserve.c the room for a full disk,
 * store_events.c reads what happened.
 */

#include "base/lock.h"
#include "runtime/store.h"

#include <sqlite3.h>
#include <stdatomic.h>

enum {
	STORE_LOG_BYTES = 8 << 20, /* the write-ahead log has this size, and more for a while */
};

/* Every statement of the store; their texts are in store_db.c. */
typedef enum DbSql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_PUT_VM,
	SQL_DROP_VM,
	SQL_ADD_EVENT,
	SQL_PRUNE_EVENTS,
	SQL_ADD_TOMBSTONE,
	SQL_PRUNE_TOMBSTONES,
	SQL_GET_META,
	SQL_PUT_META,
	SQL_PUT_CORDON,
	SQL_DROP_CORDON,
	SQL_LIST_CORDONS,
	SQL_LIST_VMS,
	SQL_LATEST_EVENTS,
	SQL_LIST_EVENTS,
	SQL_LAST_EVENTS,
	SQL_UID_USED,
	SQL_TABLES,
	SQL_SPARE_PAGES,
	SQL_PAGES,
	SQL_FILL,
	SQL_UNFILL,
	SQL_CHECK_META,
	SQL_CHECK_VMS,
	SQL_CHECK_TOMBSTONES,
	SQL_CHECK_CORDONS,
	SQL_VM_BY_NUMBER,
	SQL_LAST_VM_NUMBER,
	SQL_LIST_TOMBSTONES,
	SQL_COUNT_,
} DbSql;

typedef struct Db {
	char *path;
	bool read_only;
	sqlite3 *handle;
	sqlite3_stmt *statements[SQL_COUNT_]; /* made when first needed */
} Db;

/* One parameter of a statement: a text (NULL is NULL) or a number. */
typedef struct DbValue {
	bool is_text;
	const char *text;
	int64_t number;
} DbValue;

static inline DbValue db_text(const char *text)
{
	return (DbValue){ .is_text = true, .text = text };
}

static inline DbValue db_number(int64_t number)
{
	return (DbValue){ .number = number };
}

/* Two arguments: an array of values and its length. */
#define DB_VALUES(...)                    \
	(const DbValue[]){ __VA_ARGS__ }, \
		(sizeof((const DbValue[]){ __VA_ARGS__ }) / sizeof(DbValue))

/* Opens @db->path, which is set and there; @cache_kib bounds the pages held. STORE. */
int db_open(Db *db, int cache_kib, Error *err) must_check;
void db_close(Db *db);

/* Runs @script, which has no results. STORE. */
int db_exec(Db *db, const char *script, Error *err) must_check;

/* Starts a statement: NULL with STORE, else db_next() has its rows. Texts must live till the end.
 */
sqlite3_stmt *db_start(Db *db, DbSql sql, const DbValue *values, size_t count, Error *err)
	must_check;
/* 1: a row; 0: there are no more; -1: STORE. After 0 and -1 the statement has ended. */
int db_next(Db *db, sqlite3_stmt *statement, Error *err) must_check;
/* Ends a statement before its last row. */
void db_end(sqlite3_stmt *statement);
/* All three for a statement whose rows, if any, do not matter. */
int db_run(Db *db, DbSql sql, const DbValue *values, size_t count, Error *err) must_check;
/* Gives an open transaction up; does nothing if there is none. */
void db_rollback(Db *db);

/* A column of the present row: a copy for the caller to free, NULL if it is. */
char *db_column_dup(sqlite3_stmt *statement, int column);
/* The same, valid till the next row; "" if it is NULL. */
const char *db_column_text(sqlite3_stmt *statement, int column);

/* STORE with SQLite's words, after a call on @db has failed. */
int db_error(Db *db, Error *err);
/* STORE/CORRUPT: what is wrong with the file, and what to do about it. */
int db_corrupt(const Db *db, Error *err, const char *what);

typedef struct ChangeQueue {
	Change *first, *last;
} ChangeQueue;

/* Something else to write: run on the writer's thread while its caller waits. */
typedef struct StoreTask StoreTask;
struct StoreTask {
	int (*run)(Store *store, StoreTask *task, Error *err);
	const char *key, *value;
	char answer[37];

	/* store_task_run()'s */
	Error *err;
	int result;
	bool settled; /* under lock */
	StoreTask *next;
};

/* Runs @task on the writer's thread, or here while there is none; waits for its result. */
int store_task_run(Store *store, StoreTask *task, Error *err) must_check;

/* store_reserve.c; of the writer's thread. */
/* Takes the room: 0; EXHAUSTED: not all of it is to be had, which is no reason not to serve. */
int store_reserve_open(Store *store, Error *err) must_check;
/* Closes the writer's connection; the log keeps its room, and nothing else. */
void store_reserve_close(Store *store);
/* 0: it is whole, or is again. EXHAUSTED: only what frees and what has happened may be written. */
int store_reserve_keep(Store *store, Error *err) must_check;

/* store_rebuild.c: moves the database at @path and its log away, to *@ret; *@ret stays as it is
 * when there is none. STORE. */
int store_move_aside(const char *path, char **ret, Error *err) must_check;

/* store_check.c: is what is there to be believed? @empty: it has no tables yet. CORRUPT. */
int store_check_files(const Store *store, Error *err) must_check;
int store_check_tables(Db *db, Error *err) must_check;
/* @err, of a query, may say that the file is damaged: that is not forgotten. */
void store_note_damage(Store *store, const Error *err);

/* Ends the writer when all is written, or as much as can be; at once if it never started. */
void store_writer_stop(Store *store);

struct Store {
	char id[37];
	int lock_fd;
	int db_fd; /* closed after SQLite's: closing drops a process's locks */
	uint32_t history;
	atomic_uint_fast64_t revision; /* the writer writes */
	Histogram commits;

	/* The writer's thread only; the opener's before it runs and after it ended. */
	Db writer;
	uint64_t compacted; /* events up to this revision are gone */
	bool opened;        /* wholly */
	bool full;          /* the reserve is in use: what would fill the disk is refused */
	bool squeezed;      /* a write found no room all the same: what frees is tried alone */
	bool reserve_low;   /* events make way before their time */
	void (*publish)(void *user, Change *const *batch, size_t count);
	void *user;

	/* Queries are short and indexed, so waiting for another's is cheaper than a pool. */
	Lock read_lock;
	Db reader; /* under read_lock */

	Lock lock;
	Cond wake;    /* the writer's: there is work */
	Cond settled; /* those who wait for tasks */
	/* under lock */
	ChangeQueue queue;
	StoreTask *tasks;
	bool running, stopping;
	bool submitted;      /* since the writer last looked */
	int64_t retry_delay; /* 0: the last attempt succeeded */
	int64_t retry_at;    /* monotonic usec */
	int64_t look_at;     /* the same; on a full disk: whether there is room again */
	Error damage;        /* sticky, as the next write may well succeed */
	Error failure;       /* why not all can be written; none is set: it can */

	pthread_t thread;
};
