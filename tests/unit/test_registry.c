/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/registry.h"

#include <criterion/criterion.h>
#include <string.h>

static void free_registry(Registry **registry)
{
	registry_free(*registry);
}

static VmRecord *a_record(const char *vm_id, uint64_t revision)
{
	VmRecord *record = record_new();

	record->vm_id = text_dup(vm_id);
	record->uid = text_printf("uid-%s", vm_id);
	record->spec = spec_new();
	record->revision = revision;
	return record;
}

static Change *a_change(ChangeType type, const char *vm_id, uint64_t revision)
{
	Change *change = change_new(type, a_record(vm_id, revision), "Test");

	change->revision = revision;
	return change;
}

static void publish(Registry *registry, ChangeType type, const char *vm_id, uint64_t revision)
{
	cleanup_(change_unrefp) Change *change = a_change(type, vm_id, revision);

	registry_publish(registry, &change, 1);
}

/* How many changes there are after @after, and the first's revision; -1 if COMPACTED. */
static int changes_after(Registry *registry, uint64_t after, uint64_t *first, Error *err)
{
	Change *changes[64];
	size_t n = 0;

	error_clear(err);
	if (registry_changes(registry, after, changes, 64, &n, err) < 0)
		return -1;
	*first = n ? changes[0]->revision : 0;
	for (size_t i = 0; i < n; i++)
		change_unref(changes[i]);
	return (int)n;
}

Test(registry, finds_what_was_published_and_forgets_what_was_deleted)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 8);
	cleanup_(record_unrefp) VmRecord *present = NULL;

	publish(registry, CHANGE_ADDED, "b", 1);
	publish(registry, CHANGE_ADDED, "a", 2);
	publish(registry, CHANGE_DELETED, "a", 3);

	present = registry_get(registry, "b");
	cr_assert_not_null(present);
	cr_assert_eq(present->revision, 1);
	cr_assert_null(registry_get(registry, "a"));
	cr_assert_null(registry_get(registry, "c"));
	cr_assert_eq(registry_revision(registry), 3);
}

Test(registry, lists_by_id_and_shares_the_list_until_the_next_change)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 8);
	cleanup_(vm_list_unrefp) VmList *first = NULL;
	cleanup_(vm_list_unrefp) VmList *again = NULL;
	cleanup_(vm_list_unrefp) VmList *later = NULL;

	publish(registry, CHANGE_ADDED, "c", 1);
	publish(registry, CHANGE_ADDED, "a", 2);
	publish(registry, CHANGE_ADDED, "b", 3);
	first = registry_list(registry);
	again = registry_list(registry);
	publish(registry, CHANGE_DELETED, "b", 4);
	later = registry_list(registry);

	cr_assert_eq(first, again);
	cr_assert_eq(first->revision, 3);
	cr_assert_eq(first->count, 3);
	cr_assert_str_eq(first->records[0]->vm_id, "a");
	cr_assert_str_eq(first->records[1]->vm_id, "b");
	cr_assert_str_eq(first->records[2]->vm_id, "c");
	cr_assert_eq(later->revision, 4);
	cr_assert_eq(later->count, 2);
	cr_assert_str_eq(later->records[1]->vm_id, "c");
}

Test(registry, keeps_a_thousand_in_order_however_they_come)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 8);
	cleanup_(vm_list_unrefp) VmList *list = NULL;

	for (unsigned i = 0; i < 1000; i++) {
		char id[16];

		(void)snprintf(id, sizeof id, "vm-%03u", i * 7 % 1000);
		publish(registry, CHANGE_ADDED, id, i + 1);
	}

	list = registry_list(registry);
	cr_assert_eq(list->count, 1000);
	for (size_t i = 1; i < list->count; i++)
		cr_assert_lt(strcmp(list->records[i - 1]->vm_id, list->records[i]->vm_id), 0);
}

Test(registry, a_change_says_what_was_before_it)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 8);
	Change *changes[4];
	Error err = { 0 };
	size_t n;

	publish(registry, CHANGE_ADDED, "a", 1);
	publish(registry, CHANGE_MODIFIED, "a", 2);
	publish(registry, CHANGE_DELETED, "a", 3);
	cr_assert_eq(registry_changes(registry, 0, changes, 4, &n, &err), 0);

	cr_assert_eq(n, 3);
	cr_assert_null(changes[0]->before);
	cr_assert_eq(changes[1]->before->revision, 1);
	cr_assert_eq(changes[2]->before->revision, 2);
	for (size_t i = 0; i < n; i++)
		change_unref(changes[i]);
}

Test(registry, changes_come_in_pages_without_gaps)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 64);
	uint64_t after = 0;
	Change *page[7];
	Error err = { 0 };
	size_t n;

	for (uint64_t revision = 1; revision <= 20; revision++)
		publish(registry, CHANGE_ADDED, "a", revision);

	do {
		cr_assert_eq(registry_changes(registry, after, page, 7, &n, &err), 0);
		for (size_t i = 0; i < n; i++) {
			cr_assert_eq(page[i]->revision, ++after);
			change_unref(page[i]);
		}
	} while (n);
	cr_assert_eq(after, 20);
}

Test(registry, history_that_is_gone_is_compacted)
{
	cleanup_(free_registry) Registry *registry = registry_new(100, 4);
	Error err = { 0 };
	uint64_t first;

	for (uint64_t revision = 101; revision <= 106; revision++)
		publish(registry, CHANGE_MODIFIED, "a", revision);

	cr_assert_eq(changes_after(registry, 102, &first, &err), 4);
	cr_assert_eq(first, 103);
	cr_assert_eq(changes_after(registry, 106, &first, &err), 0);
	cr_assert_eq(changes_after(registry, 101, &first, &err), -1);
	cr_assert_eq(err.kind, ERROR_COMPACTED);
	cr_assert_eq(err.resume_revision, 106);
}

Test(registry, a_revision_of_the_future_is_refused)
{
	cleanup_(free_registry) Registry *registry = registry_new(5, 4);
	Error err = { 0 };
	uint64_t first;

	cr_assert_eq(changes_after(registry, 6, &first, &err), -1);
	cr_assert_eq(err.kind, ERROR_COMPACTED);
	cr_assert_eq(err.resume_revision, 5);
	cr_assert_eq(changes_after(registry, UINT64_MAX, &first, &err), -1);
}

Test(registry, a_registry_without_history_knows_only_the_present)
{
	cleanup_(free_registry) Registry *registry = registry_new(5, 4);
	Error err = { 0 };
	uint64_t first;

	cr_assert_eq(changes_after(registry, 5, &first, &err), 0);
	cr_assert_eq(changes_after(registry, 4, &first, &err), -1);
	cr_assert_eq(changes_after(registry, 0, &first, &err), -1);
}

Test(registry, loaded_changes_serve_watchers_of_the_agent_before)
{
	cleanup_(free_registry) Registry *registry = registry_new(12, 4);
	cleanup_(record_unrefp) VmRecord *present = NULL;
	Change *changes[4];
	Error err = { 0 };
	size_t n;

	registry_load(registry, a_record("a", 11));
	registry_load_change(registry, a_change(CHANGE_ADDED, "a", 10));
	registry_load_change(registry, a_change(CHANGE_MODIFIED, "a", 11));
	registry_load_change(registry, a_change(CHANGE_DELETED, "b", 12));
	publish(registry, CHANGE_MODIFIED, "a", 13);

	cr_assert_eq(registry_changes(registry, 9, changes, 4, &n, &err), 0);
	present = registry_get(registry, "a");
	cr_assert_eq(n, 4);
	cr_assert_eq(changes[1]->before, changes[0]->record);
	cr_assert_null(changes[2]->before);
	cr_assert_eq(changes[3]->before, changes[1]->record);
	cr_assert_eq(changes[3]->record, present);
	for (size_t i = 0; i < n; i++)
		change_unref(changes[i]);
}

Test(registry, a_batch_longer_than_a_step_is_published_whole)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 16);
	cleanup_(vm_list_unrefp) VmList *list = NULL;
	Change *batch[100];
	Error err = { 0 };
	uint64_t first;

	for (unsigned i = 0; i < 100; i++) {
		cleanup_free char *id = text_printf("vm-%02u", i);

		batch[i] = a_change(CHANGE_ADDED, id, i + 1);
	}
	registry_publish(registry, batch, 100);
	for (unsigned i = 0; i < 100; i++)
		change_unref(batch[i]);

	list = registry_list(registry);
	cr_assert_eq(list->count, 100);
	cr_assert_eq(list->revision, 100);
	cr_assert_eq(changes_after(registry, 84, &first, &err), 16);
	cr_assert_eq(changes_after(registry, 83, &first, &err), -1);
}

typedef struct Counter {
	Watcher watcher;
	unsigned woken;
} Counter;

static void count_wake(Watcher *watcher)
{
	container_of(watcher, Counter, watcher)->woken++;
}

Test(registry, watchers_are_woken_once_a_batch_until_they_leave)
{
	cleanup_(free_registry) Registry *registry = registry_new(0, 4);
	Counter first = { .watcher.wake = count_wake };
	Counter second = { .watcher.wake = count_wake };
	Counter third = { .watcher.wake = count_wake };

	registry_watch(registry, &first.watcher);
	registry_watch(registry, &second.watcher);
	registry_watch(registry, &third.watcher);
	publish(registry, CHANGE_ADDED, "a", 1);
	registry_unwatch(registry, &second.watcher);
	publish(registry, CHANGE_MODIFIED, "a", 2);
	registry_unwatch(registry, &third.watcher);
	registry_touch_node(registry);
	registry_unwatch(registry, &first.watcher);
	registry_touch_node(registry);

	cr_assert_eq(first.woken, 3);
	cr_assert_eq(second.woken, 1);
	cr_assert_eq(third.woken, 2);
	cr_assert_eq(registry_node_version(registry), 2);
}
