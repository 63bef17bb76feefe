/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/small_disk.h"
#include "tests/unit/store_fixture.h"

#include <string.h>
#include <sys/stat.h>

/* The reserve on a disk that is full to the last byte. */

static void open_on_small_disk(Fixture *f)
{
	make_dir(f);
	mount_small_disk(f->dir, 40);
	open_with(f, 16384);
}

static void close_and_remove(Fixture *f)
{
	close_store(f);
	(void)umount(f->dir);
	remove_all(f);
}

/* Until one is refused: what is above the reserve is gone then. */
static size_t create_until_refused(Fixture *f)
{
	size_t count = 0;

	while (f->failed == 0) {
		cleanup_free char *vm_id = text_printf("vm-%zu", count++);

		submit(f, CHANGE_ADDED, vm_id, VM_CREATED);
		wait_for(f, count);
	}
	return count - 1;
}

static void submit_freeing(Fixture *f, const char *vm_id)
{
	Change *change = a_change(f, CHANGE_MODIFIED, vm_id, VM_DESTROYING);

	change->frees = true;
	store_submit(f->store, change);
	change = a_change(f, CHANGE_DELETED, vm_id, VM_DESTROYED);
	change->is_outcome = true;
	store_submit(f->store, change);
}

Test(store_reserve, what_frees_is_written_when_nothing_else_is)
{
	cleanup_(close_and_remove) Fixture f;
	size_t count;
	Error err = { 0 };

	open_on_small_disk(&f);
	fill_small_disk(f.dir);
	count = create_until_refused(&f);

	cr_assert_eq(f.cause, CAUSE_EXHAUSTED);
	cr_assert(store_failing(f.store, &err));
	cr_assert_not_null(strstr(err.what, "MiB are needed"), "%s", err.what);
	submit_freeing(&f, "vm-0");
	wait_for(&f, count + 3);
	cr_assert_eq(f.failed, 1);
	cr_assert_eq(store_set_cordon(f.store, "ops", "full", &err), 0);
}

Test(store_reserve, it_lasts_as_long_as_there_are_events_to_make_way)
{
	cleanup_(close_and_remove) Fixture f;
	size_t count, settled;

	open_on_small_disk(&f);
	fill_small_disk(f.dir);
	count = create_until_refused(&f);
	settled = count + 1;

	for (size_t i = 0; i < 20000; i++) {
		submit_outcome(&f, "vm-0", i % 2 ? VM_RUNNING : VM_STOPPED);
		wait_for(&f, ++settled);
	}

	cr_assert_eq(f.failed, 1);
}

Test(store_reserve, all_is_written_again_once_there_is_room)
{
	cleanup_(close_and_remove) Fixture f;
	size_t count;

	open_on_small_disk(&f);
	fill_small_disk(f.dir);
	count = create_until_refused(&f);
	free_small_disk(f.dir);

	for (int i = 0; i < 1000 && store_failing(f.store, NULL); i++)
		clock_sleep_us(10 * (int64_t)USEC_PER_MSEC);
	submit(&f, CHANGE_ADDED, "late", VM_CREATED);
	wait_for(&f, count + 2);

	cr_assert_eq(f.failed, 1);
	cr_assert_not(store_failing(f.store, NULL));
}

Test(store_reserve, a_store_on_a_full_disk_opens_and_has_its_reserve)
{
	cleanup_(close_and_remove) Fixture f;
	size_t count;

	open_on_small_disk(&f);
	submit(&f, CHANGE_ADDED, "first", VM_CREATED);
	wait_for(&f, 1);
	close_store(&f);
	fill_small_disk(f.dir);
	f.done = f.failed = 0;

	open_with(&f, 16384);
	count = create_until_refused(&f);
	close_store(&f);
	f.done = f.failed = 0;
	open_with(&f, 16384);
	cr_assert(store_failing(f.store, NULL));
	submit_freeing(&f, "first");
	wait_for(&f, 2);

	cr_assert_eq(f.failed, 0);
	cr_assert_gt(count, 0);
}

Test(store_reserve, a_large_change_goes_through_in_parts)
{
	cleanup_(close_and_remove) Fixture f;
	cleanup_(drop_loaded) Loaded loaded = { 0 };

	open_on_small_disk(&f);
	set_gate(&f, true);
	for (int i = 0; i < 40; i++) {
		Change *change =
			a_change(&f, i ? CHANGE_MODIFIED : CHANGE_ADDED, "big", VM_CREATED);

		change->record->spec->boot = new0(VmBoot);
		change->record->spec->boot->boot_args = text_printf("%0200000d", i);
		store_submit(f.store, change);
	}
	set_gate(&f, false);
	wait_for(&f, 40);
	reload(&f, &loaded);

	cr_assert_eq(f.failed, 0);
	cr_assert_gt(f.batches, 4);
	cr_assert_eq(loaded.records[0]->revision, 41);
}

static void copy_file(const Fixture *f, const char *from, const char *to)
{
	cleanup_free char *source = text_printf("%s/%s", f->dir, from);
	cleanup_free char *target = text_printf("%s/%s", f->dir, to);
	cleanup_free char *bytes = NULL;
	size_t length;

	cr_assert_eq(file_read(&bytes, &length, source, 64 << 20), 0);
	cr_assert_eq(file_write_atomic(target, bytes, length), 0);
}

Test(store_reserve, a_log_of_an_earlier_life_is_not_written_over_a_backup)
{
	cleanup_(close_and_remove) Fixture f;
	cleanup_(drop_loaded) Loaded loaded = { 0 };

	open_on_small_disk(&f);
	submit(&f, CHANGE_ADDED, "old", VM_CREATED);
	close_store(&f);
	copy_file(&f, "hearth.db", "backup");
	open_with(&f, 100);
	submit(&f, CHANGE_MODIFIED, "old", VM_STOPPED);
	submit(&f, CHANGE_ADDED, "new", VM_CREATED);
	close_store(&f);
	copy_file(&f, "backup", "hearth.db");
	reload(&f, &loaded);

	cr_assert_eq(loaded.count, 1);
	cr_assert_eq(loaded.records[0]->status.state, VM_CREATED);
}
