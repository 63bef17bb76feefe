/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/full_disk.h"
#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

Test(store_faults, an_unfinished_transaction_leaves_no_trace)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	close_store(&f);
	run_sql(&f, "BEGIN; DELETE FROM vms; UPDATE meta SET value = 10 WHERE key = 'revision'");
	reload(&f, &loaded);

	cr_assert_eq(loaded.count, 1);
	cr_assert_eq(store_revision(f.store), 2);
}

Test(store_faults, a_second_agent_is_refused_and_told_who_holds_it)
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

Test(store_faults, a_missing_directory_is_named)
{
	StoreConfig config = { .state_dir = "/nonexistent/state" };
	Store *store = NULL;
	Error err = { 0 };

	cr_assert_eq(store_open(&store, &config, &err), -1);
	cr_assert_eq(err.kind, ERROR_STORE);
	cr_assert_not_null(strstr(err.what, "/nonexistent/state"));
}

Test(store_faults, a_file_that_is_no_database_is_refused)
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

Test(store_faults, the_database_of_another_program_is_refused)
{
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	run_sql(&f, "CREATE TABLE customers(name)");

	cr_assert_eq(try_open(&f, 100, &err), -1);
	cr_assert_eq(err.cause, CAUSE_CORRUPT);
}

Test(store_faults, a_damaged_page_is_found_when_the_vms_are_loaded)
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

Test(store_faults, a_record_that_cannot_be_read_is_named)
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

Test(store_faults, one_of_a_newer_minor_version_opens)
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

Test(store_faults, one_of_a_newer_major_version_is_refused_untouched)
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

Test(store_faults, on_a_full_disk_intents_fail_and_outcomes_wait)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;
	Error err = { 0 };

	make_dir(&f);
	open_with(&f, 100);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	wait_for(&f, 1);
	set_gate(&f, true);
	submit(&f, CHANGE_MODIFIED, "a", VM_STARTING);
	while (store_revision(f.store) < 3)
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
	cr_assert(store_failing(f.store, &err));
	cr_assert_eq(err.cause, CAUSE_EXHAUSTED);
	cr_assert_eq(store_revision(f.store), 3);
	fill_disk(false);
	wait_for(&f, 5);
	cr_assert_eq(f.done, 4);
	cr_assert_eq(f.order[2], 4);
	cr_assert_eq(f.order[3], 5);
	cr_assert_not(store_failing(f.store, &err));
	reload(&f, &loaded);
	cr_assert_eq(loaded.count, 1);
	cr_assert_eq(loaded.records[0]->status.state, VM_STOPPED);
	cr_assert_eq(loaded.records[0]->revision, 5);
}

Test(store_faults, a_new_submission_does_not_overtake_a_waiting_outcome)
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
	cr_assert_eq(loaded.records[0]->revision, 4);
}

Test(store_faults, a_cordon_that_cannot_be_written_is_refused)
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

Test(store_faults, closing_on_a_full_disk_ends_and_says_what_was_lost)
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

Test(store_faults, the_writer_outlives_a_flood_of_failures)
{
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	fill_disk(true);
	for (unsigned i = 1; i <= 500; i++)
		submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	wait_for(&f, 500);
	fill_disk(false);
	submit(&f, CHANGE_ADDED, "b", VM_CREATED);
	wait_for(&f, 501);

	cr_assert_eq(f.failed, 500);
	cr_assert_eq(f.done, 1);
	cr_assert_eq(f.published, 2);
}

Test(store_faults, outcomes_keep_their_order_however_many_wait)
{
	cleanup_(drop_loaded) Loaded loaded = { 0 };
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	set_gate(&f, true);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	while (store_revision(f.store) < 2)
		clock_sleep_us(USEC_PER_MSEC);
	fill_disk(true);
	for (unsigned i = 1; i <= 1200; i++) {
		Change *change = a_change(&f, CHANGE_MODIFIED, "a", VM_RUNNING);

		change->is_outcome = true;
		change->record->generation = i;
		store_submit(f.store, change);
	}
	submit(&f, CHANGE_ADDED, "b", VM_CREATED);
	set_gate(&f, false);
	wait_for(&f, 2);
	fill_disk(false);
	wait_for(&f, 1202);
	reload(&f, &loaded);

	cr_assert_eq(f.failed, 1);
	cr_assert_eq(loaded.count, 1);
	cr_assert_eq(loaded.records[0]->generation, 1200);
	cr_assert_eq(loaded.records[0]->revision, 1202);
}

Test(store_faults, a_failed_statement_leaves_no_transaction_open)
{
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	run_sql(&f, "ALTER TABLE vms RENAME TO mislaid");
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	wait_for(&f, 1);
	run_sql(&f, "ALTER TABLE mislaid RENAME TO vms");
	submit(&f, CHANGE_ADDED, "b", VM_CREATED);
	wait_for(&f, 2);

	cr_assert_eq(f.failed, 1);
	cr_assert_eq(f.done, 1);
	cr_assert_eq(f.published, 2);
}
