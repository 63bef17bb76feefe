/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of the store share: a store in a directory of its own whose
 * publisher can be held up, and changes that count how they ended.
 */

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/store.h"

#include <criterion/criterion.h>
#include <sqlite3.h>

/* A store in a directory of its own, and what came back from its writer. */
typedef struct Fixture {
	char dir[32];
	Store *store;
	Lock lock;
	Cond cond;
	/* under lock */
	size_t batches;
	uint64_t published; /* the latest revision */
	size_t done, failed;
	bool done_early;  /* before it was published */
	ErrorCause cause; /* of the last failure */
	uint64_t order[64];
	bool gate_shut; /* publish waits */
} Fixture;

static inline void publish(void *user, Change *const *batch, size_t count)
{
	Fixture *f = user;

	lock_take(&f->lock);
	while (f->gate_shut)
		cond_wait(&f->cond, &f->lock);
	f->batches++;
	f->published = batch[count - 1]->revision;
	cond_broadcast(&f->cond);
	lock_drop(&f->lock);
}

static inline void done(Change *change, const Error *err)
{
	Fixture *f = change->user;

	lock_take(&f->lock);
	if (err) {
		f->failed++;
		f->cause = err->cause;
	} else {
		f->order[f->done++ % 64] = change->revision;
		if (change->revision > f->published)
			f->done_early = true;
	}
	cond_broadcast(&f->cond);
	lock_drop(&f->lock);
}

static inline int try_open(Fixture *f, uint32_t history, Error *err)
{
	StoreConfig config = { .state_dir = f->dir, .history = history };

	error_clear(err);
	return store_open(&f->store, &config, err);
}

static inline void open_with(Fixture *f, uint32_t history)
{
	char message[ERROR_MESSAGE_MAX];
	Error err = { 0 };

	cr_assert_eq(try_open(f, history, &err), 0, "%s", error_message(&err, message));
	cr_assert_eq(store_start(f->store, publish, f, &err), 0);
}

static inline void make_dir(Fixture *f)
{
	*f = (Fixture){ .dir = "/tmp/test-store-XXXXXX" };
	lock_init(&f->lock);
	cond_init(&f->cond);
	cr_assert_not_null(mkdtemp(f->dir));
}

static inline void close_store(Fixture *f)
{
	store_close(take_ptr(f->store));
}

static inline void remove_all(Fixture *f)
{
	close_store(f);
	cond_destroy(&f->cond);
	(void)!file_remove_tree(f->dir);
}

static inline void set_gate(Fixture *f, bool shut)
{
	lock_take(&f->lock);
	f->gate_shut = shut;
	cond_broadcast(&f->cond);
	lock_drop(&f->lock);
}

static inline void wait_for(Fixture *f, size_t settled)
{
	lock_take(&f->lock);
	while (f->done + f->failed < settled)
		cond_wait(&f->cond, &f->lock);
	lock_drop(&f->lock);
}

static inline Change *a_change(Fixture *f, ChangeType type, const char *vm_id, VmState state)
{
	VmRecord *record = record_new();
	Change *change;

	record->vm_id = text_dup(vm_id);
	record->uid = text_printf("uid-%s", vm_id);
	record->tenant = text_dup("acme");
	record->spec = spec_new();
	record->status.state = state;
	change = change_new(type, record, "Tested");
	change->time = clock_wall_us();
	change->message = text_dup("because");
	change->operation_id = text_dup("op-1");
	change->principal = text_dup("uid:0");
	change->done = done;
	change->user = f;
	return change;
}

static inline void submit(Fixture *f, ChangeType type, const char *vm_id, VmState state)
{
	store_submit(f->store, a_change(f, type, vm_id, state));
}

static inline void submit_outcome(Fixture *f, const char *vm_id, VmState state)
{
	Change *change = a_change(f, CHANGE_MODIFIED, vm_id, state);

	change->is_outcome = true;
	store_submit(f->store, change);
}

typedef struct Loaded {
	size_t count;
	VmRecord *records[8];
	Change *changes[64];
} Loaded;

static inline void keep_record(void *user, VmRecord *record)
{
	Loaded *loaded = user;

	loaded->records[loaded->count++] = record;
}

static inline void keep_change(void *user, Change *change)
{
	Loaded *loaded = user;

	loaded->changes[loaded->count++] = change;
}

static inline void drop_loaded(Loaded *loaded)
{
	for (size_t i = 0; i < array_size(loaded->records); i++)
		record_unref(loaded->records[i]);
	for (size_t i = 0; i < array_size(loaded->changes); i++)
		change_unref(loaded->changes[i]);
}

/* Opens without a writer and loads every VM. */
static inline void reload(Fixture *f, Loaded *loaded)
{
	Error err = { 0 };

	close_store(f);
	cr_assert_eq(try_open(f, 100, &err), 0);
	cr_assert_eq(store_load_vms(f->store, keep_record, loaded, &err), 0);
}

static inline void run_sql(const Fixture *f, const char *sql)
{
	cleanup_free char *path = text_printf("%s/hearth.db", f->dir);
	sqlite3 *db = NULL;

	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}
