/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

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
	char gate[2]; /* "w": publish waits */
} Fixture;

static void publish(void *user, Change *const *batch, size_t count)
{
	Fixture *f = user;

	lock_take(&f->lock);
	while (f->gate[0])
		cond_wait(&f->cond, &f->lock);
	f->batches++;
	f->published = batch[count - 1]->revision;
	cond_broadcast(&f->cond);
	lock_drop(&f->lock);
}

static void done(Change *change, const Error *err)
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

static int try_open(Fixture *f, uint32_t history, Error *err)
{
	StoreConfig config = { .state_dir = f->dir, .history = history };

	error_clear(err);
	return store_open(&f->store, &config, err);
}

static void open_with(Fixture *f, uint32_t history)
{
	char message[ERROR_MESSAGE_MAX];
	Error err = { 0 };

	cr_assert_eq(try_open(f, history, &err), 0, "%s", error_message(&err, message));
	cr_assert_eq(store_start(f->store, publish, f, &err), 0);
}

static void make_dir(Fixture *f)
{
	*f = (Fixture){ .dir = "/tmp/test-store-XXXXXX" };
	lock_init(&f->lock);
	cond_init(&f->cond);
	cr_assert_not_null(mkdtemp(f->dir));
}

static void close_store(Fixture *f)
{
	store_close(take_ptr(f->store));
}

static void remove_all(Fixture *f)
{
	close_store(f);
	cond_destroy(&f->cond);
	(void)!file_remove_tree(f->dir);
}

static void set_gate(Fixture *f, bool shut)
{
	lock_take(&f->lock);
	f->gate[0] = shut ? 'w' : '\0';
	cond_broadcast(&f->cond);
	lock_drop(&f->lock);
}

static void wait_for(Fixture *f, size_t settled)
{
	lock_take(&f->lock);
	while (f->done + f->failed < settled)
		cond_wait(&f->cond, &f->lock);
	lock_drop(&f->lock);
}

static Change *a_change(Fixture *f, ChangeType type, const char *vm_id, VmState state)
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

static void submit(Fixture *f, ChangeType type, const char *vm_id, VmState state)
{
	store_submit(f->store, a_change(f, type, vm_id, state));
}

static void submit_outcome(Fixture *f, const char *vm_id, VmState state)
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

static void keep_record(void *user, VmRecord *record)
{
	Loaded *loaded = user;

	loaded->records[loaded->count++] = record;
}

static void keep_change(void *user, Change *change)
{
	Loaded *loaded = user;

	loaded->changes[loaded->count++] = change;
}

static void drop_loaded(Loaded *loaded)
{
	for (size_t i = 0; i < array_size(loaded->records); i++)
		record_unref(loaded->records[i]);
	for (size_t i = 0; i < array_size(loaded->changes); i++)
		change_unref(loaded->changes[i]);
}

/* Opens without a writer and loads every VM. */
static void reload(Fixture *f, Loaded *loaded)
{
	Error err = { 0 };

	close_store(f);
	cr_assert_eq(try_open(f, 100, &err), 0);
	cr_assert_eq(store_load_vms(f->store, keep_record, loaded, &err), 0);
}

static void run_sql(const Fixture *f, const char *sql)
{
	cleanup_free char *path = text_printf("%s/hearth.db", f->dir);
	sqlite3 *db = NULL;

	cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
	cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

Test(store, what_was_written_is_there_at_the_next_opening)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	char id[37];

	make_dir(&f);
	open_with(&f, 100);
	text_copy(id, sizeof id, store_id(f.store));
	submit(&f, CHANGE_ADDED, "b", VM_CREATED);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	submit(&f, CHANGE_MODIFIED, "b", VM_RUNNING);
	reload(&f, &loaded);

	cr_assert_eq(strlen(id), 36);
	cr_assert_str_eq(store_id(f.store), id);
	cr_assert_eq(store_revision(f.store), 3);
	cr_assert_eq(loaded.count, 2);
	cr_assert_str_eq(loaded.records[0]->vm_id, "a");
	cr_assert_eq(loaded.records[0]->revision, 2);
	cr_assert_str_eq(loaded.records[1]->vm_id, "b");
	cr_assert_eq(loaded.records[1]->revision, 3);
	cr_assert_eq(loaded.records[1]->status.state, VM_RUNNING);
	cr_assert_str_eq(loaded.records[1]->tenant, "acme");
}

Test(store, its_files_are_the_owners_alone)
{
	cleanup_free char *db = NULL;
	cleanup_free char *wal = NULL;
	cleanup_(remove_all) Fixture f;
	struct stat st;

	make_dir(&f);
	open_with(&f, 100);
	db = text_printf("%s/hearth.db", f.dir);
	wal = text_printf("%s/hearth.db-wal", f.dir);

	cr_assert_eq(stat(db, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(stat(wal, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
}

Test(store, changes_are_done_in_order_and_only_once_published)
{
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	for (unsigned i = 0; i < 50; i++)
		submit(&f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "a", VM_RUNNING);
	wait_for(&f, 50);

	cr_assert_not(f.done_early);
	for (unsigned i = 0; i < 50; i++)
		cr_assert_eq(f.order[i], i + 1);
}

Test(store, what_gathers_during_a_commit_is_one_transaction)
{
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	set_gate(&f, true);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	while (store_revision(f.store) < 1)
		clock_sleep_us(USEC_PER_MSEC);
	for (unsigned i = 0; i < 40; i++)
		submit(&f, CHANGE_MODIFIED, "a", VM_RUNNING);
	set_gate(&f, false);
	wait_for(&f, 41);

	cr_assert_eq(f.batches, 2);
	cr_assert_eq(f.published, 41);
}

Test(store, an_unfinished_transaction_leaves_no_trace)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	close_store(&f);
	run_sql(&f, "BEGIN; DELETE FROM vms; UPDATE meta SET value = 9 WHERE key = 'revision'");
	reload(&f, &loaded);

	cr_assert_eq(loaded.count, 1);
	cr_assert_eq(store_revision(f.store), 1);
}

Test(store, a_second_agent_is_refused_and_told_who_holds_it)
{
	cleanup_free char *pid = text_printf("pid %d", (int)getpid());
	cleanup_(remove_all) Fixture f;
	StoreConfig config = { .history = 1 };
	Store *second = NULL;
	Error err = { 0 };

	make_dir(&f);
	open_with(&f, 100);
	config.state_dir = f.dir;

	cr_assert_eq(store_open(&second, &config, &err), -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_not_null(strstr(err.what, pid), "%s", err.what);
	cr_assert_null(second);
	close_store(&f);
	open_with(&f, 100);
}

Test(store, a_missing_directory_is_named)
{
	StoreConfig config = { .state_dir = "/nonexistent/state" };
	Store *store = NULL;
	Error err = { 0 };

	cr_assert_eq(store_open(&store, &config, &err), -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_not_null(strstr(err.what, "/nonexistent/state"));
}

Test(store, a_file_that_is_no_database_is_refused)
{
	cleanup_(remove_all) Fixture f;
	char path[64], noise[8192];
	Error err = { 0 };

	make_dir(&f);
	(void)snprintf(path, sizeof path, "%s/hearth.db", f.dir);
	memset(noise, 'x', sizeof noise);
	cr_assert_eq(file_write_atomic(path, noise, sizeof noise), 0);

	cr_assert_eq(try_open(&f, 100, &err), -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_eq(err.cause, CAUSE_CORRUPT);
	cr_assert_not_null(strstr(err.what, path));
}

Test(store, the_database_of_another_program_is_refused)
{
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	run_sql(&f, "CREATE TABLE customers(name)");

	cr_assert_eq(try_open(&f, 100, &err), -1);
	cr_assert_eq(err.cause, CAUSE_CORRUPT);
}

Test(store, a_damaged_page_is_found_when_the_vms_are_loaded)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	cleanup_close int fd = -1;
	char path[64], noise[4096];
	struct stat st;
	Error err = { 0 };
	int r;

	make_dir(&f);
	(void)snprintf(path, sizeof path, "%s/hearth.db", f.dir);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	close_store(&f);
	memset(noise, 0xa5, sizeof noise);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(fstat(fd, &st), 0);
	for (off_t at = 4096; at < st.st_size; at += 4096)
		cr_assert_eq(pwrite(fd, noise, sizeof noise, at), 4096);

	r = try_open(&f, 100, &err);
	if (r == 0)
		r = store_load_vms(f.store, keep_record, &loaded, &err);
	cr_assert_eq(r, -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_eq(err.cause, CAUSE_CORRUPT);
}

Test(store, a_record_that_cannot_be_read_is_named)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "good", VM_CREATED);
	submit(&f, CHANGE_ADDED, "spoilt", VM_CREATED);
	close_store(&f);
	run_sql(&f, "UPDATE vms SET record = '{' WHERE vm_id = 'spoilt'");

	cr_assert_eq(try_open(&f, 100, &err), 0);
	cr_assert_eq(store_load_vms(f.store, keep_record, &loaded, &err), -1);
	cr_assert_eq(err.cause, CAUSE_CORRUPT);
	cr_assert_not_null(strstr(err.what, "'spoilt'"));
}

Test(store, one_of_a_newer_minor_version_opens)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	close_store(&f);
	run_sql(&f, "UPDATE meta SET value = 7 WHERE key = 'minor';"
		    "ALTER TABLE vms ADD COLUMN colour TEXT DEFAULT 'red';"
		    "CREATE TABLE leases(address TEXT)");
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	reload(&f, &loaded);

	cr_assert_eq(loaded.count, 1);
}

Test(store, one_of_a_newer_major_version_is_refused_untouched)
{
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	open_with(&f, 100);
	close_store(&f);
	run_sql(&f, "UPDATE meta SET value = 2 WHERE key = 'major'; DROP TABLE vms");

	cr_assert_eq(try_open(&f, 100, &err), -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_eq(err.cause, CAUSE_HOST);
	cr_assert_not_null(strstr(err.what, "version 2"), "%s", err.what);
}

Test(store, events_come_in_pages_of_one_vm)
{
	cleanup_(remove_all) Fixture f;
	StoreEvent page[3];
	Error err = { 0 };
	size_t n = 0;

	make_dir(&f);
	open_with(&f, 100);
	for (unsigned i = 0; i < 5; i++) {
		submit(&f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "a", VM_RUNNING);
		submit(&f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "b", VM_RUNNING);
	}
	wait_for(&f, 10);

	cr_assert_eq(store_list_events(f.store, "b", "", 0, page, 3, &n, &err), 0);
	cr_assert_eq(n, 3);
	cr_assert_eq(page[0].revision, 2);
	cr_assert_eq(page[0].type, CHANGE_ADDED);
	cr_assert_eq(page[2].revision, 6);
	cr_assert_eq(page[2].state, VM_RUNNING);
	cr_assert_str_eq(page[2].vm_id, "b");
	cr_assert_str_eq(page[2].reason, "Tested");
	cr_assert_str_eq(page[2].message, "because");
	cr_assert_str_eq(page[2].operation_id, "op-1");
	cr_assert_str_eq(page[2].principal, "uid:0");
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	cr_assert_eq(store_list_events(f.store, "b", "uid-b", 6, page, 3, &n, &err), 0);
	cr_assert_eq(n, 2);
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	cr_assert_eq(store_list_events(f.store, "b", "uid-other", 0, page, 3, &n, &err), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(store_list_events(f.store, "b", "", UINT64_MAX, page, 3, &n, &err), 0);
	cr_assert_eq(n, 0);
}

Test(store, the_history_is_kept_and_what_is_older_goes)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	StoreEvent page[64];
	Error err = { 0 };
	size_t n = 0;

	make_dir(&f);
	open_with(&f, 10);
	for (unsigned i = 0; i < 40; i++) {
		submit(&f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "a", VM_RUNNING);
		wait_for(&f, i + 1);
	}

	cr_assert_eq(store_list_events(f.store, "a", "", 0, page, 64, &n, &err), 0);
	cr_assert_eq(n, 10);
	cr_assert_eq(page[0].revision, 31);
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	close_store(&f);
	cr_assert_eq(try_open(&f, 10, &err), 0);
	cr_assert_eq(store_load_changes(f.store, 4, keep_change, &loaded, &err), 0);
	cr_assert_eq(loaded.count, 4);
	cr_assert_eq(loaded.changes[0]->revision, 37);
	cr_assert_eq(loaded.changes[3]->revision, 40);
	cr_assert_eq(loaded.changes[3]->record->revision, 40);
	cr_assert_eq(loaded.changes[3]->record->status.state, VM_RUNNING);
	cr_assert_str_eq(loaded.changes[3]->reason, "Tested");
	cr_assert_str_eq(loaded.changes[3]->principal, "uid:0");
}

Test(store, a_destroyed_vm_leaves_its_events_and_a_tombstone)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	StoreEvent page[4];
	Error err = { 0 };
	size_t n = 0;

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	submit(&f, CHANGE_ADDED, "b", VM_CREATED);
	submit(&f, CHANGE_DELETED, "a", VM_DESTROYED);
	wait_for(&f, 3);

	cr_assert_eq(store_uid_used(f.store, "uid-a", &err), 1);
	cr_assert_eq(store_uid_used(f.store, "uid-b", &err), 1);
	cr_assert_eq(store_uid_used(f.store, "uid-c", &err), 0);
	cr_assert_eq(store_list_events(f.store, "a", "", 0, page, 4, &n, &err), 0);
	cr_assert_eq(n, 2);
	cr_assert_eq(page[1].type, CHANGE_DELETED);
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	reload(&f, &loaded);
	cr_assert_eq(loaded.count, 1);
	cr_assert_str_eq(loaded.records[0]->vm_id, "b");
}

Test(store, a_tombstone_lasts_an_hour)
{
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	submit(&f, CHANGE_DELETED, "a", VM_DESTROYED);
	close_store(&f);
	run_sql(&f, "UPDATE tombstones SET delete_time = delete_time - 3590 * 1000000");
	open_with(&f, 100);

	cr_assert_eq(store_uid_used(f.store, "uid-a", &err), 1);
	close_store(&f);
	run_sql(&f, "UPDATE tombstones SET delete_time = delete_time - 20 * 1000000");
	open_with(&f, 100);
	cr_assert_eq(store_uid_used(f.store, "uid-a", &err), 0);
}

Test(store, cordons_are_durable_one_an_owner)
{
	cleanup_(remove_all) Fixture f;
	StoreCordon *cordons = NULL;
	Error err = { 0 };
	size_t n = 0;

	make_dir(&f);
	open_with(&f, 100);
	cr_assert_eq(store_set_cordon(f.store, "ops", "disk", &err), 0);
	cr_assert_eq(store_set_cordon(f.store, "drill", "exercise", &err), 0);
	cr_assert_eq(store_set_cordon(f.store, "ops", "memory", &err), 0);
	cr_assert_eq(store_remove_cordon(f.store, "drill", &err), 0);
	cr_assert_eq(store_remove_cordon(f.store, "nobody", &err), 0);
	close_store(&f);
	open_with(&f, 100);

	cr_assert_eq(store_list_cordons(f.store, &cordons, &n, &err), 0);
	cr_assert_eq(n, 1);
	cr_assert_str_eq(cordons[0].owner, "ops");
	cr_assert_str_eq(cordons[0].reason, "memory");
	cr_assert_gt(cordons[0].time, 0);
	store_cordons_free(cordons, n);
}

Test(store, the_boot_id_before_is_remembered)
{
	cleanup_(remove_all) Fixture f;
	char before[37];
	Error err = { 0 };

	make_dir(&f);
	cr_assert_eq(try_open(&f, 100, &err), 0);
	cr_assert_eq(store_exchange_boot_id(f.store, "first-boot", before, &err), 0);
	cr_assert_str_eq(before, "");
	close_store(&f);
	open_with(&f, 100);

	cr_assert_eq(store_exchange_boot_id(f.store, "second-boot", before, &err), 0);
	cr_assert_str_eq(before, "first-boot");
}

/* From now on no file of this process grows, as on a full disk; or it may again. */
static void fill_disk(bool full)
{
	struct rlimit limit;

	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(store, on_a_full_disk_intents_fail_and_outcomes_wait)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	char message[ERROR_MESSAGE_MAX] = "";

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	wait_for(&f, 1);
	set_gate(&f, true);
	submit(&f, CHANGE_MODIFIED, "a", VM_STARTING);
	while (store_revision(f.store) < 2)
		clock_sleep_us(USEC_PER_MSEC);
	fill_disk(true);
	submit_outcome(&f, "a", VM_RUNNING);
	submit(&f, CHANGE_ADDED, "b", VM_CREATED);
	submit_outcome(&f, "a", VM_STOPPED);
	set_gate(&f, false);
	wait_for(&f, 3);

	cr_assert_eq(f.done, 2);
	cr_assert_eq(f.failed, 1);
	cr_assert_eq(f.cause, CAUSE_EXHAUSTED);
	cr_assert(store_failing(f.store, message, sizeof message));
	cr_assert_neq(message[0], '\0');
	cr_assert_eq(store_revision(f.store), 2);
	fill_disk(false);
	wait_for(&f, 5);
	cr_assert_eq(f.done, 4);
	cr_assert_eq(f.order[2], 3);
	cr_assert_eq(f.order[3], 4);
	cr_assert_not(store_failing(f.store, message, sizeof message));
	reload(&f, &loaded);
	cr_assert_eq(loaded.count, 1);
	cr_assert_eq(loaded.records[0]->status.state, VM_STOPPED);
	cr_assert_eq(loaded.records[0]->revision, 4);
}

Test(store, a_new_submission_does_not_overtake_a_waiting_outcome)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	wait_for(&f, 1);
	fill_disk(true);
	submit_outcome(&f, "a", VM_RUNNING);
	submit(&f, CHANGE_MODIFIED, "a", VM_STOPPING);
	wait_for(&f, 2);
	fill_disk(false);
	submit(&f, CHANGE_MODIFIED, "a", VM_PAUSING);
	wait_for(&f, 4);
	reload(&f, &loaded);

	cr_assert_eq(f.failed, 1);
	cr_assert_eq(loaded.records[0]->status.state, VM_PAUSING);
	cr_assert_eq(loaded.records[0]->revision, 3);
}

Test(store, a_cordon_that_cannot_be_written_is_refused)
{
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	open_with(&f, 100);
	fill_disk(true);

	cr_assert_eq(store_set_cordon(f.store, "ops", "disk", &err), -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_eq(err.cause, CAUSE_EXHAUSTED, "%s", err.what);
	fill_disk(false);
}

Test(store, closing_on_a_full_disk_ends_and_says_what_was_lost)
{
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	wait_for(&f, 1);
	fill_disk(true);
	submit_outcome(&f, "a", VM_RUNNING);
	close_store(&f);
	fill_disk(false);

	cr_assert_eq(f.done, 1);
	cr_assert_eq(f.failed, 1);
}

Test(store, descriptors_are_closed_on_exec)
{
	cleanup_closedir DIR *dir = NULL;
	cleanup_(remove_all) Fixture f;
	size_t ours = 0;
	struct dirent *entry;

	make_dir(&f);
	open_with(&f, 100);
	dir = opendir("/proc/self/fd");
	while ((entry = readdir(dir))) {
		char path[64], target[256] = "";
		int fd = atoi(entry->d_name);

		(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof target - 1) < 0 || !strstr(target, f.dir))
			continue;
		ours++;
		cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", target);
	}
	cr_assert_geq(ours, 4);
}
