/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire.h"

#include "agent/status.h"
#include "agent/wire_table.h"
#include "base/clock.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

typedef struct Out {
	Arena *arena;
	const VmRecord *record;
} Out;

typedef void PutRule(Out *out, const WirePair *pair, void *message, const void *from);

static void put_all(Out *out, const WireTable *table, void *message, const void *from);

static void *arena_new(Arena *arena, size_t size)
{
	void *memory = arena_alloc(arena, size);

	if (!memory)
		abort(); /* only without memory: an answer's budget has no end */
	return memory;
}

static void *message_new(Arena *arena, const ProtobufCMessageDescriptor *type)
{
	void *message = arena_new(arena, type->sizeof_message);

	protobuf_c_message_init(type, message);
	return message;
}

static void *member(const WirePair *pair, void *message)
{
	return wire_member(message, pair->proto->offset);
}

static void put_bool(Out *out, const WirePair *pair, void *message, const void *from)
{
	(void)out;
	*(protobuf_c_boolean *)member(pair, message) = *(const bool *)from;
}

static void put_u32(Out *out, const WirePair *pair, void *message, const void *from)
{
	(void)out;
	*(uint32_t *)member(pair, message) = *(const uint32_t *)from;
}

static void put_i32(Out *out, const WirePair *pair, void *message, const void *from)
{
	(void)out;
	*(int32_t *)member(pair, message) = *(const int32_t *)from;
}

static void put_u64(Out *out, const WirePair *pair, void *message, const void *from)
{
	(void)out;
	*(uint64_t *)member(pair, message) = *(const uint64_t *)from;
}

static void put_enum(Out *out, const WirePair *pair, void *message, const void *from)
{
	(void)out;
	*(int *)member(pair, message) = *(const int *)from;
}

/* Clients refuse a message with a string that is not UTF-8 (one cut within a character). */
static char *clean_text(Arena *arena, char *text)
{
	size_t length = strlen(text);
	char *clean;

	if (text_is_utf8(text, length))
		return text;
	clean = arena_new(arena, 3 * length + 1);
	text_to_utf8(clean, text, length);
	return clean;
}

static void put_text(Out *out, const WirePair *pair, void *message, const void *from)
{
	*(char **)member(pair, message) = clean_text(out->arena, *(char *const *)from);
}

void wire_time(Google__Protobuf__Timestamp *to, int64_t usec)
{
	google__protobuf__timestamp__init(to);
	to->seconds = usec / USEC_PER_SEC;
	to->nanos = (int32_t)(usec % USEC_PER_SEC) * 1000;
}

static Google__Protobuf__Timestamp *new_time(Arena *arena, int64_t usec)
{
	Google__Protobuf__Timestamp *time =
		message_new(arena, &google__protobuf__timestamp__descriptor);

	wire_time(time, usec);
	return time;
}

static void put_time(Out *out, const WirePair *pair, void *message, const void *from)
{
	*(Google__Protobuf__Timestamp **)member(pair, message) =
		new_time(out->arena, *(const int64_t *)from);
}

static void put_duration(Out *out, const WirePair *pair, void *message, const void *from)
{
	Google__Protobuf__Duration *duration =
		message_new(out->arena, &google__protobuf__duration__descriptor);
	int64_t usec = *(const int64_t *)from;

	duration->seconds = usec / USEC_PER_SEC;
	duration->nanos = (int32_t)(usec % USEC_PER_SEC) * 1000;
	*(Google__Protobuf__Duration **)member(pair, message) = duration;
}

/* Room for @count elements in the repeated field. */
static void **put_repeated(Out *out, const WirePair *pair, void *message, size_t count)
{
	void **items = arena_new(out->arena, count * sizeof *items);

	*(size_t *)wire_member(message, pair->proto->quantifier_offset) = count;
	*(void ***)member(pair, message) = items;
	return items;
}

static void put_map(Out *out, const WirePair *pair, void *message, const void *from)
{
	const ProtobufCMessageDescriptor *type = pair->proto->descriptor;
	const FieldMap *map = from;
	void **items = put_repeated(out, pair, message, map->count);

	for (size_t i = 0; i < map->count; i++) {
		items[i] = message_new(out->arena, type);
		*(char **)wire_member(items[i], type->fields[0].offset) = map->pairs[i].key;
		*(char **)wire_member(items[i], type->fields[1].offset) =
			clean_text(out->arena, map->pairs[i].value);
	}
}

static void put_texts(Out *out, const WirePair *pair, void *message, const void *from)
{
	const FieldTexts *texts = from;
	void **items = put_repeated(out, pair, message, texts->count);

	for (size_t i = 0; i < texts->count; i++)
		items[i] = clean_text(out->arena, texts->items[i]);
}

/* Packed and unpacked again, so that it lies in the arena like the rest. */
static Google__Rpc__Status *failure_message(Out *out, const VmFailure *failure)
{
	Google__Rpc__Status *status =
		status_new(failure->kind ? failure->kind : "", failure->cause ? failure->cause : "",
			   failure->message ? failure->message : "",
			   out->record->vm_id ? out->record->vm_id : "");
	size_t size = google__rpc__status__get_packed_size(status);
	uint8_t *bytes = arena_new(out->arena, size);
	Google__Rpc__Status *copy;

	google__rpc__status__pack(status, bytes);
	google__rpc__status__free_unpacked(status, NULL);
	copy = google__rpc__status__unpack(&out->arena->allocator, size, bytes);
	if (!copy)
		abort();
	copy->message = clean_text(out->arena, copy->message);
	return copy;
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the tables */
static void put_object(Out *out, const WirePair *pair, void *message, const void *from)
{
	const void *object = *(void *const *)from;
	void *nested;

	if (pair->table) {
		nested = message_new(out->arena, pair->table->message);
		put_all(out, pair->table, nested, object);
	} else {
		nested = failure_message(out, object);
	}
	*(void **)member(pair, message) = nested;
}

static void put_list(Out *out, const WirePair *pair, void *message, const void *from)
{
	const FieldList *list = from;
	void **items = put_repeated(out, pair, message, list->count);

	for (size_t i = 0; i < list->count; i++) {
		items[i] = message_new(out->arena, pair->table->message);
		put_all(out, pair->table, items[i],
			(const char *)list->items + i * pair->table->fields->size);
	}
}

/* clang-format off */
static PutRule *const rules[] = {
	[FIELD_BOOL]     = put_bool,
	[FIELD_U32]      = put_u32,
	[FIELD_I32]      = put_i32,
	[FIELD_U64]      = put_u64,
	[FIELD_ENUM]     = put_enum,
	[FIELD_TEXT]     = put_text,
	[FIELD_TIME]     = put_time,
	[FIELD_DURATION] = put_duration,
	[FIELD_MAP]      = put_map,
	[FIELD_OBJECT]   = put_object,
	[FIELD_LIST]     = put_list,
	[FIELD_TEXTS]    = put_texts,
};
/* clang-format on */
static_assert(array_size(rules) == FIELD_TYPE_COUNT_, "a rule for every type");

static void put_all(Out *out, const WireTable *table, void *message, const void *from)
{
	for (size_t i = 0; i < table->count; i++) {
		const WirePair *pair = &table->pairs[i];

		if (field_is_set(pair->field, from))
			rules[pair->field->type](out, pair, message, field_in(pair->field, from));
	}
}
/* NOLINTEND(misc-no-recursion) */

Hearth__V1__Vm *wire_vm(Arena *arena, const VmRecord *record)
{
	const WireTables *tables = wire_tables();
	Hearth__V1__Vm *vm = message_new(arena, &hearth__v1__vm__descriptor);
	Out out = { .arena = arena, .record = record };

	vm->spec = message_new(arena, &hearth__v1__vm_spec__descriptor);
	vm->status = message_new(arena, &hearth__v1__vm_status__descriptor);
	put_all(&out, tables->vm, vm, record);
	if (record->spec)
		put_all(&out, tables->spec, vm->spec, record->spec);
	put_all(&out, tables->status, vm->status, &record->status);
	return vm;
}

Hearth__V1__EgressPolicy *wire_egress(Arena *arena, const VmEgressPolicy *policy)
{
	Hearth__V1__EgressPolicy *message;
	Out out = { .arena = arena };

	if (!policy)
		return NULL;
	message = message_new(arena, &hearth__v1__egress_policy__descriptor);
	put_all(&out, wire_tables()->egress, message, policy);
	return message;
}

Hearth__V1__VmSpec *wire_spec_message(Arena *arena, const VmSpec *spec)
{
	Hearth__V1__VmSpec *message;
	Out out = { .arena = arena };

	if (!spec)
		return NULL;
	message = message_new(arena, &hearth__v1__vm_spec__descriptor);
	put_all(&out, wire_tables()->spec, message, spec);
	return message;
}

/* What the message was initialised with stays where there is no @text. */
static void set_text(Arena *arena, char **ret, char *text)
{
	if (text)
		*ret = clean_text(arena, text);
}

Hearth__V1__VmEvent *wire_event(Arena *arena, const Change *change, bool with_vm)
{
	Hearth__V1__VmEvent *event = message_new(arena, &hearth__v1__vm_event__descriptor);

	event->revision = change->revision;
	event->type = (Hearth__V1__EventType)change->type;
	event->time = change->time ? new_time(arena, change->time) : NULL;
	set_text(arena, &event->reason, change->reason);
	set_text(arena, &event->message, change->message);
	set_text(arena, &event->operation_id, change->operation_id);
	set_text(arena, &event->principal, change->principal);
	if (with_vm) {
		event->vm = wire_vm(arena, change->record);
		return event;
	}
	set_text(arena, &event->vm_id, change->record->vm_id);
	set_text(arena, &event->uid, change->record->uid);
	event->state = (Hearth__V1__VmState)change->record->status.state;
	return event;
}

Hearth__V1__VmEvent *wire_store_event(Arena *arena, const StoreEvent *event)
{
	Hearth__V1__VmEvent *message = message_new(arena, &hearth__v1__vm_event__descriptor);

	message->revision = event->revision;
	message->type = (Hearth__V1__EventType)event->type;
	message->time = event->time ? new_time(arena, event->time) : NULL;
	set_text(arena, &message->reason, event->reason);
	set_text(arena, &message->message, event->message);
	set_text(arena, &message->operation_id, event->operation_id);
	set_text(arena, &message->principal, event->principal);
	set_text(arena, &message->vm_id, event->vm_id);
	set_text(arena, &message->uid, event->uid);
	message->state = (Hearth__V1__VmState)event->state;
	return message;
}

void wire_usage(Hearth__V1__Usage *to, const VmUsage *from)
{
	hearth__v1__usage__init(to);
	to->cpu_usec = from->cpu_usec;
	to->cpu_throttled_usec = from->cpu_throttled_usec;
	to->memory_bytes = from->memory_bytes;
	to->memory_peak_bytes = from->memory_peak_bytes;
	to->pids = from->pids;
}
