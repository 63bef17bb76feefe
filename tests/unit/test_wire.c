/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire.h"
#include "agent/wire_table.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <google/rpc/error_details.pb-c.h>
#include <inttypes.h>
#include <string.h>

/* Sets every field of every message to a value of its own, by the tables. */
typedef struct Filler {
	int number;
} Filler;

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the tables */
static void fill(Filler *filler, const FieldTable *table, void *object)
{
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];
		void *at = field_at(field, object);
		int n = ++filler->number;
		FieldMap *map = at;

		switch (field->type) {
		case FIELD_BOOL:
			*(bool *)at = true;
			break;
		case FIELD_U32:
			*(uint32_t *)at = UINT32_MAX - (uint32_t)n;
			break;
		case FIELD_I32:
			*(int32_t *)at = -n;
			break;
		case FIELD_U64:
			*(uint64_t *)at = INT64_MAX - (uint64_t)n;
			break;
		case FIELD_ENUM:
			*(int *)at = (int)field->name_count - 1;
			break;
		case FIELD_TEXT:
			*(char **)at = text_printf("%s %d \xe2\x82\xac", field->name, n);
			break;
		case FIELD_TIME:
		case FIELD_DURATION:
			*(int64_t *)at = INT64_C(1700000000123456) + n;
			break;
		case FIELD_MAP:
			map->pairs = new0_array(struct FieldPair, 2);
			map->count = 2;
			map->pairs[0] = (struct FieldPair){ text_dup("a"), text_dup("") };
			map->pairs[1] = (struct FieldPair){ text_dup("b"), text_dup("2") };
			break;
		case FIELD_OBJECT:
			*(void **)at = must_calloc(1, field->table->size);
			fill(filler, field->table, *(void **)at);
			break;
		case FIELD_LIST:
			fill(filler, field->table, field_list_add(at, field->table));
			fill(filler, field->table, field_list_add(at, field->table));
			break;
		case FIELD_TEXTS:
			field_texts_add(at, "a");
			field_texts_add(at, "b");
			break;
		case FIELD_TYPE_COUNT_:
			cr_assert(false);
		}
	}
}

static void name_failure(VmOperation *operation)
{
	VmFailure *failure = operation->error;

	fields_clear(&vm_failure_table, failure);
	failure->kind = text_dup("VMM_FAILED");
	failure->cause = text_dup("TIMEOUT");
	failure->message = text_dup("vmm failed: no answer");
}

static VmRecord *full_record(void)
{
	VmRecord *record = record_new();
	Filler filler = { 0 };

	record->spec = spec_new();
	fill(&filler, &vm_record_table, record);
	fill(&filler, &vm_spec_table, record->spec);
	fill(&filler, &vm_status_table, &record->status);
	name_failure(record->status.operation);
	name_failure(record->status.last_operation);
	return record;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the messages */
static void assert_all_set(const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const void *at = wire_member_in(message, field->offset);
		bool is_repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
		size_t count =
			is_repeated
				? *(const size_t *)wire_member_in(message, field->quantifier_offset)
				: 1;

		cr_assert_gt(count, 0, "%s.%s", message->descriptor->name, field->name);
		if (field->type == PROTOBUF_C_TYPE_UINT32)
			cr_assert_neq(*(const uint32_t *)at, 0, "%s", field->name);
		else if (field->type == PROTOBUF_C_TYPE_STRING && !is_repeated)
			cr_assert(strcmp(field->name, "value") == 0 || **(char *const *)at, "%s.%s",
				  message->descriptor->name, field->name);
		else if (field->type == PROTOBUF_C_TYPE_MESSAGE && !is_repeated)
			cr_assert(*(void *const *)at, "%s.%s", message->descriptor->name,
				  field->name);
		if (field->type != PROTOBUF_C_TYPE_MESSAGE ||
		    field->descriptor == &google__rpc__status__descriptor)
			continue;
		for (size_t k = 0; k < count; k++)
			assert_all_set(is_repeated ? (*(ProtobufCMessage * *const *)at)[k]
						   : *(ProtobufCMessage *const *)at);
	}
}

Test(wire, every_field_of_the_proto_is_told)
{
	cleanup_(record_unrefp) VmRecord *record = full_record();
	cleanup_(arena_clear) Arena arena;

	arena_init(&arena, SIZE_MAX);

	assert_all_set(&wire_vm(&arena, record)->base);
}

/* The value's name without its type's: VM_STATE_RUNNING is running. */
static void assert_enum_name(const Field *field, const ProtobufCEnumValue *value)
{
	const char *name = field->names[value->value];
	size_t length = name ? strlen(name) : 0, whole = strlen(value->name);

	if (value->value == 0 && !name)
		return;
	cr_assert(name && length < whole && value->name[whole - length - 1] == '_', "%s",
		  value->name);
	cr_assert_eq(strcasecmp(value->name + whole - length, name), 0, "%s %s", value->name, name);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the tables */
static void check_enums(const WireTable *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const WirePair *pair = &table->pairs[i];
		const ProtobufCEnumDescriptor *values = pair->proto->descriptor;

		if (pair->table)
			check_enums(pair->table);
		if (pair->field->type != FIELD_ENUM)
			continue;
		cr_assert_eq(values->n_values, pair->field->name_count, "%s", values->name);
		for (unsigned k = 0; k < values->n_values; k++)
			assert_enum_name(pair->field, &values->values[k]);
	}
}

Test(wire, enums_have_the_names_and_numbers_of_the_proto)
{
	check_enums(wire_tables()->spec);
	check_enums(wire_tables()->status);
}

/* Over the wire and back. */
static Hearth__V1__Vm *send_vm(const VmRecord *record)
{
	cleanup_(arena_clear) Arena arena;
	Hearth__V1__Vm *vm;
	uint8_t *bytes;
	size_t size;

	arena_init(&arena, SIZE_MAX);
	vm = wire_vm(&arena, record);
	bytes = arena_alloc(&arena, hearth__v1__vm__get_packed_size(vm));
	size = hearth__v1__vm__pack(vm, bytes);
	vm = hearth__v1__vm__unpack(NULL, size, bytes);
	cr_assert(vm);
	return vm;
}

static void vm_freep(Hearth__V1__Vm **vm)
{
	hearth__v1__vm__free_unpacked(*vm, NULL);
}

Test(wire, a_full_spec_survives_the_store_and_the_wire)
{
	cleanup_(record_unrefp) VmRecord *record = full_record(), *stored = NULL;
	cleanup_(spec_unrefp) VmSpec *spec = NULL;
	cleanup_(vm_freep) Hearth__V1__Vm *vm = NULL;
	cleanup_free char *text = record_to_text(record);
	Error err = { 0 };

	cr_assert_eq(record_from_text(&stored, text, record->revision), 0);
	vm = send_vm(stored);
	spec = wire_spec(vm->spec, "spec", &err);

	cr_assert_not(error_is_set(&err));
	cr_assert(fields_equal(&vm_spec_table, record->spec, spec));
}

static bool same_messages(const Hearth__V1__Vm *a, const Hearth__V1__Vm *b)
{
	size_t size = hearth__v1__vm__get_packed_size(a);
	cleanup_(arena_clear) Arena arena;
	uint8_t *left, *right;

	arena_init(&arena, SIZE_MAX);
	if (hearth__v1__vm__get_packed_size(b) != size)
		return false;
	left = arena_alloc(&arena, size);
	right = arena_alloc(&arena, size);
	hearth__v1__vm__pack(a, left);
	hearth__v1__vm__pack(b, right);
	return memcmp(left, right, size) == 0;
}

Test(wire, a_full_status_survives_the_store)
{
	cleanup_(record_unrefp) VmRecord *record = full_record(), *stored = NULL;
	cleanup_(vm_freep) Hearth__V1__Vm *before = send_vm(record), *after = NULL;
	cleanup_free char *text = record_to_text(record);

	cr_assert_eq(record_from_text(&stored, text, record->revision), 0);
	after = send_vm(stored);

	cr_assert(same_messages(before, after));
	cr_assert_eq(after->revision, record->revision);
	cr_assert_eq(after->status->last_exit->exit_code, record->status.last_exit->exit_code);
	cr_assert_eq(after->create_time->seconds, 1700000000);
	cr_assert_eq(after->create_time->nanos, record->create_time % 1000000 * 1000);
}

Test(wire, a_failure_is_a_status_with_its_reason)
{
	cleanup_(record_unrefp) VmRecord *record = full_record();
	cleanup_(vm_freep) Hearth__V1__Vm *vm = send_vm(record);
	const Google__Rpc__Status *status = vm->status->operation->error;
	Google__Rpc__ErrorInfo *info;

	cr_assert_eq(status->code, 4); /* DEADLINE_EXCEEDED, for TIMEOUT */
	cr_assert_str_eq(status->message, "vmm failed: no answer");
	cr_assert_geq(status->n_details, 1);
	cr_assert_str_eq(status->details[0]->type_url, "type.googleapis.com/google.rpc.ErrorInfo");
	info = google__rpc__error_info__unpack(NULL, status->details[0]->value.len,
					       status->details[0]->value.data);
	cr_assert(info);
	cr_assert_str_eq(info->reason, "VMM_FAILED");
	cr_assert_str_eq(info->domain, "hearth.v1");
	google__rpc__error_info__free_unpacked(info, NULL);
}

Test(wire, what_is_unset_is_unset_on_both_sides)
{
	cleanup_(record_unrefp) VmRecord *record = record_new();
	cleanup_(spec_unrefp) VmSpec *spec = NULL, *none = spec_new();
	cleanup_(vm_freep) Hearth__V1__Vm *vm = NULL;
	Error err = { 0 };

	record->spec = spec_new();
	vm = send_vm(record);
	spec = wire_spec(vm->spec, "spec", &err);

	cr_assert_null(vm->create_time);
	cr_assert_null(vm->status->operation);
	cr_assert_null(vm->spec->machine);
	cr_assert(fields_equal(&vm_spec_table, spec, none));
	spec_unref(take_ptr(spec));
	spec = wire_spec(NULL, "spec", &err);
	cr_assert(fields_equal(&vm_spec_table, spec, none));
}

Test(wire, text_cut_within_a_character_is_sent_as_utf8)
{
	cleanup_(record_unrefp) VmRecord *record = full_record();
	cleanup_(vm_freep) Hearth__V1__Vm *vm = NULL;

	record_set_condition(record, "New", CONDITION_TRUE, "R", "caf\xc3");
	vm = send_vm(record);

	cr_assert_str_eq(vm->status->conditions[2]->message, "caf\xef\xbf\xbd");
}

static const char *violation(const Error *err, const char *field)
{
	const char *at, *description;
	uint32_t walk = 0;

	while (error_next_violation(err, &walk, &at, &description))
		if (strcmp(at, field) == 0)
			return description;
	return NULL;
}

Test(wire, times_that_are_none_are_violations)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
		int64_t usec; /* 0: a violation */
	} cases[] = {
		{ 1700000000, 123456789, INT64_C(1700000000123456) },
		{ 253402300799, 999999999, INT64_C(253402300799999999) },
		{ 0, 1000, 1 },
		{ 0, 0, 0 },
		{ 0, 999, 0 },
		{ -1, 0, 0 },
		{ 253402300800, 0, 0 },
		{ INT64_MAX, 0, 0 },
		{ INT64_MIN, 0, 0 },
		{ 1, -1, 0 },
		{ 1, 1000000000, 0 },
		{ 1, INT32_MIN, 0 },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
		Hearth__V1__VmSpec message = HEARTH__V1__VM_SPEC__INIT;
		cleanup_(spec_unrefp) VmSpec *spec = NULL;
		Error err = { 0 };

		time.seconds = cases[i].seconds;
		time.nanos = cases[i].nanos;
		message.expires_at = &time;
		message.expire_action = HEARTH__V1__EXPIRE_ACTION__EXPIRE_ACTION_STOP;
		spec = wire_spec(&message, "spec", &err);

		cr_assert_eq(error_is_set(&err), !cases[i].usec, "%zu", i);
		cr_assert_eq(!violation(&err, "spec.expires_at"), !!cases[i].usec, "%zu", i);
		if (cases[i].usec)
			cr_assert_eq(spec->expires_at, cases[i].usec);
		/* It is told once, and not as a missing time beside it. */
		cr_assert_eq(spec_check(spec, &err) < 0, !cases[i].usec, "%zu", i);
		cr_assert_eq(err.violation_count, !cases[i].usec, "%zu", i);
	}
}

Test(wire, durations_that_are_none_are_violations)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
		int64_t usec; /* 0: a violation of wire_spec() or spec_check() */
	} cases[] = {
		{ 1, 999, 1000000 },
		{ 3600, 0, INT64_C(3600000000) },
		{ 0, 10000000, 10000 },
		{ 0, 9999999, 0 },
		{ 0, 0, 0 },
		{ 0, 1, 0 },
		{ 0, -1, 0 },
		{ -1, 0, 0 },
		{ -1, -500, 0 },
		{ 1, -1, 0 },
		{ -1, 1, 0 },
		{ 1, 1000000000, 0 },
		{ 3600, 1000, 0 },
		{ INT64_C(315576000001), 0, 0 },
		{ INT64_MAX, 0, 0 },
		{ INT64_MIN, 0, 0 },
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;
		Hearth__V1__RestartPolicy restart = HEARTH__V1__RESTART_POLICY__INIT;
		Hearth__V1__VmSpec message = HEARTH__V1__VM_SPEC__INIT;
		cleanup_(spec_unrefp) VmSpec *spec = NULL;
		Error err = { 0 };

		duration.seconds = cases[i].seconds;
		duration.nanos = cases[i].nanos;
		restart.initial_backoff = &duration;
		message.restart_policy = &restart;
		spec = wire_spec(&message, "spec", &err);

		cr_assert_eq(spec_check(spec, &err) < 0, !cases[i].usec, "%zu", i);
		cr_assert_eq(err.violation_count, !cases[i].usec, "%zu", i);
		if (cases[i].usec)
			cr_assert_eq(spec->restart_policy->initial_backoff, cases[i].usec);
		else
			cr_assert(violation(&err, "spec.restart_policy.initial_backoff"), "%zu", i);
	}
}

Test(wire, bad_elements_are_named_by_their_place)
{
	Hearth__V1__Drive good, bad;
	Hearth__V1__Drive *drives[] = { &good, &bad };
	Hearth__V1__VmSpec message = HEARTH__V1__VM_SPEC__INIT;
	cleanup_(spec_unrefp) VmSpec *spec = NULL;
	Error err = { 0 };

	hearth__v1__drive__init(&good);
	hearth__v1__drive__init(&bad);
	good.drive_id = (char[]){ "a" };
	good.path = (char[]){ "/d" };
	bad.drive_id = NULL;
	bad.path = (char[]){ "d" };
	message.drives = drives;
	message.n_drives = 2;
	message.backend = (Hearth__V1__Backend)77;
	spec = wire_spec(&message, "spec", &err);

	cr_assert_eq(spec_check(spec, &err), -1);
	cr_assert_eq(err.violation_count, 3);
	cr_assert(violation(&err, "spec.backend"));
	cr_assert(violation(&err, "spec.drives[1].drive_id"));
	cr_assert(violation(&err, "spec.drives[1].path"));
}

static void assert_event(const Hearth__V1__VmEvent *event)
{
	cr_assert_eq(event->revision, 5);
	cr_assert_eq(event->type, HEARTH__V1__EVENT_TYPE__EVENT_TYPE_MODIFIED);
	cr_assert_eq(event->time->seconds, 2);
	cr_assert_eq(event->time->nanos, 7000);
	cr_assert_str_eq(event->reason, "GuestPanic");
	cr_assert_str_eq(event->message, "m");
	cr_assert_str_eq(event->operation_id, "o");
	cr_assert_str_eq(event->principal, "");
}

Test(wire, an_event_carries_the_vm_or_names_it)
{
	VmRecord *record = full_record();
	cleanup_(change_unrefp) Change *change = change_new(CHANGE_MODIFIED, record, "GuestPanic");
	cleanup_(arena_clear) Arena arena;
	Hearth__V1__VmEvent *event;

	change->revision = 5;
	change->time = 2000007;
	change->message = text_dup("m");
	change->operation_id = text_dup("o");
	arena_init(&arena, SIZE_MAX);

	event = wire_event(&arena, change, true);
	assert_event(event);
	cr_assert_str_eq(event->vm->vm_id, record->vm_id);
	cr_assert_str_eq(event->vm_id, "");

	event = wire_event(&arena, change, false);
	assert_event(event);
	cr_assert_null(event->vm);
	cr_assert_str_eq(event->vm_id, record->vm_id);
	cr_assert_str_eq(event->uid, record->uid);
	cr_assert_eq((int)event->state, (int)record->status.state);
}

Test(wire, a_stored_event_is_told_whole)
{
	StoreEvent stored = {
		.revision = 5,
		.type = CHANGE_MODIFIED,
		.time = 2000007,
		.vm_id = (char[]){ "web-1" },
		.uid = (char[]){ "u" },
		.reason = (char[]){ "GuestPanic" },
		.message = (char[]){ "m" },
		.operation_id = (char[]){ "o" },
		.state = VM_FAILED,
	};
	cleanup_(arena_clear) Arena arena;
	Hearth__V1__VmEvent *event;

	arena_init(&arena, SIZE_MAX);
	event = wire_store_event(&arena, &stored);

	assert_event(event);
	cr_assert_str_eq(event->vm_id, "web-1");
	cr_assert_str_eq(event->uid, "u");
	cr_assert_eq(event->state, HEARTH__V1__VM_STATE__VM_STATE_FAILED);
}
