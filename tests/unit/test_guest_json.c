/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/base64.h"
#include "runtime/guest/json.h"
#include "runtime/guest/line.h"

#include <criterion/criterion.h>
#include <string.h>

static GuestJson json;
static char line[GUEST_LINE_MAX + 1];

static int read_text(const char *text)
{
	(void)snprintf(line, sizeof line, "%s", text);
	return guest_json_read(&json, line, strlen(line));
}

static const GuestJsonValue *member(const char *name)
{
	return guest_json_member(&json, guest_json_root(&json), name);
}

Test(guest_json, an_object_is_read)
{
	const GuestJsonValue *list, *at;

	cr_assert_eq(
		read_text(" {\"a\" : \"b\" , \"n\":-12,\"t\":true,\"l\":[1, {}, [], \"x\"] } "), 0);

	cr_assert_str_eq(guest_json_text(&json, member("a")), "b");
	cr_assert_eq(member("n")->number, -12);
	cr_assert_eq(member("t")->type, GUEST_JSON_BOOL);
	cr_assert_eq(member("t")->number, 1);
	list = member("l");
	cr_assert_eq(list->number, 4);
	at = guest_json_first(&json, list);
	cr_assert_eq(at->number, 1);
	at = guest_json_next(&json, guest_json_next(&json, guest_json_next(&json, at)));
	cr_assert_str_eq(guest_json_text(&json, at), "x");
	cr_assert_null(guest_json_next(&json, at));
	cr_assert_null(member("x"));
}

Test(guest_json, of_two_members_the_last_counts_and_null_is_none)
{
	cr_assert_eq(read_text("{\"a\":1,\"a\":2,\"b\":null}"), 0);

	cr_assert_eq(member("a")->number, 2);
	cr_assert_null(member("b"));
}

Test(guest_json, texts_are_unescaped)
{
	cr_assert_eq(
		read_text("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20aC\\ud83d\\ude00"
			  "\xc3\xa9\"}"),
		0);

	cr_assert_str_eq(guest_json_text(&json, member("a")),
			 "\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9");
}

Test(guest_json, a_zero_byte_makes_a_text_none)
{
	cr_assert_eq(read_text("{\"a\":\"x\\u0000y\"}"), 0);

	cr_assert_eq(member("a")->number, 3);
	cr_assert_null(guest_json_text(&json, member("a")));
}

Test(guest_json, numbers_are_those_of_64_bits)
{
	cr_assert_eq(read_text("{\"a\":9223372036854775807,\"b\":-9223372036854775808,"
			       "\"c\":9223372036854775808,\"d\":1.5,\"e\":1e3,\"f\":-0}"),
		     0);

	cr_assert_eq(member("a")->number, INT64_MAX);
	cr_assert_eq(member("b")->number, INT64_MIN);
	cr_assert_eq(member("c")->type, GUEST_JSON_FRACTION);
	cr_assert_eq(member("d")->type, GUEST_JSON_FRACTION);
	cr_assert_eq(member("e")->type, GUEST_JSON_FRACTION);
	cr_assert_eq(member("f")->type, GUEST_JSON_NUMBER);
}

Test(guest_json, what_is_no_object_is_refused)
{
	static const char *const texts[] = {
		"",
		" ",
		"[]",
		"1",
		"null",
		"{",
		"}",
		"{}}",
		"{} x",
		"{,}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{\"a\":1 \"b\":2}",
		"{a:1}",
		"{\"a\":[1,]}",
		"{\"a\":[1}",
		"{\"a\":1]",
		"{\"a\":01}",
		"{\"a\":+1}",
		"{\"a\":1.}",
		"{\"a\":.5}",
		"{\"a\":1e}",
		"{\"a\":-}",
		"{\"a\":tru}",
		"{\"a\":True}",
		"{\"a\":\"x}",
		"{\"a\":\"\\x\"}",
		"{\"a\":\"\\u12g4\"}",
		"{\"a\":\"\\u12",
		"{\"a\":\"\\ud800\"}",
		"{\"a\":\"\\udc00\"}",
		"{\"a\":\"\\ud800\\u0041\"}",
		"{\"a\":\"\t\"}",
		"{\"a\":\"\xff\"}",
		"{\"a\":\"\xc0\xaf\"}",
		"{\"a\":\"\xed\xa0\x80\"}",
		"{\"a\":\"\xf4\x90\x80\x80\"}",
		"{\"a\":\"\xe2\x82\"}",
		"{\"a\":[[[[[[[[1]]]]]]]]}",
	};

	for (size_t i = 0; i < array_size(texts); i++)
		cr_expect_eq(read_text(texts[i]), -EBADMSG, "%s", texts[i]);
	cr_expect_eq(read_text("{\"a\":[[[[[[[1]]]]]]]}"), 0);
}

Test(guest_json, the_longest_line_of_the_smallest_values_fits)
{
	char *at = stpcpy(line, "{\"a\":[1");

	while (at + 2 < line + GUEST_LINE_MAX - 2)
		at = stpcpy(at, ",1");
	at = stpcpy(at, "]}");

	cr_assert_eq(guest_json_read(&json, line, (size_t)(at - line)), 0);
	cr_assert_gt(member("a")->number, GUEST_LINE_MAX / 2 - 10);
}

Test(guest_json, what_is_written_is_read)
{
	static const char text[] = "\"\\\n\x01\xc3\xa9";
	GuestLine out;
	size_t length;

	guest_line_begin(&out, line, sizeof line);
	guest_line_text(&out, "text", text);
	guest_line_number(&out, "number", INT64_MIN);
	guest_line_bool(&out, "bool", false);
	guest_line_data(&out, "data", "\0\xff", 2);
	guest_line_text(&out, "cut", "\xe2\x82");
	length = guest_line_end(&out);

	cr_assert_eq(line[length - 1], '\n');
	cr_assert_eq(guest_json_read(&json, line, length - 1), 0);
	cr_assert_str_eq(guest_json_text(&json, member("text")), text);
	cr_assert_eq(member("number")->number, INT64_MIN);
	cr_assert_eq(member("bool")->number, 0);
	cr_assert_str_eq(guest_json_text(&json, member("data")), "AP8=");
	cr_assert_str_eq(guest_json_text(&json, member("cut")), "??");
}

Test(guest_json, a_line_that_does_not_fit_is_none)
{
	for (size_t size = 0; size < 40; size++) {
		GuestLine out;

		guest_line_begin(&out, line, size);
		guest_line_text(&out, "a", "bcdefgh");
		guest_line_data(&out, "d", "123456", 6);
		cr_assert_eq(guest_line_end(&out), size < 31 ? 0 : 31, "%zu", size);
	}
}

Test(guest_base64, bytes_come_back)
{
	char bytes[256], text[512];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)(255 - i);
	for (size_t length = 0; length <= sizeof bytes; length++) {
		size_t count, written = (size_t)(guest_base64_write(text, bytes, length) - text);

		cr_assert_eq(written, GUEST_BASE64_LENGTH(length));
		cr_assert_eq(guest_base64_read(text, written, &count), 0);
		cr_assert_eq(count, length);
		cr_assert_eq(memcmp(text, bytes, length), 0);
	}
}

Test(guest_base64, what_is_none_is_refused)
{
	static const char *const texts[] = { "A",    "AA",    "AAA",     "A===", "====",
					     "AA=A", "=AAA",  "AB==",    "AAB=", "A-AA",
					     "A AA", "AA\n=", "AA==AAAA" };

	for (size_t i = 0; i < array_size(texts); i++) {
		char text[16];
		size_t count;

		(void)stpcpy(text, texts[i]);
		cr_expect_eq(guest_base64_read(text, strlen(text), &count), -EBADMSG, "%s",
			     texts[i]);
	}
}
