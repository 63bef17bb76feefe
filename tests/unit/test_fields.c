/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/fields.h"

#include <criterion/criterion.h>
#include <string.h>

/* A structure with one member of every type. */
typedef struct Leg {
	char *name;
	uint32_t length;
} Leg;

typedef struct Beast {
	bool tame;
	uint32_t age;
	int32_t mood;
	uint64_t weight;
	int colour;
	char *name;
	char *den;
	int64_t born;
	int64_t nap;
	FieldMap tags;
	Leg *tail;
	FieldList legs;
	FieldTexts calls;
	uint64_t number;
} Beast;

static const char *const colours[] = { [1] = "red", [2] = "green" };

/* clang-format off */
static const Field leg_fields[] = {
	{ "name",   FIELD_TEXT, .offset = offsetof(Leg, name), .min = 1, .max = 8, .accept = "abc",
	  .flags = FIELD_REQUIRED | FIELD_UNIQUE },
	{ "length", FIELD_U32,  .offset = offsetof(Leg, length), .min = 2, .max = 9 },
};
static const FieldTable leg_table = { "Leg", sizeof(Leg), leg_fields, array_size(leg_fields) };

static const Field beast_fields[] = {
	{ "tame",   FIELD_BOOL,     .offset = offsetof(Beast, tame) },
	{ "age",    FIELD_U32,      .offset = offsetof(Beast, age), .min = 1, .max = 30 },
	{ "mood",   FIELD_I32,      .offset = offsetof(Beast, mood) },
	{ "weight", FIELD_U64,      .offset = offsetof(Beast, weight), .min = 5 },
	{ "colour", FIELD_ENUM,     .offset = offsetof(Beast, colour), .names = colours, .name_count = 3 },
	{ "name",   FIELD_TEXT,     .offset = offsetof(Beast, name), .max = 12 },
	{ "den",    FIELD_TEXT,     .offset = offsetof(Beast, den), .flags = FIELD_PATH },
	{ "born",   FIELD_TIME,     .offset = offsetof(Beast, born) },
	{ "nap",    FIELD_DURATION, .offset = offsetof(Beast, nap), .min = 10, .max = 1000 },
	{ "tags",   FIELD_MAP,      .offset = offsetof(Beast, tags), .max = 3 },
	{ "tail",   FIELD_OBJECT,   .offset = offsetof(Beast, tail), .table = &leg_table },
	{ "legs",   FIELD_LIST,     .offset = offsetof(Beast, legs), .table = &leg_table, .max = 4 },
	{ "calls",  FIELD_TEXTS,    .offset = offsetof(Beast, calls), .max = 3, .accept = "wo" },
	{ "number", FIELD_U64,      .offset = offsetof(Beast, number), .flags = FIELD_LATE },
};
static const FieldTable beast_table = {
	"Beast", sizeof(Beast), beast_fields, array_size(beast_fields),
};
/* clang-format on */

static void beast_clear(Beast *beast)
{
	fields_clear(&beast_table, beast);
}

static const char full[] =
	"{\"tame\":true,\"age\":7,\"mood\":-3,\"weight\":500,\"colour\":\"green\","
	"\"name\":\"Rex\",\"den\":\"/hill/den\",\"born\":1700000000000000,\"nap\":900,"
	"\"tags\":{\"a\":\"1\",\"b\":\"\"},\"tail\":{\"name\":\"c\",\"length\":9},"
	"\"legs\":[{\"name\":\"a\",\"length\":2},{\"name\":\"b\",\"length\":3}],"
	"\"calls\":[\"wow\",\"ow\"]}";

static int parse(Beast *ret, const char *text)
{
	json_auto_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

	cr_assert(json, "not JSON: %s", text);
	return fields_from_json(&beast_table, ret, json);
}

static char *print(const Beast *beast)
{
	json_auto_t *json = fields_to_json(&beast_table, beast);

	return json_dumps(json, JSON_COMPACT);
}

/* The description of the violation of @field, or NULL. */
static const char *violation(const Error *err, const char *field)
{
	const char *at, *description;
	uint32_t walk = 0;

	while (error_next_violation(err, &walk, &at, &description))
		if (strcmp(at, field) == 0)
			return description;
	return NULL;
}

static void check(const char *text, Error *err)
{
	cleanup_(beast_clear) Beast beast = { 0 };

	cr_assert_eq(parse(&beast, text), 0, "%s", text);
	fields_check(&beast_table, &beast, "beast", err);
}

Test(fields, json_written_again_is_the_json_that_was_read)
{
	cleanup_(beast_clear) Beast beast = { 0 };
	cleanup_free char *text = NULL;

	cr_assert_eq(parse(&beast, full), 0);
	text = print(&beast);

	cr_assert_str_eq(text, full);
}

Test(fields, unset_members_are_not_written)
{
	Beast beast = { .name = (char[]){ "" } };
	cleanup_free char *text = print(&beast);

	cr_assert_str_eq(text, "{}");
}

Test(fields, a_late_member_is_neither_copied_nor_compared)
{
	Beast beast = { .number = 9 };
	cleanup_(beast_clear) Beast copy = { 0 };

	fields_copy(&beast_table, &copy, &beast);

	cr_assert_eq(copy.number, 0);
	cr_assert(fields_equal(&beast_table, &beast, &copy));
}

Test(fields, a_late_member_is_neither_written_nor_read)
{
	cleanup_(beast_clear) Beast beast = { 0 };
	cleanup_free char *text = NULL;

	cr_assert_eq(parse(&beast, "{\"number\":5}"), 0);
	cr_assert_eq(beast.number, 0);
	beast.number = 6;
	text = print(&beast);

	cr_assert_str_eq(text, "{}");
}

Test(fields, members_nobody_knows_are_passed_over)
{
	cleanup_(beast_clear) Beast beast = { 0 };

	cr_assert_eq(parse(&beast, "{\"wings\":[1,{}],\"age\":7}"), 0);

	cr_assert_eq(beast.age, 7);
}

Test(fields, members_of_another_type_are_refused_and_leave_nothing)
{
	static const char *const bad[] = {
		"[]",
		"7",
		"{\"tame\":1}",
		"{\"age\":-1}",
		"{\"age\":4294967296}",
		"{\"age\":1.5}",
		"{\"mood\":2147483648}",
		"{\"weight\":\"5\"}",
		"{\"colour\":\"blue\"}",
		"{\"colour\":2}",
		"{\"name\":null}",
		"{\"born\":\"now\"}",
		"{\"tags\":[]}",
		"{\"tags\":{\"a\":\"1\",\"b\":2}}",
		"{\"name\":\"Rex\",\"tail\":[]}",
		"{\"name\":\"Rex\",\"tail\":{\"name\":\"a\",\"length\":\"9\"}}",
		"{\"legs\":{}}",
		"{\"legs\":[{\"name\":\"a\"},7]}",
		"{\"calls\":\"ow\"}",
		"{\"calls\":[\"ow\",7]}",
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		static const Beast none;
		Beast beast = { 0 };

		cr_assert_eq(parse(&beast, bad[i]), -EINVAL, "%s", bad[i]);
		cr_assert(fields_equal(&beast_table, &beast, &none), "%s", bad[i]);
	}
}

Test(fields, a_map_is_sorted_when_read)
{
	cleanup_(beast_clear) Beast beast = { 0 };

	cr_assert_eq(parse(&beast, "{\"tags\":{\"z\":\"1\",\"a\":\"2\",\"m\":\"3\"}}"), 0);

	cr_assert_eq(beast.tags.count, 3);
	cr_assert_str_eq(beast.tags.pairs[0].key, "a");
	cr_assert_str_eq(beast.tags.pairs[2].key, "z");
	cr_assert_str_eq(field_map_get(&beast.tags, "m"), "3");
	cr_assert_null(field_map_get(&beast.tags, "b"));
}

Test(fields, a_copy_is_equal_and_shares_nothing)
{
	cleanup_(beast_clear) Beast beast = { 0 }, copy = { 0 };

	cr_assert_eq(parse(&beast, full), 0);
	fields_copy(&beast_table, &copy, &beast);

	cr_assert(fields_equal(&beast_table, &beast, &copy));
	cr_assert_neq(copy.name, beast.name);
	cr_assert_neq(copy.tail, beast.tail);
	cr_assert_neq(copy.legs.items, beast.legs.items);
	cr_assert_neq(copy.tags.pairs[0].key, beast.tags.pairs[0].key);
	cr_assert_neq(copy.calls.items[0], beast.calls.items[0]);
}

Test(fields, empty_text_is_copied_as_none)
{
	Beast beast = { .name = (char[]){ "" } };
	cleanup_(beast_clear) Beast copy = { 0 };

	fields_copy(&beast_table, &copy, &beast);

	cr_assert_null(copy.name);
	cr_assert(fields_equal(&beast_table, &beast, &copy));
}

Test(fields, a_difference_in_any_member_is_seen)
{
	static const char *const others[] = {
		"{}",
		"{\"tame\":true}",
		"{\"age\":8}",
		"{\"mood\":8}",
		"{\"weight\":8}",
		"{\"colour\":\"red\"}",
		"{\"name\":\"Bo\"}",
		"{\"den\":\"/\"}",
		"{\"born\":8}",
		"{\"nap\":8}",
		"{\"tags\":{\"a\":\"1\"}}",
		"{\"tags\":{\"a\":\"2\"}}",
		"{\"tags\":{\"b\":\"1\"}}",
		"{\"tail\":{}}",
		"{\"tail\":{\"length\":3}}",
		"{\"legs\":[{}]}",
		"{\"legs\":[{\"length\":3}]}",
		"{\"legs\":[{},{}]}",
		"{\"calls\":[\"ow\"]}",
		"{\"calls\":[\"wow\"]}",
		"{\"calls\":[\"ow\",\"wow\"]}",
	};

	for (size_t i = 0; i < array_size(others); i++) {
		for (size_t k = 0; k < array_size(others); k++) {
			cleanup_(beast_clear) Beast left = { 0 }, right = { 0 };

			cr_assert_eq(parse(&left, others[i]), 0);
			cr_assert_eq(parse(&right, others[k]), 0);

			cr_assert_eq(fields_equal(&beast_table, &left, &right), i == k, "%s %s",
				     others[i], others[k]);
		}
	}
}

Test(fields, elements_are_appended_zeroed)
{
	cleanup_(beast_clear) Beast beast = { 0 };
	Leg *leg;

	leg = field_list_add(&beast.legs, &leg_table);
	leg->name = text_dup("a");
	leg = field_list_add(&beast.legs, &leg_table);

	cr_assert_eq(beast.legs.count, 2);
	cr_assert_null(leg->name);
	cr_assert_str_eq(((Leg *)beast.legs.items)[0].name, "a");
}

Test(fields, good_values_pass_at_both_ends_of_their_ranges)
{
	static const char *const good[] = {
		full,
		"{}",
		"{\"age\":1,\"weight\":5,\"nap\":10}",
		"{\"age\":30,\"nap\":1000,\"name\":\"twelve bytes\"}",
		"{\"born\":253402300799999999,\"den\":\"/a/..b/.c/\"}",
		"{\"tags\":{\"a.b/C_-9\":\"\\u00fc\"},\"tail\":{\"name\":\"abcabcab\"}}",
	};

	for (size_t i = 0; i < array_size(good); i++) {
		Error err = { 0 };

		check(good[i], &err);

		cr_assert_not(error_is_set(&err), "%s: %s", good[i], err.violations);
	}
}

Test(fields, each_bad_value_is_a_violation_of_its_field)
{
	static const char *const bad[][2] = {
		{ "{\"age\":31}", "beast.age" },
		{ "{\"weight\":4}", "beast.weight" },
		{ "{\"weight\":-1,\"age\":4294967295}", "beast.age" },
		{ "{\"name\":\"thirteen bytes\"}", "beast.name" },
		{ "{\"den\":\"hill\"}", "beast.den" },
		{ "{\"den\":\"/a//b\"}", "beast.den" },
		{ "{\"den\":\"/a/./b\"}", "beast.den" },
		{ "{\"den\":\"/a/..\"}", "beast.den" },
		{ "{\"den\":\"/../a\"}", "beast.den" },
		{ "{\"born\":-1}", "beast.born" },
		{ "{\"born\":253402300800000000}", "beast.born" },
		{ "{\"nap\":-10}", "beast.nap" },
		{ "{\"nap\":9}", "beast.nap" },
		{ "{\"nap\":1001}", "beast.nap" },
		{ "{\"tags\":{\"\":\"1\"}}", "beast.tags" },
		{ "{\"tags\":{\"a b\":\"1\"}}", "beast.tags" },
		{ "{\"tags\":{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\"}}", "beast.tags" },
		{ "{\"tail\":{}}", "beast.tail.name" },
		{ "{\"tail\":{\"name\":\"\"}}", "beast.tail.name" },
		{ "{\"tail\":{\"name\":\"abd\"}}", "beast.tail.name" },
		{ "{\"tail\":{\"name\":\"a\",\"length\":1}}", "beast.tail.length" },
		{ "{\"legs\":[{\"name\":\"a\"},{\"name\":\"a\"}]}", "beast.legs[1].name" },
		{ "{\"legs\":[{\"name\":\"a\"},{}]}", "beast.legs[1].name" },
		{ "{\"legs\":[{},{},{},{},{}]}", "beast.legs" },
		{ "{\"calls\":[\"ow\",\"\"]}", "beast.calls[1]" },
		{ "{\"calls\":[\"oh\"]}", "beast.calls[0]" },
		{ "{\"calls\":[\"o\",\"o\",\"o\",\"o\"]}", "beast.calls" },
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		Error err = { 0 };

		check(bad[i][0], &err);

		cr_assert_eq(err.kind, ERROR_INVALID_REQUEST, "%s", bad[i][0]);
		cr_assert(violation(&err, bad[i][1]), "%s: %s", bad[i][0], err.violations);
	}
}

Test(fields, a_durations_bounds_are_told_in_seconds)
{
	static const char *const words[][2] = {
		{ "{\"nap\":9}", "must be 0.00001s to 0.001s, is 0.000009s" },
		{ "{\"nap\":10500000}", "must be 0.00001s to 0.001s, is 10.5s" },
		{ "{\"nap\":3600000000}", "must be 0.00001s to 0.001s, is 3600s" },
	};

	for (size_t i = 0; i < array_size(words); i++) {
		Error err = { 0 };

		check(words[i][0], &err);

		cr_assert_str_eq(violation(&err, "beast.nap"), words[i][1]);
	}
}

Test(fields, every_bad_field_is_reported_at_once)
{
	Error err = { 0 };

	check("{\"age\":31,\"den\":\"x\",\"tail\":{},\"legs\":[{\"name\":\"d\"}]}", &err);

	cr_assert_eq(err.violation_count, 4);
	cr_assert(violation(&err, "beast.age"));
	cr_assert(violation(&err, "beast.den"));
	cr_assert(violation(&err, "beast.tail.name"));
	cr_assert(violation(&err, "beast.legs[0].name"));
}

Test(fields, an_unknown_enum_number_is_a_violation)
{
	static const int bad[] = { -1, 3, 1000 };

	for (size_t i = 0; i < array_size(bad); i++) {
		Beast beast = { .colour = bad[i] };
		Error err = { 0 };

		fields_check(&beast_table, &beast, "beast", &err);

		cr_assert(violation(&err, "beast.colour"), "%d", bad[i]);
	}
}

Test(fields, a_key_that_is_there_twice_is_a_violation)
{
	struct FieldPair pairs[] = {
		{ (char[]){ "b" }, (char[]){ "1" } },
		{ (char[]){ "a" }, (char[]){ "2" } },
		{ (char[]){ "b" }, (char[]){ "3" } },
	};
	Beast beast = { .tags = { pairs, array_size(pairs) } };
	Error err = { 0 };

	fields_check(&beast_table, &beast, "beast", &err);

	cr_assert_eq(err.violation_count, 1);
	cr_assert_str_eq(violation(&err, "beast.tags"), "key 'b' is there twice");
	cr_assert_str_eq(beast.tags.pairs[0].key, "a");
}

Test(fields, bytes_that_are_not_utf8_are_a_violation_and_written_replaced)
{
	Beast beast = { .name = (char[]){ "a\xff" } };
	cleanup_free char *text = NULL;
	Error err = { 0 };

	fields_check(&beast_table, &beast, "beast", &err);
	text = print(&beast);

	cr_assert(violation(&err, "beast.name"));
	cr_assert_str_eq(text, "{\"name\":\"a\xef\xbf\xbd\"}");
}

Test(fields, a_flood_of_bad_fields_stays_within_its_bounds)
{
	struct FieldPair pairs[1000];
	char keys[1000][8], value[] = "\xff";
	Beast beast = { .tags = { pairs, array_size(pairs) } };
	Error err = { 0 };

	for (size_t i = 0; i < array_size(pairs); i++) {
		(void)snprintf(keys[i], sizeof keys[i], "%zu", i);
		pairs[i] = (struct FieldPair){ keys[i], value };
	}
	fields_check(&beast_table, &beast, "beast", &err);

	cr_assert_eq(err.violation_count, 1001);
	cr_assert_leq(err.violation_bytes, ERROR_FIELDS_MAX);
}
