/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/fields.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum {
	PATH_BYTES = 256, /* of a violation's field; longer ones are cut */
	KEY_BYTES_MAX = 63,
	VALUE_BYTES_MAX = 255,
	SECONDS_BYTES = 32,
};

static const char key_bytes[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-";

/* The last microsecond of year 9999. */
static const int64_t time_max = INT64_C(253402300799) * USEC_PER_SEC + USEC_PER_SEC - 1;

typedef void CheckRule(const Field *field, void *at, const char *path, Error *err);

/* @unit is what is counted, with a leading blank, or "". */
static void check_range(const Field *field, uint64_t value, const char *unit, const char *path,
			Error *err)
{
	if (field->max && (value < field->min || value > field->max))
		(void)error_add_violation(err, path,
					  "must be %" PRIu64 " to %" PRIu64 "%s, is %" PRIu64,
					  field->min, field->max, unit, value);
	else if (value < field->min)
		(void)error_add_violation(err, path, "must be at least %" PRIu64 "%s, is %" PRIu64,
					  field->min, unit, value);
}

static void check_u32(const Field *field, void *at, const char *path, Error *err)
{
	check_range(field, *(uint32_t *)at, "", path, err);
}

static void check_u64(const Field *field, void *at, const char *path, Error *err)
{
	check_range(field, *(uint64_t *)at, "", path, err);
}

static void check_enum(const Field *field, void *at, const char *path, Error *err)
{
	int value = *(int *)at;

	if (value < 0 || (size_t)value >= field->name_count || !field->names[value])
		(void)error_add_violation(err, path, "%d is not a value this agent knows", value);
}

static void check_time(const Field *field, void *at, const char *path, Error *err)
{
	int64_t value = *(int64_t *)at;

	(void)field;
	if (value < 0 || value > time_max)
		(void)error_add_violation(err, path, "must be in years 1970 to 9999");
}

/* @usec as "0.01s". */
static void seconds_text(char ret[static SECONDS_BYTES], uint64_t usec)
{
	char *at = text_append(ret, ret + SECONDS_BYTES, "%" PRIu64 ".%06" PRIu64,
			       usec / USEC_PER_SEC, usec % USEC_PER_SEC);

	while (at[-1] == '0')
		at--;
	if (at[-1] == '.')
		at--;
	(void)text_append(at, ret + SECONDS_BYTES, "s");
}

/* In seconds, as durations are written: microseconds are ours alone. */
static void check_duration(const Field *field, void *at, const char *path, Error *err)
{
	int64_t value = *(int64_t *)at;
	uint64_t usec = (uint64_t)value;
	char min[SECONDS_BYTES], max[SECONDS_BYTES], is[SECONDS_BYTES];

	if (value < 0) {
		(void)error_add_violation(err, path, "must not be negative");
		return;
	}
	seconds_text(min, field->min);
	seconds_text(max, field->max);
	seconds_text(is, usec);
	if (field->max && (usec < field->min || usec > field->max))
		(void)error_add_violation(err, path, "must be %s to %s, is %s", min, max, is);
	else if (usec < field->min)
		(void)error_add_violation(err, path, "must be at least %s, is %s", min, is);
}

/* Is @path absolute, without empty, "." and ".." components? A trailing "/" is let pass. */
static bool path_is_plain(const char *path)
{
	if (*path != '/')
		return false;
	while (*path) {
		size_t length = strcspn(++path, "/");

		if ((length == 0 && *path) || (length == 1 && path[0] == '.') ||
		    (length == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += length;
	}
	return true;
}

static void check_bytes(const Field *field, const char *text, const char *path, Error *err)
{
	size_t length = strlen(text);
	size_t accepted = field->accept ? strspn(text, field->accept) : length;

	if (accepted < length)
		(void)error_add_violation(err, path, "byte 0x%02x at %zu is not allowed",
					  (unsigned char)text[accepted], accepted);
	else if (!text_is_utf8(text, length))
		(void)error_add_violation(err, path, "is not valid UTF-8");
}

static void check_text(const Field *field, void *at, const char *path, Error *err)
{
	const char *text = *(char **)at;

	check_range(field, strlen(text), " bytes", path, err);
	check_bytes(field, text, path, err);
	if (field->flags & FIELD_PATH && !path_is_plain(text))
		(void)error_add_violation(err, path,
					  "must be an absolute path without \"//\" and without "
					  "\".\" or \"..\" in it");
}

static int compare_pairs(const void *a, const void *b)
{
	const struct FieldPair *left = a, *right = b;

	return strcmp(left->key, right->key);
}

bool field_key_is_good(const char *key)
{
	size_t length = strlen(key);

	return length >= 1 && length <= KEY_BYTES_MAX && strspn(key, key_bytes) == length;
}

static void check_value(const struct FieldPair *pair, const char *path, Error *err)
{
	char name[PATH_BYTES];
	size_t length = strlen(pair->value);

	(void)text_append(name, name + sizeof name, "%s[%s]", path, pair->key);
	if (length > VALUE_BYTES_MAX)
		(void)error_add_violation(err, name, "must be 0 to %d bytes, is %zu",
					  VALUE_BYTES_MAX, length);
	else if (!text_is_utf8(pair->value, length))
		(void)error_add_violation(err, name, "is not valid UTF-8");
}

static void check_map(const Field *field, void *at, const char *path, Error *err)
{
	FieldMap *map = at;
	size_t bad = 0;

	check_range(field, map->count, " entries", path, err);
	qsort(map->pairs, map->count, sizeof *map->pairs, compare_pairs);
	for (size_t i = 0; i < map->count; i++) {
		const struct FieldPair *pair = &map->pairs[i];

		if (!field_key_is_good(pair->key)) {
			bad++;
			continue;
		}
		check_value(pair, path, err);
		if (i && strcmp(pair[-1].key, pair->key) == 0)
			(void)error_add_violation(err, path, "key '%s' is there twice", pair->key);
	}
	if (bad)
		(void)error_add_violation(err, path,
					  "%zu keys are not 1 to 63 bytes of [A-Za-z0-9._/-]", bad);
}

static void check_object(const Field *field, void *at, const char *path, Error *err)
{
	fields_check(field->table, *(void **)at, path, err);
}

/* Does an element before the @i-th have the same text in @field? */
static bool is_repeated(const FieldTable *table, const Field *field, const FieldList *list,
			size_t i)
{
	const char *items = list->items;
	const char *text = *(char *const *)field_in(field, items + i * table->size);

	for (size_t k = 0; text && k < i; k++)
		if (text_equal(*(char *const *)field_in(field, items + k * table->size), text))
			return true;
	return false;
}

static void check_unique(const FieldTable *table, const FieldList *list, size_t i, const char *path,
			 Error *err)
{
	char name[PATH_BYTES];

	for (size_t k = 0; k < table->count; k++) {
		const Field *field = &table->fields[k];

		if (!(field->flags & FIELD_UNIQUE) || !is_repeated(table, field, list, i))
			continue;
		(void)text_append(name, name + sizeof name, "%s.%s", path, field->name);
		(void)error_add_violation(err, name, "is another element's already");
	}
}

/* Elements beyond the bound are not looked at: there may be any number of them. */
static void check_list(const Field *field, void *at, const char *path, Error *err)
{
	FieldList *list = at;
	char name[PATH_BYTES];

	name[0] = '\0';
	check_range(field, list->count, " elements", path, err);
	for (size_t i = 0; i < list->count && (!field->max || i < field->max); i++) {
		(void)text_append(name, name + sizeof name, "%s[%zu]", path, i);
		fields_check(field->table, (char *)list->items + i * field->table->size, name, err);
		check_unique(field->table, list, i, name, err);
	}
}

static void check_texts(const Field *field, void *at, const char *path, Error *err)
{
	const FieldTexts *texts = at;
	char name[PATH_BYTES];

	check_range(field, texts->count, " elements", path, err);
	for (size_t i = 0; i < texts->count && (!field->max || i < field->max); i++) {
		size_t length = strlen(texts->items[i]);

		(void)text_append(name, name + sizeof name, "%s[%zu]", path, i);
		if (length < 1 || length > FIELD_TEXTS_BYTES_MAX)
			(void)error_add_violation(err, name, "must be 1 to %d bytes, is %zu",
						  FIELD_TEXTS_BYTES_MAX, length);
		else
			check_bytes(field, texts->items[i], name, err);
	}
}

/* clang-format off */
static CheckRule *const rules[] = { /* NULL: every value is good */
	[FIELD_BOOL]     = NULL,
	[FIELD_U32]      = check_u32,
	[FIELD_I32]      = NULL,
	[FIELD_U64]      = check_u64,
	[FIELD_ENUM]     = check_enum,
	[FIELD_TEXT]     = check_text,
	[FIELD_TIME]     = check_time,
	[FIELD_DURATION] = check_duration,
	[FIELD_MAP]      = check_map,
	[FIELD_OBJECT]   = check_object,
	[FIELD_LIST]     = check_list,
	[FIELD_TEXTS]    = check_texts,
};
/* clang-format on */
static_assert(array_size(rules) == FIELD_TYPE_COUNT_, "a rule for every type");

void fields_check(const FieldTable *table, void *object, const char *path, Error *err)
{
	char name[PATH_BYTES];

	for (size_t i = 0; i < table->count; i++) {
		const Field *field = &table->fields[i];
		bool set = field_is_set(field, object);

		(void)text_append(name, name + sizeof name, "%s%s%s", path, *path ? "." : "",
				  field->name);
		if (!set && field->flags & FIELD_REQUIRED)
			(void)error_add_violation(err, name, "must be set");
		if (set && rules[field->type])
			rules[field->type](field, field_at(field, object), name, err);
	}
}
