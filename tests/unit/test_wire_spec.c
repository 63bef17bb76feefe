/* SPDX-License-Identifier: Apache-2.0 */

/* Specs by chance, through every form that one has. */

#include "agent/wire.h"
#include "base/text.h"
#include "tests/support/random_spec.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
	RANDOM_SPECS = 500,
};

/* Notes in @seen, an object in an object for each structure, which fields of @object are set. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the tables */
static void note_fields(const FieldTable *table, const void *object, json_t *seen)
{
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];
		const FieldList *list = field_in(field, object);
		json_t *inner = json_object_get(seen, field->name);

		if (!field_is_set(field, object))
			continue;
		if (!inner) {
			inner = json_object();
			(void)json_object_set_new(seen, field->name, inner);
		}
		if (field->type == FIELD_OBJECT)
			note_fields(field->table, *(void *const *)field_in(field, object), inner);
		for (size_t k = 0; field->type == FIELD_LIST && k < list->count; k++)
			note_fields(field->table,
				    (const char *)list->items + k * field->table->size, inner);
	}
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the tables */
static void check_noted(const FieldTable *table, const json_t *seen)
{
	for (size_t i = 0; i < table->count; i++) {
		const json_t *inner = json_object_get(seen, table->fields[i].name);

		cr_expect_not_null(inner, "%s.%s", table->name, table->fields[i].name);
		if (table->fields[i].table)
			check_noted(table->fields[i].table, inner);
	}
}

/* @spec as the API's bytes, and those read again. */
static VmSpec *send_spec(VmSpec *spec)
{
	cleanup_(record_unrefp) VmRecord *record = record_new();
	cleanup_(arena_clear) Arena arena;
	Hearth__V1__VmSpec *message;
	VmSpec *got;
	uint8_t *bytes;
	size_t size;
	Error err = { 0 };

	arena_init(&arena, SIZE_MAX);
	record->vm_id = text_dup("vm");
	record->spec = spec_ref(spec);
	message = wire_vm(&arena, record)->spec;
	bytes = arena_alloc(&arena, hearth__v1__vm_spec__get_packed_size(message));
	size = hearth__v1__vm_spec__pack(message, bytes);
	message = hearth__v1__vm_spec__unpack(NULL, size, bytes);
	cr_assert_not_null(message);
	got = wire_spec(message, "spec", &err);
	hearth__v1__vm_spec__free_unpacked(message, NULL);
	cr_assert_not(error_is_set(&err), "%s", err.what);
	return got;
}

/* @spec as the store's text, and that read again. */
static VmSpec *store_spec(VmSpec *spec, char **text)
{
	cleanup_(record_unrefp) VmRecord *record = record_new(), *stored = NULL;

	record->vm_id = text_dup("vm");
	record->uid = text_dup("uid");
	record->spec = spec_ref(spec);
	*text = record_to_text(record);
	cr_assert_eq(record_from_text(&stored, *text, 1), 0, "%s", *text);
	return spec_ref(stored->spec);
}

Test(wire_spec, any_spec_survives_the_wire_and_the_store_and_is_as_good_as_before)
{
	json_t *seen = json_object();

	srandom(7);
	for (int i = 0; i < RANDOM_SPECS; i++) {
		cleanup_(spec_unrefp) VmSpec *spec = random_spec_new(), *sent = NULL;
		cleanup_(spec_unrefp) VmSpec *stored = NULL, *again = NULL;
		cleanup_free char *text = NULL;
		Error err = { 0 };

		sent = send_spec(spec);
		stored = store_spec(sent, &text);
		again = send_spec(stored);

		cr_assert_eq(spec_check(again, &err), 0, "%s: %s", text, err.what);
		cr_assert(fields_equal(&vm_spec_table, spec, again), "%s", text);
		note_fields(&vm_spec_table, again, seen);
	}
	check_noted(&vm_spec_table, seen); /* each field was set in one of them */
	json_decref(seen);
}

Test(wire_spec, equal_specs_have_one_digest_and_others_another)
{
	srandom(8);
	for (int i = 0; i < RANDOM_SPECS; i++) {
		cleanup_(spec_unrefp) VmSpec *spec = random_spec_new(), *other = random_spec_new();
		cleanup_(spec_unrefp) VmSpec *copy = send_spec(spec);
		char digest[65], same[65], different[65];

		spec_digest(digest, spec, "vm", "u", "t");
		spec_digest(same, copy, "vm", "u", "t");
		spec_digest(different, other, "vm", "u", "t");

		cr_assert_str_eq(digest, same);
		cr_assert_eq(strcmp(digest, different) == 0,
			     fields_equal(&vm_spec_table, spec, other));
	}
}
