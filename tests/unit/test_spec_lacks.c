/* SPDX-License-Identifier: Apache-2.0 */

/* What of a spec only Firecracker carries out. */

#include "runtime/spec_lacks.h"

#include <criterion/criterion.h>
#include <string.h>

static void check_lacks(const char *text, const char *words)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_new();
	json_auto_t *json = json_loads(text, 0, NULL);
	Error err = { 0 };
	int r;

	cr_assert_not_null(json, "%s", text);
	cr_assert_eq(fields_from_json(&vm_spec_table, spec, json), 0, "%s", text);
	r = spec_lacks_check(spec, 0, "qemu", &err);

	cr_assert_eq(r, words ? -1 : 0, "%s: %s", text, err.what);
	cr_assert_str_eq(err.what, words ? words : "", "%s", text);
	cr_assert_eq(error_is_set(&err), words != NULL);
	cr_assert(!words || err.kind == ERROR_UNSUPPORTED);
}

Test(spec_lacks, each_field_is_named_by_itself)
{
	/* clang-format off */
	static const char *const rows[][2] = {
		{ "{\"machine\": {\"smt\": true}}", "qemu: spec.machine.smt" },
		{ "{\"machine\": {\"huge_pages\": \"2m\"}}", "qemu: spec.machine.huge_pages" },
		{ "{\"machine\": {\"huge_pages\": \"transparent\"}}", "qemu: spec.machine.huge_pages" },
		{ "{\"machine\": {\"cpu_template\": \"c3\"}}", "qemu: spec.machine.cpu_template" },
		{ "{\"machine\": {\"cpu_config\": \"{}\"}}", "qemu: spec.machine.cpu_config" },
		{ "{\"machine\": {\"track_dirty_pages\": true}}", "qemu: spec.machine.track_dirty_pages" },
		{ "{\"drives\": [{}, {\"cache_type\": \"unsafe\"}]}", "qemu: spec.drives.cache_type" },
		{ "{\"drives\": [{}, {\"io_engine\": \"sync\"}]}", "qemu: spec.drives.io_engine" },
		{ "{\"drives\": [{}, {\"rate_limiter\": {}}]}", "qemu: spec.drives.rate_limiter" },
		{ "{\"network_interfaces\": [{}]}", "qemu: spec.network_interfaces" },
		{ "{\"devices\": {\"vsock\": {}}}", "qemu: spec.devices.vsock" },
		{ "{\"devices\": {\"balloon\": {}}}", "qemu: spec.devices.balloon" },
		{ "{\"devices\": {\"entropy\": {\"rate_limiter\": {}}}}",
		  "qemu: spec.devices.entropy.rate_limiter" },
		{ "{\"devices\": {\"mmds\": {}}}", "qemu: spec.devices.mmds" },
		{ "{\"limits\": {}}", "qemu: spec.limits" },
	};
	/* clang-format on */

	for (size_t i = 0; i < array_size(rows); i++)
		check_lacks(rows[i][0], rows[i][1]);
}

Test(spec_lacks, all_are_named_at_once)
{
	check_lacks(
		"{\"machine\": {\"smt\": true, \"huge_pages\": \"2m\", \"cpu_template\": \"c3\","
		" \"cpu_config\": \"{}\", \"track_dirty_pages\": true},"
		" \"drives\": [{\"cache_type\": \"unsafe\", \"io_engine\": \"sync\","
		" \"rate_limiter\": {}}], \"network_interfaces\": [{}],"
		" \"devices\": {\"vsock\": {}, \"balloon\": {}, \"entropy\": {\"rate_limiter\": "
		"{}},"
		" \"mmds\": {}}, \"limits\": {}}",
		"qemu: spec.machine.smt, spec.machine.huge_pages, spec.machine.cpu_template, "
		"spec.machine.cpu_config, spec.machine.track_dirty_pages, "
		"spec.drives.cache_type, spec.drives.io_engine, spec.drives.rate_limiter, "
		"spec.network_interfaces, spec.devices.vsock, spec.devices.balloon, "
		"spec.devices.entropy.rate_limiter, spec.devices.mmds, spec.limits");
}

Test(spec_lacks, what_every_backend_has_is_let_through)
{
	check_lacks("{}", NULL);
	check_lacks("{\"machine\": {\"vcpus\": 2, \"huge_pages\": \"none\", \"cpu_config\": \"\"},"
		    " \"drives\": [{\"drive_id\": \"a\", \"read_only\": true}],"
		    " \"devices\": {\"entropy\": {}}, \"restart_policy\": {}}",
		    NULL);
}
