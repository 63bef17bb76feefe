/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

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
	cr_assert_eq(store_revision(f.store), 4);
	cr_assert_eq(loaded.count, 2);
	cr_assert_str_eq(loaded.records[0]->vm_id, "a");
	cr_assert_eq(loaded.records[0]->revision, 3);
	cr_assert_str_eq(loaded.records[1]->vm_id, "b");
	cr_assert_eq(loaded.records[1]->revision, 4);
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
		cr_assert_eq(f.order[i], i + 2);
}

Test(store, what_gathers_during_a_commit_is_one_transaction)
{
	cleanup_(remove_all) Fixture f;

	make_dir(&f);
	open_with(&f, 100);
	set_gate(&f, true);
	submit(&f, CHANGE_ADDED, "a", VM_CREATED);
	while (store_revision(f.store) < 2)
		clock_sleep_us(USEC_PER_MSEC);
	for (unsigned i = 0; i < 40; i++)
		submit(&f, CHANGE_MODIFIED, "a", VM_RUNNING);
	set_gate(&f, false);
	wait_for(&f, 41);

	cr_assert_eq(f.batches, 2);
	cr_assert_eq(f.published, 42);
}

/* Five events each of "a" and "b" by turns: revisions 2 to 11. */
static void fill_two(Fixture *f)
{
	for (unsigned i = 0; i < 5; i++) {
		submit(f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "a", VM_RUNNING);
		submit(f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "b", VM_RUNNING);
	}
	wait_for(f, 10);
}

Test(store, events_come_in_pages_of_one_vm)
{
	cleanup_(remove_all) Fixture f;
	StoreEvent page[3];
	Error err = { 0 };
	size_t n = 0;

	make_dir(&f);
	open_with(&f, 100);
	fill_two(&f);

	cr_assert_eq(store_list_events(f.store, "b", "", 0, page, 3, &n, &err), 0);
	cr_assert_eq(n, 3);
	cr_assert_eq(page[0].revision, 3);
	cr_assert_eq(page[0].type, CHANGE_ADDED);
	cr_assert_eq(page[2].revision, 7);
	cr_assert_eq(page[2].state, VM_RUNNING);
	cr_assert_str_eq(page[2].vm_id, "b");
	cr_assert_str_eq(page[2].reason, "Tested");
	cr_assert_str_eq(page[2].message, "because");
	cr_assert_str_eq(page[2].operation_id, "op-1");
	cr_assert_str_eq(page[2].principal, "uid:0");
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	cr_assert_eq(store_list_events(f.store, "b", "uid-b", 7, page, 3, &n, &err), 0);
	cr_assert_eq(n, 2);
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	cr_assert_eq(store_list_events(f.store, "b", "uid-other", 0, page, 3, &n, &err), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(store_list_events(f.store, "b", "", UINT64_MAX, page, 3, &n, &err), 0);
	cr_assert_eq(n, 0);
}

Test(store, the_last_events_are_of_one_incarnation_and_in_order)
{
	char vm_id[] = "b", uid[] = "uid-b", other_uid[] = "uid-c";
	const VmRecord one = { .vm_id = vm_id, .uid = uid };
	const VmRecord other = { .vm_id = vm_id, .uid = other_uid };
	cleanup_(remove_all) Fixture f;
	StoreEvent page[3];
	Error err = { 0 };
	size_t n = 0;

	make_dir(&f);
	open_with(&f, 100);
	fill_two(&f);

	cr_assert_eq(store_last_events(f.store, &one, page, 3, &n, &err), 0);
	cr_assert_eq(n, 3);
	cr_assert_eq(page[0].revision, 7);
	cr_assert_eq(page[2].revision, 11);
	cr_assert_str_eq(page[2].uid, "uid-b");
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	cr_assert_eq(store_last_events(f.store, &other, page, 3, &n, &err), 0);
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
	cr_assert_eq(page[0].revision, 32);
	for (size_t i = 0; i < n; i++)
		store_event_clear(&page[i]);
	close_store(&f);
	cr_assert_eq(try_open(&f, 10, &err), 0);
	cr_assert_eq(store_load_changes(f.store, 4, keep_change, &loaded, &err), 0);
	cr_assert_eq(loaded.count, 4);
	cr_assert_eq(loaded.changes[0]->revision, 38);
	cr_assert_eq(loaded.changes[3]->revision, 41);
	cr_assert_eq(loaded.changes[3]->record->revision, 41);
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
		int fd = (int)strtol(entry->d_name, NULL, 10);
		char target[256] = "";

		if (readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1) < 0 ||
		    !strstr(target, f.dir))
			continue;
		ours++;
		cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", target);
	}
	cr_assert_geq(ours, 4);
}
