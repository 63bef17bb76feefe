/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/log.h"
#include "base/text.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

/* A line with one value of every awkward kind. */
static void make_line(LogLine *line, const char *value)
{
	log_begin(line, LOG_LEVEL_INFO, "rpc");
	log_text(line, "value", value);
	log_text(line, "empty", "");
	log_number(line, "usec", -5);
	log_close(line);
}

Test(log, writes_plain_values_as_they_are)
{
	LogLine line;

	log_init(false, "info");
	make_line(&line, "/hearth.v1.VmService/GetVm");

	cr_assert(strstr(line.text,
			 " level=info event=rpc value=/hearth.v1.VmService/GetVm usec=-5\n"),
		  "%s", line.text);
}

Test(log, lets_no_value_forge_a_line_or_a_key)
{
	LogLine line;

	log_init(false, "info");
	make_line(&line, "a b=\"c\"\\\nlevel=error");

	cr_assert(strstr(line.text, " value=\"a b=\\\"c\\\"\\\\\\u000alevel=error\" usec=-5\n"),
		  "%s", line.text);
	cr_assert_eq(strchr(line.text, '\n'), line.text + line.length - 1);
}

Test(log, is_valid_json_whatever_a_value_holds)
{
	static const char *const values[] = { "plain", "\"\\\n\t\x01\x7f", "\xc3\xa4\xe2\x82\xac",
					      "\xff\xfe cut \xe2\x82" };

	log_init(true, "info");
	for (size_t i = 0; i < array_size(values); i++) {
		LogLine line;
		json_t *json;

		make_line(&line, values[i]);
		json = json_loads(line.text, 0, NULL);

		cr_assert(json, "%s", line.text);
		cr_assert_str_eq(json_string_value(json_object_get(json, "event")), "rpc");
		cr_assert_eq(json_integer_value(json_object_get(json, "usec")), -5);
		if (text_is_utf8(values[i], strlen(values[i])))
			cr_assert_str_eq(json_string_value(json_object_get(json, "value")),
					 values[i]);
		json_decref(json);
	}
}

Test(log, cuts_what_does_not_fit_and_stays_one_whole_line)
{
	char value[LOG_LINE_MAX * 2];

	for (unsigned json = 0; json < 2; json++) {
		log_init(json, "info");
		for (size_t length = LOG_LINE_MAX - 200; length < LOG_LINE_MAX + 50; length++) {
			LogLine line;

			memset(value, length % 2 ? '"' : 'x', length);
			value[length] = '\0';
			make_line(&line, value);

			cr_assert_lt(line.length, sizeof line.text);
			cr_assert_eq(line.length, strlen(line.text));
			cr_assert_eq(line.text[line.length - 1], '\n');
			if (json) {
				json_t *parsed = json_loads(line.text, 0, NULL);

				cr_assert(parsed, "%zu", length);
				json_decref(parsed);
			}
		}
	}
}

Test(log, leaves_out_what_is_below_its_level)
{
	LogLine line;

	log_init(false, "error");
	make_line(&line, "x");

	cr_assert_str_eq(line.text, "");
}
