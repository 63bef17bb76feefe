/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/filter.h"
#include "agent/page_token.h"
#include "agent/request.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const char store[] = "0123abcd-0000-0000-0000-000000000000";

/* protobuf-c has no const; nobody writes to these. */
static char **mutable_texts(const char **texts)
{
	union {
		const char **from;
		char **to;
	} same = { texts };

	return same.to;
}

Test(request, needs_a_vm_id_of_the_right_form)
{
	static const char *const bad[] = {
		"",
		"A",
		"-a",
		"a-",
		"../a",
		"a.b",
		"a234567890123456789012345678901234567890123456789012345678901234"
	};
	static const char *const good[] = { "a", "a-b", "0", "web-1" };

	for (size_t i = 0; i < array_size(bad); i++) {
		Error err = { 0 };

		request_check_vm_id(bad[i], &err);
		cr_assert_eq(err.violation_count, 1, "%s", bad[i]);
	}
	for (size_t i = 0; i < array_size(good); i++) {
		Error err = { 0 };

		request_check_vm_id(good[i], &err);
		cr_assert(!error_is_set(&err), "%s", good[i]);
	}
}

Test(request, says_every_bad_field_at_once)
{
	Error err = { 0 };

	request_check_vm_id("", &err);
	request_check_uid("under_score", &err);
	request_check_tenant("Upper", &err);
	request_check_owner("", &err);
	(void)request_page_size(1001, &err);

	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_eq(err.violation_count, 5);
}

Test(request, takes_page_sizes_of_1_to_1000_and_0_for_100)
{
	Error err = { 0 };

	cr_assert_eq(request_page_size(0, &err), 100);
	cr_assert_eq(request_page_size(1, &err), 1);
	cr_assert_eq(request_page_size(1000, &err), 1000);
	cr_assert(!error_is_set(&err));
}

static int64_t duration(int64_t seconds, int32_t nanos, Error *err)
{
	Google__Protobuf__Duration value = GOOGLE__PROTOBUF__DURATION__INIT;

	value.seconds = seconds;
	value.nanos = nanos;
	return request_duration(&value, "field", 0, 3600, -7, err);
}

Test(request, takes_durations_within_their_range)
{
	Error err = { 0 };

	cr_assert_eq(request_duration(NULL, "field", 0, 3600, -7, &err), -7);
	cr_assert_eq(duration(0, 0, &err), 0);
	cr_assert_eq(duration(3600, 0, &err), INT64_C(3600000000));
	cr_assert_eq(duration(1, 500000000, &err), 1500000);
	cr_assert_eq(duration(0, 1, &err), 1);
	cr_assert(!error_is_set(&err));
}

Test(request, refuses_durations_beyond_their_range_or_malformed)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
	} rows[] = {
		{ -1, 0 },         { 3600, 1 },      { 3601, 0 },      { 0, -1 },
		{ 0, 1000000000 }, { INT64_MAX, 0 }, { INT64_MIN, 0 }, { 1, INT32_MAX },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		Error err = { 0 };

		(void)duration(rows[i].seconds, rows[i].nanos, &err);

		cr_assert_eq(err.violation_count, 1, "%zu", i);
	}
}

static unsigned mask_of(const char **paths, size_t count, Error *err)
{
	Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;

	mask.paths = mutable_texts(paths);
	mask.n_paths = count;
	return request_update_mask(&mask, err);
}

Test(request, reads_an_update_mask)
{
	const char *paths[] = { "labels", "expires_at", "labels", "expire_action",
				"restart_policy" };
	Error err = { 0 };

	unsigned some = mask_of(paths, 2, &err);
	unsigned all = mask_of(paths, array_size(paths), &err);

	cr_assert(!error_is_set(&err));
	cr_assert_eq(some, RUNTIME_UPDATE_LABELS | RUNTIME_UPDATE_EXPIRES_AT);
	cr_assert_eq(all, 15);
}

Test(request, refuses_an_update_mask_that_is_empty_or_names_another_path)
{
	const char *paths[] = { "labels", "machine" };
	Error none = { 0 }, empty = { 0 }, other = { 0 };

	(void)request_update_mask(NULL, &none);
	(void)mask_of(paths, 0, &empty);
	(void)mask_of(paths, 2, &other);

	cr_assert_eq(none.violation_count, 1);
	cr_assert_eq(empty.violation_count, 1);
	cr_assert_eq(other.violation_count, 1);
	cr_assert(strstr(other.what, "update_mask: paths[1]"));
}

Test(request, reads_states_and_refuses_the_unspecified)
{
	const Hearth__V1__VmState good[] = { HEARTH__V1__VM_STATE__VM_STATE_CREATED,
					     HEARTH__V1__VM_STATE__VM_STATE_DESTROYED };
	const Hearth__V1__VmState bad[] = { HEARTH__V1__VM_STATE__VM_STATE_CREATED,
					    HEARTH__V1__VM_STATE__VM_STATE_UNSPECIFIED };
	Error err = { 0 };

	cr_assert_eq(request_states(good, 2, &err), 1U << VM_CREATED | 1U << VM_DESTROYED);
	cr_assert(!error_is_set(&err));
	(void)request_states(bad, 2, &err);
	cr_assert(strstr(err.what, "states[1]"));
}

Test(page_token, comes_back_as_it_went)
{
	const PageToken token = { .revision = UINT64_MAX, .last = "web-1" };
	char text[PAGE_TOKEN_MAX];
	PageToken back = { 0 };
	Error err = { 0 };

	page_token_write(text, &token, store, 42);
	int r = page_token_read(&back, text, store, 42, &err);

	cr_assert_eq(r, 0, "%s", err.what);
	cr_assert_eq(back.revision, UINT64_MAX);
	cr_assert_str_eq(back.last, "web-1");
}

Test(page_token, holds_the_longest_id)
{
	PageToken token = { .revision = 1 }, back = { 0 };
	char text[PAGE_TOKEN_MAX];
	Error err = { 0 };

	memset(token.last, 'a', 63);
	page_token_write(text, &token, store, 42);

	cr_assert_eq(page_token_read(&back, text, store, 42, &err), 0);
	cr_assert_str_eq(back.last, token.last);
}

Test(page_token, is_refused_by_another_store_and_for_other_filters)
{
	const PageToken token = { .revision = 9, .last = "a" };
	char text[PAGE_TOKEN_MAX];
	PageToken back;
	Error by_store = { 0 }, by_filters = { 0 };

	page_token_write(text, &token, store, 42);

	cr_assert_eq(page_token_read(&back, text, "ffffffff-0000", 42, &by_store), -1);
	cr_assert_eq(page_token_read(&back, text, store, 43, &by_filters), -1);
	cr_assert_eq(by_store.kind, ERROR_PAGE_TOKEN);
	cr_assert_eq(by_filters.kind, ERROR_PAGE_TOKEN);
}

/* Any one byte changed either is refused or means another revision or id: never a crash. */
Test(page_token, is_refused_when_malformed)
{
	static const char *const rows[] = { "0", "zz", "00", "x", "3031", "\xff\xff" };
	const PageToken token = { .revision = 9, .last = "a" };
	char text[PAGE_TOKEN_MAX];
	PageToken back;

	for (size_t i = 0; i < array_size(rows); i++) {
		Error err = { 0 };

		cr_assert_eq(page_token_read(&back, rows[i], store, 42, &err), -1);
		cr_assert_eq(err.kind, ERROR_PAGE_TOKEN);
	}
	page_token_write(text, &token, store, 42);
	for (size_t i = 0; text[i]; i++) {
		char copy[PAGE_TOKEN_MAX];
		Error err = { 0 };

		text_copy(copy, sizeof copy, text);
		copy[i] = 'g';
		cr_assert_eq(page_token_read(&back, copy, store, 42, &err), -1);
		text_copy(copy, i + 1, text);
		error_clear(&err);
		cr_assert_eq(page_token_read(&back, copy, store, 42, &err),
			     i + 2 == strlen(text) ? 0 : -1, "%zu", i);
	}
}

Test(page_token, hash_tells_where_texts_end)
{
	uint64_t a = page_hash(page_hash(PAGE_HASH_START, "ab"), "c");
	uint64_t b = page_hash(page_hash(PAGE_HASH_START, "a"), "bc");

	cr_assert_neq(a, b);
}

static void filter_clearp(VmFilter *filter)
{
	filter_clear(filter);
}

Test(filter, matches_by_tenant_ids_states_and_labels)
{
	cleanup_(filter_clearp) VmFilter filter = { .tenant = "" };
	cleanup_(record_unrefp) VmRecord *record = record_new();
	const char *ids[] = { "a", "b" };
	Error err = { 0 };

	record->vm_id = text_dup("b");
	record->tenant = text_dup("t");
	record->spec = spec_new();
	record->status.state = VM_RUNNING;
	cr_assert(filter_match(&filter, record));

	filter_set_tenant(&filter, "t", &err);
	filter_set_vm_ids(&filter, mutable_texts(ids), 2, &err);
	filter.states = 1U << VM_RUNNING;
	cr_assert(filter_match(&filter, record));

	filter_set_selector(&filter, "app=x", &err);
	cr_assert(!error_is_set(&err));
	cr_assert(!filter_match(&filter, record));
	cr_assert(filter_may_match(&filter, record));
	record->status.state = VM_STOPPED;
	cr_assert(!filter_match(&filter, record));
	filter_set_tenant(&filter, "u", &err);
	cr_assert(!filter_may_match(&filter, record));
}

Test(filter, refuses_more_than_100_ids_and_malformed_ones)
{
	cleanup_(filter_clearp) VmFilter many = { .tenant = "" }, bad = { .tenant = "" };
	const char *ids[101];
	Error by_count = { 0 }, by_form = { 0 };

	for (size_t i = 0; i < array_size(ids); i++)
		ids[i] = "A";
	filter_set_vm_ids(&many, mutable_texts(ids), 101, &by_count);
	filter_set_vm_ids(&bad, mutable_texts(ids), 3, &by_form);

	cr_assert_eq(by_count.violation_count, 1);
	cr_assert_eq(by_form.violation_count, 3);
}
