/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ctl/json.h"
#include "agent/ctl/yaml.h"
#include "base/cleanup.h"

#include <criterion/criterion.h>
#include <string.h>

static void check(const char *text, const char *expected)
{
	json_error_t problem;
	cleanup_(json_freep) json_t *json = yaml_load(text, strlen(text), &problem);
	cleanup_free char *got = NULL;

	cr_assert_not_null(json, "%s: %s", text, problem.text);
	got = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
	cr_assert_str_eq(got, expected);
}

static void refuse(const char *text, int line, const char *words)
{
	json_error_t problem;
	cleanup_(json_freep) json_t *json = yaml_load(text, strlen(text), &problem);

	cr_assert_null(json, "%s", text);
	cr_assert_eq(problem.line, line, "%s: %d", text, problem.line);
	cr_assert_not_null(strstr(problem.text, words), "%s: %s", text, problem.text);
}

Test(ctl_yaml, maps_lists_and_scalars_become_json)
{
	check("rules:\n- to:\n  - cidr: 10.0.0.0/8\n    except: [10.1.0.0/16]\n  ports:\n"
	      "  - {protocol: udp, port: 53}\n",
	      "{\"rules\":[{\"to\":[{\"cidr\":\"10.0.0.0/8\",\"except\":[\"10.1.0.0/16\"]}],"
	      "\"ports\":[{\"protocol\":\"udp\",\"port\":53}]}]}");
	check("[]", "[]");
	check("# a comment\n{}\n", "{}");
}

Test(ctl_yaml, what_is_not_quoted_may_be_a_number_or_a_word_of_its_own)
{
	check("[1, -2, true, False, null, ~, 1.5, 0x10, yes]",
	      "[1,-2,true,false,null,null,\"1.5\",\"0x10\",\"yes\"]");
	check("['1', \"true\", '']", "[\"1\",\"true\",\"\"]");
	check("a:", "{\"a\":null}");
}

Test(ctl_yaml, an_alias_is_what_it_stands_for)
{
	check("a: &x [1]\nb: *x\n", "{\"a\":[1],\"b\":[1]}");
}

Test(ctl_yaml, what_is_none_is_refused_with_its_line)
{
	refuse("", 1, "nothing in it");
	refuse("a: [1\n", 2, "");
	refuse("a: 1\na: 2\n", 2, "twice");
	refuse("a: 1\n? [b]\n: 2\n", 2, "key");
	refuse("a: 1\n---\nb: 2\n", 2, "more than one");
	refuse("a: &x [*x]\n", 1, "too deep");
}

Test(ctl_yaml, aliases_of_aliases_end_somewhere)
{
	char text[2048];
	char *at = text + sprintf(text, "a0: &a0 [x, x, x, x, x, x, x, x]\n");

	for (int i = 1; i < 12; i++)
		at += sprintf(at, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
			      i - 1, i - 1, i - 1, i - 1, i - 1);

	refuse(text, 1, "too much");
}
