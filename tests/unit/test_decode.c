/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/decode.h"
#include "agent/scan.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <grpc/reflection/v1/reflection.pb-c.h>
#include <hearth/v1/egress.pb-c.h>
#include <hearth/v1/image.pb-c.h>
#include <hearth/v1/node.pb-c.h>
#include <hearth/v1/vm.pb-c.h>
#include <string.h>

#define CREATE (&hearth__v1__create_vm_request__descriptor)
#define LIST (&hearth__v1__list_vms_request__descriptor)

static const Method create = { .input = CREATE, .mutates = true };
static const Method list = { .input = LIST };

/* A message written by hand. */
typedef struct Bytes {
	uint8_t data[256 * 1024];
	size_t size;
} Bytes;

static Bytes bytes;

static void setup(void)
{
	bytes.size = 0;
}

static void put_varint(Bytes *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		to->data[to->size++] = (uint8_t)(value | 0x80);
	to->data[to->size++] = (uint8_t)value;
}

static void put_number(Bytes *to, uint32_t field, uint64_t value)
{
	put_varint(to, (uint64_t)field << 3);
	put_varint(to, value);
}

static void put_bytes(Bytes *to, uint32_t field, const void *data, size_t size)
{
	put_varint(to, (uint64_t)field << 3 | 2);
	put_varint(to, size);
	memcpy(to->data + to->size, data, size);
	to->size += size;
}

static void put_text(Bytes *to, uint32_t field, const char *text)
{
	put_bytes(to, field, text, strlen(text));
}

/* A map entry; NULL: left out. */
static void put_entry(Bytes *to, uint32_t field, const char *key, const char *value)
{
	Bytes *entry = new0(Bytes);

	if (key)
		put_text(entry, 1, key);
	if (value)
		put_text(entry, 2, value);
	put_bytes(to, field, entry->data, entry->size);
	free(entry);
}

/* The bytes become field 4, spec, of a request whose vm_id is "a". */
static void wrap_in_spec(void)
{
	Bytes *spec = new0(Bytes);

	*spec = bytes;
	bytes.size = 0;
	put_text(&bytes, 1, "a");
	put_bytes(&bytes, 4, spec->data, spec->size);
	free(spec);
}

static Error refused(const ProtobufCMessageDescriptor *type, bool strict)
{
	Error err = { 0 };

	cr_assert_neq(scan_message(type, bytes.data, bytes.size, strict, &err), 0);
	return err;
}

/* Is there a violation of @field whose description contains @words? */
static bool says(const Error *err, const char *field, const char *words)
{
	const char *f;
	const char *d;
	uint32_t at = 0;

	while (error_next_violation(err, &at, &f, &d))
		if (strcmp(f, field) == 0 && strstr(d, words))
			return true;
	return false;
}

Test(decode, a_good_request_becomes_a_message, .init = setup)
{
	ProtobufCMessage *message = NULL;
	Arena arena;
	Error err = { 0 };
	put_entry(&bytes, 3, "app", "web");
	put_entry(&bytes, 3, "tier", NULL);
	put_number(&bytes, 1, HEARTH__V1__BACKEND__BACKEND_QEMU);
	wrap_in_spec();

	cr_assert_eq(decode(&message, &arena, &create, bytes.data, bytes.size, &err), 0);

	const Hearth__V1__CreateVmRequest *request = (const void *)message;
	cr_assert_str_eq(request->vm_id, "a");
	cr_assert_eq(request->spec->backend, HEARTH__V1__BACKEND__BACKEND_QEMU);
	cr_assert_eq(request->spec->n_labels, 2);
	cr_assert_str_eq(request->spec->labels[0]->key, "app");
	cr_assert_str_eq(request->spec->labels[1]->value, "");
	arena_clear(&arena);
}

Test(decode, no_bytes_are_an_empty_message)
{
	ProtobufCMessage *message = NULL;
	Arena arena;
	Error err = { 0 };

	cr_assert_eq(decode(&message, &arena, &list, (const uint8_t *)"", 0, &err), 0);

	cr_assert_str_eq(((const Hearth__V1__ListVmsRequest *)(const void *)message)->tenant, "");
	arena_clear(&arena);
}

Test(decode, what_ends_early_cannot_be_decoded)
{
	static const char *const cases[] = { "\x0a", "\x0a\x05web", "\x80", "\x08\xff",
					     "\x0d\x01" };

	for (size_t i = 0; i < array_size(cases); i++) {
		Error err = { 0 };

		cr_assert_eq(scan_message(CREATE, (const uint8_t *)cases[i], strlen(cases[i]),
					  false, &err),
			     -1);
		cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
		cr_assert_eq(err.cause, CAUSE_INPUT);
		cr_assert(says(&err, "request", "cannot be decoded: truncated"), "%zu", i);
	}
}

Test(decode, oversized_numbers_cannot_be_decoded)
{
	/* A tag of six bytes; 65 bits; eleven bytes; a length of six bytes. */
	static const char *const cases[] = {
		"\x8a\x80\x80\x80\x80\x01",
		"\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
		"\x28\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
		"\x0a\x80\x80\x80\x80\x80\x01",
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		Error err = { 0 };

		cr_assert_eq(scan_message(CREATE, (const uint8_t *)cases[i], strlen(cases[i]),
					  false, &err),
			     -1, "%zu", i);
	}
}

Test(decode, groups_and_field_zero_cannot_be_decoded)
{
	static const char *const cases[] = { "\x0b\x0c", "\x0e", "\x02" };

	for (size_t i = 0; i < array_size(cases); i++) {
		Error err = { 0 };

		cr_assert_eq(scan_message(CREATE, (const uint8_t *)cases[i], strlen(cases[i]),
					  false, &err),
			     -1, "%zu", i);
	}
}

Test(decode, a_value_of_another_type_is_named, .init = setup)
{
	put_number(&bytes, 4, 7);

	Error err = refused(CREATE, false);

	cr_assert(says(&err, "spec", "another type"));
}

Test(decode, strings_must_be_utf8_without_nul_and_all_that_are_not_are_named, .init = setup)
{
	put_bytes(&bytes, 1, "disk\0", 5);
	put_text(&bytes, 2, "/\xff");
	Bytes *drive = new0(Bytes);
	*drive = bytes;
	bytes.size = 0;
	put_bytes(&bytes, 6, "", 0);
	put_bytes(&bytes, 6, drive->data, drive->size);
	free(drive);
	wrap_in_spec();

	Error err = refused(CREATE, true);

	cr_assert_eq(err.violation_count, 2);
	cr_assert(says(&err, "spec.drives[1].drive_id", "NUL"));
	cr_assert(says(&err, "spec.drives[1].path", "UTF-8"));
}

Test(decode, unknown_enum_values_are_named_wherever_they_are, .init = setup)
{
	put_number(&bytes, 1, 99);
	put_number(&bytes, 2, (uint64_t)INT64_C(-1));
	wrap_in_spec();
	put_number(&bytes, 6, UINT64_C(1) << 32 | 1);

	Error err = refused(CREATE, false);

	cr_assert_eq(err.violation_count, 3);
	cr_assert(says(&err, "spec.backend", "unknown value 99"));
	cr_assert(says(&err, "spec.desired_state", "unknown value -1"));
	cr_assert(says(&err, "return_when", "unknown value 4294967297"));
}

Test(decode, unknown_enum_values_in_lists_are_named_by_place, .init = setup)
{
	put_number(&bytes, 3, 1);
	put_bytes(&bytes, 3, "\x02\x32", 2);

	Error err = refused(LIST, false);

	cr_assert_eq(err.violation_count, 1);
	cr_assert(says(&err, "states[2]", "unknown value 50"));
}

Test(decode, unknown_fields_are_refused_only_when_asked, .init = setup)
{
	Error err = { 0 };
	put_number(&bytes, 99, 1);
	wrap_in_spec();
	put_text(&bytes, 77, "new");

	cr_assert_eq(scan_message(CREATE, bytes.data, bytes.size, false, &err), 0);
	err = refused(CREATE, true);

	cr_assert_eq(err.kind, ERROR_UNKNOWN_FIELD);
	cr_assert_eq(error_retry(&err), RETRY_ELSEWHERE);
	cr_assert_eq(err.violation_count, 2);
	cr_assert(says(&err, "spec.99", "99"));
	cr_assert(says(&err, "77", "77"));
}

Test(decode, a_map_key_given_twice_is_named, .init = setup)
{
	put_entry(&bytes, 3, "app", "web");
	put_entry(&bytes, 3, "tier", "1");
	put_entry(&bytes, 3, "app", "db");
	put_entry(&bytes, 3, NULL, "x");
	put_entry(&bytes, 3, "", "y");
	wrap_in_spec();

	Error err = refused(CREATE, true);

	cr_assert_eq(err.violation_count, 2);
	cr_assert(says(&err, "spec.labels", "'app' is given twice"));
	cr_assert(says(&err, "spec.labels", "'' is given twice"));
}

Test(decode, a_sub_message_given_twice_is_named, .init = setup)
{
	put_bytes(&bytes, 4, "", 0);
	put_bytes(&bytes, 4, "", 0);
	wrap_in_spec();

	Error err = refused(CREATE, true);

	cr_assert(says(&err, "spec.machine", "twice"));
}

Test(decode, a_flood_of_elements_is_refused, .init = setup)
{
	for (size_t i = 0; i <= SCAN_ELEMENTS_MAX; i++)
		put_number(&bytes, 3, 1);

	Error err = refused(LIST, false);

	cr_assert(says(&err, "request", "more than"));
}

Test(decode, a_flood_of_packed_elements_is_refused, .init = setup)
{
	static uint8_t ones[SCAN_ELEMENTS_MAX + 1];
	memset(ones, 1, sizeof ones);
	put_bytes(&bytes, 3, ones, sizeof ones);

	Error err = refused(LIST, false);

	cr_assert(says(&err, "request", "more than"));
}

Test(decode, a_thousand_labels_are_not_the_decoders_to_refuse, .init = setup)
{
	ProtobufCMessage *message = NULL;
	Arena arena;
	Error err = { 0 };
	char key[16];
	for (int i = 0; i < 1000; i++) {
		(void)text_append(key, key + sizeof key, "k%d", i);
		put_entry(&bytes, 3, key, "");
	}
	wrap_in_spec();

	cr_assert_eq(decode(&message, &arena, &create, bytes.data, bytes.size, &err), 0);

	arena_clear(&arena);
}

Test(decode, a_message_that_would_grow_too_much_is_refused, .init = setup)
{
	ProtobufCMessage *message = NULL;
	Arena arena;
	Error err = { 0 };
	for (size_t i = 0; i < SCAN_ELEMENTS_MAX - 10; i++)
		put_bytes(&bytes, 6, "", 0);
	wrap_in_spec();

	cr_assert_eq(decode(&message, &arena, &create, bytes.data, bytes.size, &err), -1);

	cr_assert(says(&err, "request", "too much memory"));
	arena_clear(&arena);
}

Test(decode, a_request_with_bad_values_can_be_looked_at_further, .init = setup)
{
	ProtobufCMessage *message = NULL;
	Arena arena;
	Error err = { 0 };
	put_bytes(&bytes, 1, "web-1", 5);
	put_number(&bytes, 6, 77);

	cr_assert_eq(decode(&message, &arena, &create, bytes.data, bytes.size, &err), -1);

	cr_assert(says(&err, "return_when", "unknown value 77"));
	cr_assert_not_null(message);
	cr_assert_str_eq(((Hearth__V1__CreateVmRequest *)(void *)message)->vm_id, "web-1");
	arena_clear(&arena);
}

Test(decode, the_scan_stops_at_so_many_violations, .init = setup)
{
	for (int i = 0; i < 1000; i++)
		put_number(&bytes, 3, 50);

	Error err = refused(LIST, false);

	cr_assert_eq(err.violation_count, SCAN_VIOLATIONS_MAX);
}

/* A type that contains itself, as the contract has none: to see the limit of depth work. */
static void pack_nested(Bytes *to, unsigned depth)
{
	to->size = 0;
	for (unsigned i = 0; i < depth; i++) {
		Bytes *inner = new0(Bytes);

		*inner = *to;
		to->size = 0;
		put_bytes(to, 1, inner->data, inner->size);
		free(inner);
	}
}

static ProtobufCMessageDescriptor self;
static const ProtobufCFieldDescriptor self_field = {
	.name = "self",
	.id = 1,
	.label = PROTOBUF_C_LABEL_OPTIONAL,
	.type = PROTOBUF_C_TYPE_MESSAGE,
	.descriptor = &self,
};
static const ProtobufCIntRange self_ranges[] = { { 1, 0 }, { 0, 1 } };
static ProtobufCMessageDescriptor self = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "Self",
	.short_name = "Self",
	.n_fields = 1,
	.fields = &self_field,
	.n_field_ranges = 1,
	.field_ranges = self_ranges,
};

Test(decode, depth_is_limited)
{
	Error err = { 0 };

	pack_nested(&bytes, SCAN_DEPTH_MAX - 1);
	cr_assert_eq(scan_message(&self, bytes.data, bytes.size, true, &err), 0);
	pack_nested(&bytes, SCAN_DEPTH_MAX);
	err = refused(&self, true);

	cr_assert_eq(err.violation_count, 1);
	cr_assert(strstr(err.what, "nested too deep"));
}

/* Fails if @type, @depth messages down, is too large or deeper than the scan allows. */
/* NOLINTNEXTLINE(misc-no-recursion): it ends at the first message that is too deep */
static void check_type(const ProtobufCMessageDescriptor *type, unsigned depth)
{
	cr_assert_leq(depth, SCAN_DEPTH_MAX, "%s is recursive, or nested too deep", type->name);
	cr_assert_leq(type->n_fields, SCAN_FIELDS_MAX, "%s", type->name);
	for (unsigned i = 0; i < type->n_fields; i++)
		if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			check_type(type->fields[i].descriptor, depth + 1);
}

Test(decode, no_request_type_contains_itself_or_is_too_large)
{
	static const ProtobufCServiceDescriptor *const services[] = {
		&hearth__v1__vm_service__descriptor,
		&hearth__v1__node_service__descriptor,
		&hearth__v1__egress_service__descriptor,
		&hearth__v1__image_service__descriptor,
		&grpc__reflection__v1__server_reflection__descriptor,
	};

	for (size_t i = 0; i < array_size(services); i++)
		for (unsigned k = 0; k < services[i]->n_methods; k++)
			check_type(services[i]->methods[k].input, 1);
}

Test(decode, no_reply_type_contains_itself)
{
	check_type(&hearth__v1__vm__descriptor, 1);
	check_type(&hearth__v1__node__descriptor, 1);
	check_type(&hearth__v1__watch_vms_response__descriptor, 1);
}
