/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/fields.h"

#include <assert.h>
#include <string.h>

/* How values of one type are written and read. Only set values are written; readers find their
 * member zeroed, and leave what they allocated in it even when they fail. */
typedef struct JsonRule {
	json_t *(*write)(const Field *field, const void *at);
	int (*read)(const Field *field, void *at, json_t *json);
} JsonRule;

static json_t *bool_write(const Field *field, const void *at)
{
	(void)field;
	return json_boolean(*(const bool *)at);
}

static int bool_read(const Field *field, void *at, json_t *json)
{
	(void)field;
	if (!json_is_boolean(json))
		return -EINVAL;
	*(bool *)at = json_is_true(json);
	return 0;
}

/* An integer of @json in [@min, @max]. */
static int integer_read(int64_t *ret, const json_t *json, int64_t min, int64_t max)
{
	json_int_t value = json_integer_value(json);

	if (!json_is_integer(json) || value < min || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

static json_t *u32_write(const Field *field, const void *at)
{
	(void)field;
	return json_integer(*(const uint32_t *)at);
}

static int u32_read(const Field *field, void *at, json_t *json)
{
	int64_t value;

	(void)field;
	if (integer_read(&value, json, 0, UINT32_MAX) < 0)
		return -EINVAL;
	*(uint32_t *)at = (uint32_t)value;
	return 0;
}

static json_t *i32_write(const Field *field, const void *at)
{
	(void)field;
	return json_integer(*(const int32_t *)at);
}

static int i32_read(const Field *field, void *at, json_t *json)
{
	int64_t value;

	(void)field;
	if (integer_read(&value, json, INT32_MIN, INT32_MAX) < 0)
		return -EINVAL;
	*(int32_t *)at = (int32_t)value;
	return 0;
}

/* JSON integers are signed here: the upper half of the range is written as negative numbers. */
static json_t *u64_write(const Field *field, const void *at)
{
	(void)field;
	return json_integer((json_int_t) * (const uint64_t *)at);
}

static int u64_read(const Field *field, void *at, json_t *json)
{
	(void)field;
	if (!json_is_integer(json))
		return -EINVAL;
	*(uint64_t *)at = (uint64_t)json_integer_value(json);
	return 0;
}

static json_t *i64_write(const Field *field, const void *at)
{
	(void)field;
	return json_integer(*(const int64_t *)at);
}

static int i64_read(const Field *field, void *at, json_t *json)
{
	(void)field;
	return integer_read(at, json, INT64_MIN, INT64_MAX);
}

static json_t *enum_write(const Field *field, const void *at)
{
	int value = *(const int *)at;

	if (value < 0 || (size_t)value >= field->name_count || !field->names[value])
		return json_integer(value);
	return json_string_nocheck(field->names[value]);
}

static int enum_read(const Field *field, void *at, json_t *json)
{
	const char *name = json_string_value(json);

	for (size_t i = 0; name && i < field->name_count; i++) {
		if (field->names[i] && strcmp(field->names[i], name) == 0) {
			*(int *)at = (int)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Bytes that are not UTF-8 (a message cut in the middle of a character) are replaced. */
static json_t *string_write(const char *text)
{
	json_t *json = json_string(text);
	size_t length = strlen(text);
	cleanup_free char *clean = NULL;

	if (json)
		return json;
	clean = new0_array(char, 3 * length + 1);
	text_to_utf8(clean, text, length);
	return json_string(clean);
}

static json_t *text_write(const Field *field, const void *at)
{
	(void)field;
	return string_write(*(char *const *)at);
}

static int text_read(const Field *field, void *at, json_t *json)
{
	const char *text = json_string_value(json);

	(void)field;
	if (!text)
		return -EINVAL;
	if (*text)
		*(char **)at = text_dup(text);
	return 0;
}

static json_t *map_write(const Field *field, const void *at)
{
	const FieldMap *map = at;
	json_t *json = json_object();

	(void)field;
	for (size_t i = 0; i < map->count; i++)
		(void)json_object_set_new(json, map->pairs[i].key,
					  string_write(map->pairs[i].value));
	return json;
}

static int compare_pairs(const void *a, const void *b)
{
	const struct FieldPair *left = a, *right = b;

	return strcmp(left->key, right->key);
}

static int map_read(const Field *field, void *at, json_t *json)
{
	FieldMap *map = at;
	const char *key;
	json_t *value;

	(void)field;
	if (!json_is_object(json))
		return -EINVAL;
	if (!json_object_size(json))
		return 0;
	map->pairs = new0_array(struct FieldPair, json_object_size(json));
	json_object_foreach(json, key, value)
	{
		struct FieldPair *pair = &map->pairs[map->count];

		if (!json_is_string(value))
			return -EINVAL;
		pair->key = text_dup(key);
		pair->value = text_dup(json_string_value(value));
		map->count++;
	}
	qsort(map->pairs, map->count, sizeof *map->pairs, compare_pairs);
	return 0;
}

static json_t *object_write(const Field *field, const void *at)
{
	return fields_to_json(field->table, *(void *const *)at);
}

static int object_read(const Field *field, void *at, json_t *json)
{
	*(void **)at = must_calloc(1, field->table->size);
	return fields_from_json(field->table, *(void **)at, json);
}

static json_t *list_write(const Field *field, const void *at)
{
	const FieldList *list = at;
	json_t *json = json_array();

	for (size_t i = 0; i < list->count; i++) {
		const char *item = (const char *)list->items + i * field->table->size;

		(void)json_array_append_new(json, fields_to_json(field->table, item));
	}
	return json;
}

static int list_read(const Field *field, void *at, json_t *json)
{
	size_t size = field->table->size, count = json_array_size(json);
	FieldList *list = at;

	if (!json_is_array(json))
		return -EINVAL;
	if (!count)
		return 0;
	list->items = must_calloc(count, size);
	list->count = count;
	for (size_t i = 0; i < count; i++)
		if (fields_from_json(field->table, (char *)list->items + i * size,
				     json_array_get(json, i)) < 0)
			return -EINVAL;
	return 0;
}

static json_t *texts_write(const Field *field, const void *at)
{
	const FieldTexts *texts = at;
	json_t *json = json_array();

	(void)field;
	for (size_t i = 0; i < texts->count; i++)
		(void)json_array_append_new(json, string_write(texts->items[i]));
	return json;
}

static int texts_read(const Field *field, void *at, json_t *json)
{
	(void)field;
	if (!json_is_array(json))
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(json); i++) {
		const char *text = json_string_value(json_array_get(json, i));

		if (!text)
			return -EINVAL;
		field_texts_add(at, text);
	}
	return 0;
}

/* clang-format off */
static const JsonRule rules[] = {
	[FIELD_BOOL]     = { bool_write,   bool_read },
	[FIELD_U32]      = { u32_write,    u32_read },
	[FIELD_I32]      = { i32_write,    i32_read },
	[FIELD_U64]      = { u64_write,    u64_read },
	[FIELD_ENUM]     = { enum_write,   enum_read },
	[FIELD_TEXT]     = { text_write,   text_read },
	[FIELD_TIME]     = { i64_write,    i64_read },
	[FIELD_DURATION] = { i64_write,    i64_read },
	[FIELD_MAP]      = { map_write,    map_read },
	[FIELD_OBJECT]   = { object_write, object_read },
	[FIELD_LIST]     = { list_write,   list_read },
	[FIELD_TEXTS]    = { texts_write,  texts_read },
};
/* clang-format on */
static_assert(array_size(rules) == FIELD_TYPE_COUNT_, "a rule for every type");

json_t *fields_to_json(const FieldTable *table, const void *object)
{
	json_t *json = json_object();

	if (!json)
		abort();
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];

		if (field->flags & FIELD_LATE || !field_is_set(field, object))
			continue;
		if (json_object_set_new_nocheck(
			    json, field->name,
			    rules[field->type].write(field, field_in(field, object))) < 0)
			abort();
	}
	return json;
}

int fields_from_json(const FieldTable *table, void *object, const json_t *json)
{
	int r = json_is_object(json) ? 0 : -EINVAL;

	for (size_t i = 0; r == 0 && i < table->count; i++) {
		const Field *field = &table->fields[i];
		json_t *value =
			field->flags & FIELD_LATE ? NULL : json_object_get(json, field->name);

		if (value)
			r = rules[field->type].read(field, field_at(field, object), value);
	}
	if (r < 0)
		fields_clear(table, object);
	return r;
}
