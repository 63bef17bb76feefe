/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/fields.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

/* How values of one type live in memory. What is NULL is as for plain bytes of that size. */
typedef struct TypeRule {
	size_t size;
	bool (*is_set)(const void *at);
	void (*copy)(const Field *field, void *to, const void *from);
	bool (*equal)(const Field *field, const void *a, const void *b);
	void (*clear)(const Field *field, void *at);
} TypeRule;

static bool text_is_set(const void *at)
{
	const char *text = *(char *const *)at;

	return text && *text;
}

static void text_field_copy(const Field *field, void *to, const void *from)
{
	(void)field;
	if (text_is_set(from))
		*(char **)to = text_dup(*(char *const *)from);
}

static bool text_field_equal(const Field *field, const void *a, const void *b)
{
	(void)field;
	return text_equal(*(char *const *)a, *(char *const *)b);
}

static void text_clear(const Field *field, void *at)
{
	(void)field;
	free(*(char **)at);
}

static bool map_is_set(const void *at)
{
	return ((const FieldMap *)at)->count > 0;
}

static void map_copy(const Field *field, void *to, const void *from)
{
	const FieldMap *old = from;
	FieldMap *map = to;

	(void)field;
	if (!old->count)
		return;
	map->pairs = new0_array(struct FieldPair, old->count);
	map->count = old->count;
	for (size_t i = 0; i < old->count; i++) {
		map->pairs[i].key = text_dup(old->pairs[i].key);
		map->pairs[i].value = text_dup(old->pairs[i].value);
	}
}

static bool map_equal(const Field *field, const void *a, const void *b)
{
	const FieldMap *left = a, *right = b;

	(void)field;
	if (left->count != right->count)
		return false;
	for (size_t i = 0; i < left->count; i++)
		if (!text_equal(left->pairs[i].key, right->pairs[i].key) ||
		    !text_equal(left->pairs[i].value, right->pairs[i].value))
			return false;
	return true;
}

static void map_clear(const Field *field, void *at)
{
	FieldMap *map = at;

	(void)field;
	for (size_t i = 0; i < map->count; i++) {
		free(map->pairs[i].key);
		free(map->pairs[i].value);
	}
	free(map->pairs);
}

static bool object_is_set(const void *at)
{
	return *(void *const *)at != NULL;
}

static void object_copy(const Field *field, void *to, const void *from)
{
	const void *old = *(void *const *)from;
	void *object;

	if (!old)
		return;
	object = must_calloc(1, field->table->size);
	fields_copy(field->table, object, old);
	*(void **)to = object;
}

static bool object_equal(const Field *field, const void *a, const void *b)
{
	const void *left = *(void *const *)a, *right = *(void *const *)b;

	if (!left || !right)
		return left == right;
	return fields_equal(field->table, left, right);
}

static void object_clear(const Field *field, void *at)
{
	void *object = *(void **)at;

	if (object)
		fields_clear(field->table, object);
	free(object);
}

static bool list_is_set(const void *at)
{
	return ((const FieldList *)at)->count > 0;
}

static const void *list_item(const Field *field, const FieldList *list, size_t i)
{
	return (const char *)list->items + i * field->table->size;
}

static void list_copy(const Field *field, void *to, const void *from)
{
	const FieldList *old = from;
	FieldList *list = to;

	if (!old->count)
		return;
	list->items = must_calloc(old->count, field->table->size);
	list->count = old->count;
	for (size_t i = 0; i < old->count; i++)
		fields_copy(field->table, (char *)list->items + i * field->table->size,
			    list_item(field, old, i));
}

static bool list_equal(const Field *field, const void *a, const void *b)
{
	const FieldList *left = a, *right = b;

	if (left->count != right->count)
		return false;
	for (size_t i = 0; i < left->count; i++)
		if (!fields_equal(field->table, list_item(field, left, i),
				  list_item(field, right, i)))
			return false;
	return true;
}

static void list_clear(const Field *field, void *at)
{
	FieldList *list = at;

	for (size_t i = 0; i < list->count; i++)
		fields_clear(field->table, (char *)list->items + i * field->table->size);
	free(list->items);
}

static bool texts_are_set(const void *at)
{
	return ((const FieldTexts *)at)->count > 0;
}

static void texts_copy(const Field *field, void *to, const void *from)
{
	const FieldTexts *old = from;

	(void)field;
	for (size_t i = 0; i < old->count; i++)
		field_texts_add(to, old->items[i]);
}

static bool texts_equal(const Field *field, const void *a, const void *b)
{
	const FieldTexts *left = a, *right = b;

	(void)field;
	if (left->count != right->count)
		return false;
	for (size_t i = 0; i < left->count; i++)
		if (strcmp(left->items[i], right->items[i]) != 0)
			return false;
	return true;
}

static void texts_clear(const Field *field, void *at)
{
	FieldTexts *texts = at;

	(void)field;
	for (size_t i = 0; i < texts->count; i++)
		free(texts->items[i]);
	free(texts->items);
}

/* clang-format off */
static const TypeRule rules[] = {
	[FIELD_BOOL]     = { .size = sizeof(bool) },
	[FIELD_U32]      = { .size = sizeof(uint32_t) },
	[FIELD_I32]      = { .size = sizeof(int32_t) },
	[FIELD_U64]      = { .size = sizeof(uint64_t) },
	[FIELD_ENUM]     = { .size = sizeof(int) },
	[FIELD_TIME]     = { .size = sizeof(int64_t) },
	[FIELD_DURATION] = { .size = sizeof(int64_t) },
	[FIELD_TEXT]     = { sizeof(char *),    text_is_set,   text_field_copy, text_field_equal, text_clear },
	[FIELD_MAP]      = { sizeof(FieldMap),  map_is_set,    map_copy,        map_equal,        map_clear },
	[FIELD_OBJECT]   = { sizeof(void *),    object_is_set, object_copy,     object_equal,     object_clear },
	[FIELD_LIST]     = { sizeof(FieldList), list_is_set,   list_copy,       list_equal,       list_clear },
	[FIELD_TEXTS]    = { sizeof(FieldTexts), texts_are_set, texts_copy,     texts_equal,      texts_clear },
};
/* clang-format on */
static_assert(array_size(rules) == FIELD_TYPE_COUNT_, "a rule for every type");

bool field_is_set(const Field *field, const void *object)
{
	static const char zeros[sizeof(uint64_t)];
	const TypeRule *rule = &rules[field->type];
	const void *at = field_in(field, object);

	return rule->is_set ? rule->is_set(at) : memcmp(at, zeros, rule->size) != 0;
}

void fields_copy(const FieldTable *table, void *to, const void *from)
{
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];
		const TypeRule *rule = &rules[field->type];

		/* Its writer may be setting it at this moment. */
		if (field->flags & FIELD_LATE)
			continue;
		if (rule->copy)
			rule->copy(field, field_at(field, to), field_in(field, from));
		else
			memcpy(field_at(field, to), field_in(field, from), rule->size);
	}
}

bool fields_equal(const FieldTable *table, const void *a, const void *b)
{
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];
		const TypeRule *rule = &rules[field->type];
		const void *left = field_in(field, a), *right = field_in(field, b);

		if (field->flags & FIELD_LATE)
			continue;
		if (rule->equal ? !rule->equal(field, left, right)
				: memcmp(left, right, rule->size) != 0)
			return false;
	}
	return true;
}

void fields_clear(const FieldTable *table, void *object)
{
	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];
		const TypeRule *rule = &rules[field->type];

		if (rule->clear)
			rule->clear(field, field_at(field, object));
		memset(field_at(field, object), 0, rule->size);
	}
}

/* Not a binary search: the few labels there are may not have been sorted yet. */
const char *field_map_get(const FieldMap *map, const char *key)
{
	for (size_t i = 0; i < map->count; i++)
		if (strcmp(map->pairs[i].key, key) == 0)
			return map->pairs[i].value;
	return NULL;
}

void *field_list_add(FieldList *list, const FieldTable *table)
{
	char *item;

	list->items = must_realloc(list->items, list->count + 1, table->size);
	item = (char *)list->items + list->count * table->size;
	list->count++;
	memset(item, 0, table->size);
	return item;
}

bool field_texts_has(const FieldTexts *texts, const char *text)
{
	for (size_t i = 0; i < texts->count; i++)
		if (strcmp(texts->items[i], text) == 0)
			return true;
	return false;
}

void field_texts_add(FieldTexts *texts, const char *text)
{
	texts->items = must_realloc(texts->items, texts->count + 1, sizeof *texts->items);
	texts->items[texts->count++] = text_dup(text);
}

void field_set_text(char **member, const char *text)
{
	free(*member);
	*member = text && *text ? text_dup(text) : NULL;
}

void field_texts_clear(FieldTexts *texts)
{
	for (size_t i = 0; i < texts->count; i++)
		free(texts->items[i]);
	free(texts->items);
	*texts = (FieldTexts){ 0 };
}
