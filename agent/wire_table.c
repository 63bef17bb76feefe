/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/wire_table.h"

#include "runtime/record.h"

#include <assert.h>
#include <google/rpc/status.pb-c.h>
#include <hearth/v1/vm.pb-c.h>
#include <pthread.h>
#include <string.h>

enum {
	TABLES_MAX = 40,
};

/* Written by pair_all() alone. */
static WireTable tables[TABLES_MAX];
static size_t table_count;
static WireTables roots;

/* The type a row's field has in the proto. */
/* clang-format off */
static const struct {
	ProtobufCType type;
	ProtobufCLabel label;
	const ProtobufCMessageDescriptor *message; /* NULL: any */
} types[] = {
	[FIELD_BOOL]     = { PROTOBUF_C_TYPE_BOOL,    PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_U32]      = { PROTOBUF_C_TYPE_UINT32,  PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_I32]      = { PROTOBUF_C_TYPE_SINT32,  PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_U64]      = { PROTOBUF_C_TYPE_UINT64,  PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_ENUM]     = { PROTOBUF_C_TYPE_ENUM,    PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_TEXT]     = { PROTOBUF_C_TYPE_STRING,  PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_TIME]     = { PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_NONE,
	                     &google__protobuf__timestamp__descriptor },
	[FIELD_DURATION] = { PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_NONE,
	                     &google__protobuf__duration__descriptor },
	[FIELD_MAP]      = { PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_REPEATED, NULL },
	[FIELD_OBJECT]   = { PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_NONE,     NULL },
	[FIELD_LIST]     = { PROTOBUF_C_TYPE_MESSAGE, PROTOBUF_C_LABEL_REPEATED, NULL },
	[FIELD_TEXTS]    = { PROTOBUF_C_TYPE_STRING,  PROTOBUF_C_LABEL_REPEATED, NULL },
};

/* What stands on one side only: a row without a field, a field without a row. */
static const struct {
	const FieldTable *table;
	const char *name;
} exceptions[] = {
	{ &vm_record_table, "digest" }, /* the store's */
	{ &vm_record_table, "spec" },   /* wire_vm() adds these two */
	{ &vm_record_table, "status" },
};
/* clang-format on */
static_assert(array_size(types) == FIELD_TYPE_COUNT_, "a type for every type");

static bool is_exception(const FieldTable *table, const char *name)
{
	for (size_t i = 0; i < array_size(exceptions); i++)
		if (exceptions[i].table == table && strcmp(exceptions[i].name, name) == 0)
			return true;
	return false;
}

static bool has_row(const FieldTable *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->fields[i].name, name) == 0)
			return true;
	return is_exception(table, name);
}

static void check_type(const Field *field, const ProtobufCFieldDescriptor *proto)
{
	assert(proto->type == types[field->type].type);
	assert(proto->label == types[field->type].label);
	assert(!types[field->type].message || proto->descriptor == types[field->type].message);
	assert(field->table != &vm_failure_table ||
	       proto->descriptor == &google__rpc__status__descriptor);
}

static const ProtobufCFieldDescriptor *proto_field(const ProtobufCMessageDescriptor *message,
						   const FieldTable *fields, const Field *field)
{
	const ProtobufCFieldDescriptor *proto =
		protobuf_c_message_descriptor_get_field_by_name(message, field->name);

	assert(proto || is_exception(fields, field->name));
	return proto;
}

/* Does not follow tables into tables. */
static WireTable *table_new(const FieldTable *fields, const ProtobufCMessageDescriptor *message)
{
	WireTable *table = &tables[table_count++];

	assert(table_count <= TABLES_MAX);
	*table = (WireTable){ .fields = fields, .message = message };
	for (unsigned i = 0; i < message->n_fields; i++)
		assert(has_row(fields, message->fields[i].name));
	for (size_t i = 0; i < fields->count; i++) {
		const Field *field = &fields->fields[i];
		const ProtobufCFieldDescriptor *proto = proto_field(message, fields, field);

		if (!proto)
			continue;
		assert(table->count < WIRE_PAIRS_MAX);
		check_type(field, proto);
		table->pairs[table->count++] = (WirePair){ .field = field, .proto = proto };
	}
	return table;
}

/* NOLINTNEXTLINE(misc-no-recursion): tables nest, but never in themselves */
static const WireTable *pair(const FieldTable *fields, const ProtobufCMessageDescriptor *message)
{
	WireTable *table;

	for (size_t i = 0; i < table_count; i++)
		if (tables[i].fields == fields && tables[i].message == message)
			return &tables[i];

	table = table_new(fields, message);
	for (size_t i = 0; i < table->count; i++) {
		WirePair *row = &table->pairs[i];

		if (row->field->table && row->field->table != &vm_failure_table)
			row->table = pair(row->field->table, row->proto->descriptor);
	}
	return table;
}

static void pair_all(void)
{
	roots.vm = pair(&vm_record_table, &hearth__v1__vm__descriptor);
	roots.spec = pair(&vm_spec_table, &hearth__v1__vm_spec__descriptor);
	roots.egress = pair(&vm_egress_policy_table, &hearth__v1__egress_policy__descriptor);
	roots.status = pair(&vm_status_table, &hearth__v1__vm_status__descriptor);
}

const WireTables *wire_tables(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (pthread_once(&once, pair_all) != 0)
		abort();
	return &roots;
}
