/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/spec.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <string.h>

static bool has_violation(const Error *err, const char *field)
{
	const char *at, *description;
	uint32_t walk = 0;

	while (error_next_violation(err, &walk, &at, &description))
		if (strcmp(at, field) == 0)
			return true;
	return false;
}

static const char full[] =
	"{\"backend\":\"qemu\",\"desired_state\":\"running\",\"labels\":{\"app\":\"web\"},"
	"\"machine\":{\"vcpus\":32,\"memory_mib\":1048576},"
	"\"boot\":{\"kernel_path\":\"/k\",\"initrd_path\":\"/i\",\"boot_args\":\"a=b ~\"},"
	"\"drives\":[{\"drive_id\":\"root-0\",\"path\":\"/d\",\"is_root\":true},"
	"{\"drive_id\":\"b\",\"path\":\"/e\",\"read_only\":true}],"
	"\"restart_policy\":{\"mode\":\"on_failure\",\"max_restarts\":1000000,"
	"\"initial_backoff\":10000,\"max_backoff\":86400000000},"
	"\"expires_at\":253402300799999999,\"expire_action\":\"destroy\"}";

Test(spec, good_specs_pass)
{
	static const char *const good[] = {
		"{}",
		full,
		"{\"machine\":{\"vcpus\":1,\"memory_mib\":16}}",
		"{\"machine\":{},\"boot\":{},\"restart_policy\":{}}",
		"{\"expires_at\":1}",
		"{\"restart_policy\":{\"initial_backoff\":3600000000,\"max_backoff\":3600000000}}",
		"{\"restart_policy\":{\"initial_backoff\":3600000000}}",
		"{\"restart_policy\":{\"max_backoff\":10000}}",
	};

	for (size_t i = 0; i < array_size(good); i++) {
		cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(good[i]);
		Error err = { 0 };

		cr_assert_eq(spec_check(spec, &err), 0, "%s: %s", good[i], err.violations);
		cr_assert_not(error_is_set(&err));
	}
}

Test(spec, each_bad_field_is_named)
{
	/* clang-format off */
	static const char *const bad[][2] = {
		{ "{\"machine\":{\"vcpus\":33}}", "spec.machine.vcpus" },
		{ "{\"machine\":{\"memory_mib\":15}}", "spec.machine.memory_mib" },
		{ "{\"machine\":{\"memory_mib\":1048577}}", "spec.machine.memory_mib" },
		{ "{\"machine\":{\"memory_mib\":-1}}", "spec.machine.memory_mib" },
		{ "{\"boot\":{\"kernel_path\":\"vmlinuz\"}}", "spec.boot.kernel_path" },
		{ "{\"boot\":{\"initrd_path\":\"/a/../b\"}}", "spec.boot.initrd_path" },
		{ "{\"boot\":{\"boot_args\":\"a\\nb\"}}", "spec.boot.boot_args" },
		{ "{\"boot\":{\"boot_args\":\"\\u00fc\"}}", "spec.boot.boot_args" },
		{ "{\"drives\":[{\"path\":\"/d\"}]}", "spec.drives[0].drive_id" },
		{ "{\"drives\":[{\"drive_id\":\"a\"}]}", "spec.drives[0].path" },
		{ "{\"drives\":[{\"drive_id\":\"A\",\"path\":\"/d\"}]}", "spec.drives[0].drive_id" },
		{ "{\"drives\":[{\"drive_id\":\"a\",\"path\":\"/d\"},{\"drive_id\":\"a\",\"path\":\"/e\"}]}",
		  "spec.drives[1].drive_id" },
		{ "{\"drives\":[{\"drive_id\":\"a\",\"path\":\"/d\"},"
		  "{\"drive_id\":\"b\",\"path\":\"/e\",\"is_root\":true}]}", "spec.drives[1].is_root" },
		{ "{\"drives\":[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]}", "spec.drives" },
		{ "{\"restart_policy\":{\"max_restarts\":1000001}}", "spec.restart_policy.max_restarts" },
		{ "{\"restart_policy\":{\"initial_backoff\":9999}}", "spec.restart_policy.initial_backoff" },
		{ "{\"restart_policy\":{\"initial_backoff\":3600000001}}", "spec.restart_policy.initial_backoff" },
		{ "{\"restart_policy\":{\"max_backoff\":86400000001}}", "spec.restart_policy.max_backoff" },
		{ "{\"restart_policy\":{\"initial_backoff\":20000,\"max_backoff\":19999}}",
		  "spec.restart_policy.max_backoff" },
		{ "{\"expires_at\":-1}", "spec.expires_at" },
		{ "{\"expire_action\":\"stop\"}", "spec.expire_action" },
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(bad); i++) {
		cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(bad[i][0]);
		Error err = { 0 };

		cr_assert_eq(spec_check(spec, &err), -1, "%s", bad[i][0]);
		cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
		cr_assert(has_violation(&err, bad[i][1]), "%s: %s", bad[i][0], err.violations);
	}
}

Test(spec, boot_arguments_have_at_most_2047_bytes)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text("{\"boot\":{}}");
	Error err = { 0 };

	spec->boot->boot_args = new0_array(char, 2049);
	memset(spec->boot->boot_args, 'x', 2047);
	cr_assert_eq(spec_check(spec, &err), 0);
	spec->boot->boot_args[2047] = 'x';

	cr_assert_eq(spec_check(spec, &err), -1);
	cr_assert(has_violation(&err, "spec.boot.boot_args"));
}

Test(spec, a_thousand_labels_are_one_violation)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_new();
	Error err = { 0 };

	spec->labels.pairs = new0_array(struct FieldPair, 1000);
	for (; spec->labels.count < 1000; spec->labels.count++) {
		spec->labels.pairs[spec->labels.count].key =
			text_printf("k%zu", spec->labels.count);
		spec->labels.pairs[spec->labels.count].value = text_dup("");
	}

	cr_assert_eq(spec_check(spec, &err), -1);
	cr_assert_eq(err.violation_count, 1);
	cr_assert(has_violation(&err, "spec.labels"));
}

Test(spec, earlier_violations_of_the_request_stay)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text("{\"machine\":{\"vcpus\":33}}");
	Error err = { 0 };

	(void)error_add_violation(&err, "vm_id", "must be set");
	cr_assert_eq(spec_check(spec, &err), -1);

	cr_assert(has_violation(&err, "vm_id"));
	cr_assert(has_violation(&err, "spec.machine.vcpus"));
}

Test(spec, the_digest_does_not_depend_on_the_order_of_labels)
{
	cleanup_(spec_unrefp) VmSpec *one =
		spec_from_text("{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}");
	cleanup_(spec_unrefp) VmSpec *other = spec_copy(one);
	struct FieldPair first = other->labels.pairs[0];
	char digest[65], same[65];

	other->labels.pairs[0] = other->labels.pairs[1];
	other->labels.pairs[1] = first;
	spec_digest(digest, one, "vm", "u", "t");
	spec_digest(same, other, "vm", "u", "t");

	cr_assert_str_eq(digest, same);
	cr_assert_eq(strlen(digest), 64);
	cr_assert_eq(strspn(digest, "0123456789abcdef"), 64);
}

Test(spec, the_digest_tells_every_difference)
{
	static const char *const texts[] = { "{}", "{\"backend\":\"qemu\"}", "{\"machine\":{}}" };
	static const char *const ids[][3] = {
		{ "a", "b", "c" }, { "x", "b", "c" },   { "a", "x", "c" },
		{ "a", "b", "x" }, { "a", NULL, NULL },
	};
	char digests[array_size(texts) * array_size(ids)][65];
	size_t n = 0;

	for (size_t i = 0; i < array_size(texts); i++) {
		cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(texts[i]);

		for (size_t k = 0; k < array_size(ids); k++)
			spec_digest(digests[n++], spec, ids[k][0], ids[k][1], ids[k][2]);
	}

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			cr_assert_str_neq(digests[i], digests[k]);
}

Test(spec, a_copy_is_equal_and_outlives_the_original)
{
	VmSpec *spec = spec_from_text(full);
	cleanup_(spec_unrefp) VmSpec *copy = spec_copy(spec), *again = spec_from_text(full);

	spec_unref(spec_ref(spec));
	cr_assert(fields_equal(&vm_spec_table, spec, copy));
	spec_unref(spec);

	cr_assert(fields_equal(&vm_spec_table, copy, again));
}

Test(spec, unset_fields_have_defaults)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text("{\"machine\":{}}"),
				     *set = spec_from_text(full);

	cr_assert_eq(spec_vcpus(spec), 1);
	cr_assert_eq(spec_memory_mib(spec), 128);
	cr_assert_eq(spec_desired(spec), VM_DESIRED_STOPPED);
	cr_assert_eq(spec_vcpus(set), 32);
	cr_assert_eq(spec_memory_mib(set), 1048576);
	cr_assert_eq(spec_desired(set), VM_DESIRED_RUNNING);
}

Test(spec, backends_are_found_by_the_names_they_have)
{
	for (VmBackend backend = VM_BACKEND_UNSET + 1; backend < VM_BACKEND_COUNT_; backend++)
		cr_assert_eq(vm_backend_from_name(vm_backend_name(backend)), backend);

	cr_assert_eq(vm_backend_from_name("bochs"), VM_BACKEND_UNSET);
}
