/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshot_shape.h"

#include "base/text.h"

#include <assert.h>
#include <string.h>

static const char *const kind_names[] = {
	[SNAPSHOT_FULL] = "full",
	[SNAPSHOT_DIFF] = "diff",
};
static_assert(array_size(kind_names) == SNAPSHOT_KIND_COUNT_, "name every kind");

static void *at(const SnapshotMember *member, void *object)
{
	return (char *)object + member->offset;
}

static const void *in(const SnapshotMember *member, const void *object)
{
	return (const char *)object + member->offset;
}

static char *text_in(const SnapshotMember *member, const void *object)
{
	return *(char *const *)in(member, object);
}

void *snapshot_list_add(SnapshotList *list, size_t size)
{
	char *item;

	list->items = must_realloc(list->items, list->count + 1, size);
	item = (char *)list->items + list->count++ * size;
	return memset(item, 0, size);
}

static bool is_good_text(const SnapshotMember *member, const char *text, size_t length)
{
	return length >= 1 && length <= member->max && text_is_utf8(text, length) &&
	       (!member->is_good || member->is_good(text));
}

/* As deep as the tables are: an element of a list has none. */
/* NOLINTBEGIN(misc-no-recursion) */
static json_t *list_to_json(const SnapshotMember *member, const SnapshotList *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		(void)json_array_append_new(
			array,
			snapshot_shape_to_json(member->shape, (const char *)list->items +
								      i * member->shape->size));
	return array;
}

/* NULL: it is unset. */
static json_t *member_to_json(const SnapshotMember *member, const void *object)
{
	const void *value = in(member, object);
	const uint64_t *number = value;
	const char *text;

	switch (member->type) {
	case SNAPSHOT_TYPE_TEXT:
		text = text_in(member, object);
		return text && *text ? json_string(text) : NULL;
	case SNAPSHOT_TYPE_NUMBER:
		return json_integer((json_int_t)*number);
	case SNAPSHOT_TYPE_BOOL:
		return json_boolean(*(const bool *)value);
	case SNAPSHOT_TYPE_KIND:
		return json_string(kind_names[*(const SnapshotKind *)value]);
	default:
		return list_to_json(member, value);
	}
}

json_t *snapshot_shape_to_json(const SnapshotShape *shape, const void *object)
{
	json_t *json = json_object();

	for (size_t i = 0; i < shape->count; i++) {
		json_t *value = member_to_json(&shape->members[i], object);

		if (value)
			(void)json_object_set_new(json, shape->members[i].name, value);
	}
	return json;
}

static bool text_from_json(const SnapshotMember *member, char **ret, const json_t *json)
{
	const char *text = json_string_value(json);

	if (!text || !is_good_text(member, text, json_string_length(json)))
		return false;
	*ret = text_dup(text);
	return true;
}

static bool number_from_json(const SnapshotMember *member, uint64_t *ret, const json_t *json)
{
	json_int_t number = json_integer_value(json);

	if (!json_is_integer(json) || number < 0 || (uint64_t)number > member->max)
		return false;
	*ret = (uint64_t)number;
	return true;
}

static bool kind_from_json(SnapshotKind *ret, const json_t *json)
{
	for (SnapshotKind kind = 0; kind < SNAPSHOT_KIND_COUNT_; kind++)
		if (text_equal(json_string_value(json), kind_names[kind])) {
			*ret = kind;
			return true;
		}
	return false;
}

static const SnapshotMember *find(const SnapshotShape *shape, const char *name)
{
	for (size_t i = 0; i < shape->count; i++)
		if (strcmp(shape->members[i].name, name) == 0)
			return &shape->members[i];
	return NULL;
}

static bool list_from_json(const SnapshotMember *member, SnapshotList *ret, json_t *json,
			   bool strict);

static bool member_from_json(const SnapshotMember *member, void *object, json_t *json, bool strict)
{
	void *value = at(member, object);

	switch (member->type) {
	case SNAPSHOT_TYPE_TEXT:
		return text_from_json(member, value, json);
	case SNAPSHOT_TYPE_NUMBER:
		return number_from_json(member, value, json);
	case SNAPSHOT_TYPE_BOOL:
		*(bool *)value = json_is_true(json);
		return json_is_boolean(json);
	case SNAPSHOT_TYPE_KIND:
		return kind_from_json(value, json);
	default:
		return list_from_json(member, value, json, strict);
	}
}

/* NULL: there is no member in @json that the table lacks. */
static const char *find_unknown(const SnapshotShape *shape, json_t *json)
{
	for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at))
		if (!find(shape, json_object_iter_key(at)))
			return json_object_iter_key(at);
	return NULL;
}

const char *snapshot_shape_from_json(const SnapshotShape *shape, void *object, json_t *json,
				     bool strict)
{
	const char *unknown = strict ? find_unknown(shape, json) : NULL;

	for (size_t i = 0; i < shape->count; i++) {
		const SnapshotMember *member = &shape->members[i];
		json_t *value = json_object_get(json, member->name);

		if (value ? !member_from_json(member, object, value, strict) : member->required)
			return member->name;
	}
	return unknown;
}

static bool list_from_json(const SnapshotMember *member, SnapshotList *ret, json_t *json,
			   bool strict)
{
	const SnapshotShape *shape = member->shape;

	if (!json_is_array(json) || json_array_size(json) > member->max)
		return false;
	for (size_t i = 0; i < json_array_size(json); i++) {
		void *item = snapshot_list_add(ret, shape->size);

		if (snapshot_shape_from_json(shape, item, json_array_get(json, i), strict))
			return false;
	}
	return true;
}

static bool is_good_list(const SnapshotMember *member, const SnapshotList *list)
{
	if (list->count > member->max)
		return false;
	for (size_t i = 0; i < list->count; i++)
		if (snapshot_shape_check(member->shape,
					 (const char *)list->items + i * member->shape->size))
			return false;
	return true;
}

static bool is_good_member(const SnapshotMember *member, const void *object)
{
	const char *text;

	switch (member->type) {
	case SNAPSHOT_TYPE_TEXT:
		text = text_in(member, object);
		return text && *text ? is_good_text(member, text, strlen(text)) : !member->required;
	case SNAPSHOT_TYPE_NUMBER:
		return *(const uint64_t *)in(member, object) <= member->max;
	case SNAPSHOT_TYPE_LIST:
		return is_good_list(member, in(member, object));
	default:
		return true;
	}
}

const char *snapshot_shape_check(const SnapshotShape *shape, const void *object)
{
	for (size_t i = 0; i < shape->count; i++)
		if (!is_good_member(&shape->members[i], object))
			return shape->members[i].name;
	return NULL;
}

static void clear_list(const SnapshotMember *member, SnapshotList *list)
{
	for (size_t i = 0; i < list->count; i++)
		snapshot_shape_clear(member->shape, (char *)list->items + i * member->shape->size);
	free(list->items);
}

void snapshot_shape_clear(const SnapshotShape *shape, void *object)
{
	for (size_t i = 0; i < shape->count; i++) {
		const SnapshotMember *member = &shape->members[i];

		if (member->type == SNAPSHOT_TYPE_TEXT)
			free(text_in(member, object));
		else if (member->type == SNAPSHOT_TYPE_LIST)
			clear_list(member, at(member, object));
	}
	memset(object, 0, shape->size);
}
/* NOLINTEND(misc-no-recursion) */
