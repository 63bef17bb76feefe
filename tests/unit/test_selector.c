/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/selector.h"

#include <criterion/criterion.h>
#include <string.h>

static struct FieldPair pairs[] = {
	{ (char[]){ "app" }, (char[]){ "web" } },
	{ (char[]){ "empty" }, (char[]){ "" } },
	{ (char[]){ "example.com/tier" }, (char[]){ "front_1.x" } },
	{ (char[]){ "in" }, (char[]){ "notin" } },
};
static const FieldMap labels = { pairs, array_size(pairs) };

/* 1: matches, 0: does not, -1: is refused. */
static int match(const char *text)
{
	cleanup_(selector_freep) Selector *selector = NULL;
	Error err = { 0 };

	if (selector_parse(&selector, text, "label_selector", &err) < 0)
		return -1;
	return selector_match(selector, &labels);
}

Test(selector, requirements_match_as_in_kubernetes)
{
	/* clang-format off */
	static const struct {
		const char *text;
		int expected;
	} cases[] = {
		{ "app=web", 1 },             { "app==web", 1 },
		{ "app=db", 0 },              { "absent=web", 0 },
		{ "app!=db", 1 },             { "app!=web", 0 },
		{ "absent!=web", 1 },         { "app", 1 },
		{ "absent", 0 },              { "!absent", 1 },
		{ "!app", 0 },                { "! absent", 1 },
		{ "app in (db,web)", 1 },     { "app in (db)", 0 },
		{ "absent in (web)", 0 },     { "app notin (db)", 1 },
		{ "app notin (db,web)", 0 },  { "absent notin (web)", 1 },
		{ "app in(web)", 1 },         { " app\tin ( db , web ) ", 1 },
		{ "empty", 1 },               { "empty=", 1 },
		{ "app=", 0 },                { "empty!=", 0 },
		{ "empty in ()", 1 },         { "empty in (a,)", 1 },
		{ "empty in (,a)", 1 },       { "app in (a,,b)", 0 },
		{ "in=notin", 1 },            { "in in (notin)", 1 },
		{ "in notin (notin)", 0 },    { "in", 1 },
		{ "app=in", 0 },              { "app in (in,notin)", 0 },
		{ "example.com/tier=front_1.x", 1 },
		{ "app=web,in,!absent,empty notin (a)", 1 },
		{ "app=web,in,!absent,empty in (a)", 0 },
		{ "app = web , in", 1 },      { "app=web,app=db", 0 },
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(cases); i++)
		cr_assert_eq(match(cases[i].text), cases[i].expected, "%s", cases[i].text);
}

Test(selector, an_empty_text_matches_everything)
{
	static const FieldMap none;
	cleanup_(selector_freep) Selector *selector = NULL;
	Error err = { 0 };

	cr_assert_eq(match(NULL), 1);
	cr_assert_eq(match(""), 1);
	cr_assert_eq(match("  "), 1);
	cr_assert_eq(selector_parse(&selector, "", "label_selector", &err), 0);
	cr_assert(selector_match(selector, &none));
	cr_assert(selector_match(NULL, &none));
}

Test(selector, what_is_not_a_selector_is_refused)
{
	static const char *const bad[] = {
		",",           "app,",           ",app",           "app,,in",        "=web",
		"!",           "!!app",          "!app=web",       "app=web db",     "app=(web)",
		"app=!a",      "app===web",      "app in",         "app in web",     "app in (web",
		"app in web)", "app in ((web))", "app in (a b)",   "app notin",      "app > 1",
		"app<2",       "app web",        "a@b=c",          "app in (web)in", "(app)",
		")",           "\xc3\xbc=a",     "app = web = db",
	};

	for (size_t i = 0; i < array_size(bad); i++)
		cr_assert_eq(match(bad[i]), -1, "%s", bad[i]);
}

Test(selector, a_refusal_names_the_field_and_the_place)
{
	cleanup_(selector_freep) Selector *selector = NULL;
	Error err = { 0 };
	const char *field, *description;
	uint32_t at = 0;

	cr_assert_eq(selector_parse(&selector, "app=web,=", "label_selector", &err), -1);

	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert(error_next_violation(&err, &at, &field, &description));
	cr_assert_str_eq(field, "label_selector");
	cr_assert_str_eq(description, "at byte 8: expected a label's key");
}

Test(selector, bounds_hold)
{
	char text[SELECTOR_BYTES_MAX + 2], *at = text;

	memset(text, 'a', 63);
	text[63] = '\0';
	cr_assert_eq(match(text), 0);
	text[63] = 'a';
	text[64] = '\0';
	cr_assert_eq(match(text), -1);

	for (size_t i = 0; i < SELECTOR_REQUIREMENTS_MAX; i++)
		at = stpcpy(at, i ? ",app" : "app");
	cr_assert_eq(match(text), 1);
	(void)stpcpy(at, ",app");
	cr_assert_eq(match(text), -1);

	memset(text, ' ', sizeof text - 1);
	text[SELECTOR_BYTES_MAX] = '\0';
	cr_assert_eq(match(text), 1);
	text[SELECTOR_BYTES_MAX] = ' ';
	text[SELECTOR_BYTES_MAX + 1] = '\0';
	cr_assert_eq(match(text), -1);
}

Test(selector, as_many_empty_values_as_fit_are_kept)
{
	char text[SELECTOR_BYTES_MAX + 1] = "empty notin (";

	memset(text + strlen(text), ',', SELECTOR_BYTES_MAX - strlen(text));
	text[SELECTOR_BYTES_MAX - 1] = ')';
	text[SELECTOR_BYTES_MAX] = '\0';

	cr_assert_eq(match(text), 0);
}
