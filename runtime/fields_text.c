/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fields_text.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

enum {
	SIZE_MIN = 1024,
};

typedef void WriteRule(FieldText *to, const Field *field, const void *at);

static void add_bytes(FieldText *to, const char *bytes, size_t count)
{
	if (to->size - to->length < count) {
		to->size = 2 * (to->length + count) + SIZE_MIN;
		to->bytes = must_realloc(to->bytes, to->size, 1);
	}
	memcpy(to->bytes + to->length, bytes, count);
	to->length += count;
}

static void add_byte(FieldText *to, char byte)
{
	add_bytes(to, &byte, 1);
}

void field_text_add(FieldText *to, const char *json)
{
	add_bytes(to, json, strlen(json));
}

static void add_number(FieldText *to, int64_t number)
{
	char digits[24], *at = digits + sizeof digits;
	uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do
		*--at = (char)('0' + rest % 10);
	while (rest /= 10);
	if (number < 0)
		*--at = '-';
	add_bytes(to, at, (size_t)(digits + sizeof digits - at));
}

static void add_escaped(FieldText *to, char byte)
{
	static const char escapes[][2] = {
		{ '"', '"' },  { '\\', '\\' }, { '\b', 'b' }, { '\f', 'f' },
		{ '\n', 'n' }, { '\r', 'r' },  { '\t', 't' },
	};
	char code[8];

	for (size_t i = 0; i < array_size(escapes); i++) {
		if (escapes[i][0] != byte)
			continue;
		add_byte(to, '\\');
		add_byte(to, escapes[i][1]);
		return;
	}
	(void)snprintf(code, sizeof code, "\\u%04X", (unsigned char)byte);
	field_text_add(to, code);
}

static bool needs_escape(char byte)
{
	return (unsigned char)byte < 0x20 || byte == '"' || byte == '\\';
}

/* @text is UTF-8. */
static void add_quoted(FieldText *to, const char *text)
{
	add_byte(to, '"');
	while (*text) {
		size_t plain = 0;

		while (text[plain] && !needs_escape(text[plain]))
			plain++;
		add_bytes(to, text, plain);
		text += plain;
		if (*text)
			add_escaped(to, *text++);
	}
	add_byte(to, '"');
}

/* Bytes that are not UTF-8 (a message cut in the middle of a character) are replaced. */
static void add_string(FieldText *to, const char *text)
{
	size_t length = strlen(text);
	cleanup_free char *clean = NULL;

	if (text_is_utf8(text, length)) {
		add_quoted(to, text);
		return;
	}
	clean = new0_array(char, 3 * length + 1);
	text_to_utf8(clean, text, length);
	add_quoted(to, clean);
}

static void write_bool(FieldText *to, const Field *field, const void *at)
{
	(void)field;
	field_text_add(to, *(const bool *)at ? "true" : "false");
}

static void write_u32(FieldText *to, const Field *field, const void *at)
{
	(void)field;
	add_number(to, *(const uint32_t *)at);
}

static void write_i32(FieldText *to, const Field *field, const void *at)
{
	(void)field;
	add_number(to, *(const int32_t *)at);
}

/* As fields_to_json() has it: the upper half of uint64_t as negative numbers. */
static void write_64(FieldText *to, const Field *field, const void *at)
{
	int64_t number;

	(void)field;
	memcpy(&number, at, sizeof number);
	add_number(to, number);
}

static void write_enum(FieldText *to, const Field *field, const void *at)
{
	int value = *(const int *)at;

	if (value < 0 || (size_t)value >= field->name_count || !field->names[value])
		add_number(to, value);
	else
		add_quoted(to, field->names[value]);
}

static void write_text(FieldText *to, const Field *field, const void *at)
{
	(void)field;
	add_string(to, *(char *const *)at);
}

static void write_map(FieldText *to, const Field *field, const void *at)
{
	const FieldMap *map = at;

	(void)field;
	for (size_t i = 0; i < map->count; i++) {
		add_byte(to, i ? ',' : '{');
		add_string(to, map->pairs[i].key);
		add_byte(to, ':');
		add_string(to, map->pairs[i].value);
	}
	add_byte(to, '}');
}

/* NOLINTBEGIN(misc-no-recursion): as deep as the tables */
static void write_object(FieldText *to, const Field *field, const void *at)
{
	field_text_add_fields(to, field->table, *(void *const *)at);
}

static void write_list(FieldText *to, const Field *field, const void *at)
{
	const FieldList *list = at;

	for (size_t i = 0; i < list->count; i++) {
		add_byte(to, i ? ',' : '[');
		field_text_add_fields(to, field->table,
				      (const char *)list->items + i * field->table->size);
	}
	add_byte(to, ']');
}

/* clang-format off */
static WriteRule *const rules[] = { /* of set values */
	[FIELD_BOOL]     = write_bool,
	[FIELD_U32]      = write_u32,
	[FIELD_I32]      = write_i32,
	[FIELD_U64]      = write_64,
	[FIELD_ENUM]     = write_enum,
	[FIELD_TEXT]     = write_text,
	[FIELD_TIME]     = write_64,
	[FIELD_DURATION] = write_64,
	[FIELD_MAP]      = write_map,
	[FIELD_OBJECT]   = write_object,
	[FIELD_LIST]     = write_list,
};
/* clang-format on */
static_assert(array_size(rules) == FIELD_TYPE_COUNT_, "a rule for every type");

void field_text_add_fields(FieldText *to, const FieldTable *table, const void *object)
{
	char before = '{';

	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];

		if (field->flags & FIELD_LATE || !field_is_set(field, object))
			continue;
		add_byte(to, before);
		add_quoted(to, field->name);
		add_byte(to, ':');
		rules[field->type](to, field, field_in(field, object));
		before = ',';
	}
	if (before == '{')
		add_byte(to, before);
	add_byte(to, '}');
}
/* NOLINTEND(misc-no-recursion) */

char *field_text_end(FieldText *to)
{
	char *text;

	add_byte(to, '\0');
	text = must_realloc(to->bytes, to->length, 1);
	*to = (FieldText){ 0 };
	return text;
}
