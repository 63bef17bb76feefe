/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <jansson.h>

VmSpec *spec_from_text(const char *text)
{
	VmSpec *spec = spec_new();
	json_error_t problem;
	json_t *json = json_loads(text, 0, &problem);

	cr_assert_not_null(json, "%s: %s", problem.text, text);
	cr_assert_eq(fields_from_json(&vm_spec_table, spec, json), 0, "%s", text);
	json_decref(json);
	return spec;
}
