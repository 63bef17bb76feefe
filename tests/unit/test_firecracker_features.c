/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/firecracker_features.h"
#include "tests/support/spec_text.h"

#include <criterion/criterion.h>
#include <string.h>

Test(firecracker_features, a_version_is_read_with_all_that_stands_around_it)
{
	static const char *const texts[] = { "1.17.0", "v1.17.0-dev",
					     "Firecracker v1.17.0-dev\n9" };
	static const char *const none[] = { "",         "v",         "1",
					    "1.2",      "1.2.",      "1..2",
					    "a\n1.2.3", "99999.1.1", "1.99999999999999999999.3" };

	for (size_t i = 0; i < array_size(texts); i++) {
		FirecrackerVersion version;

		cr_assert(firecracker_version_parse(&version, texts[i]), "%s", texts[i]);
		cr_assert_eq(version.major, 1);
		cr_assert_eq(version.minor, 17);
		cr_assert_eq(version.patch, 0);
	}
	for (size_t i = 0; i < array_size(none); i++) {
		FirecrackerVersion version;

		cr_assert_not(firecracker_version_parse(&version, none[i]), "%s", none[i]);
	}
}

static VmSpec *full_spec(const char *kernel)
{
	VmSpec *spec = spec_new();
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_dup("disk");
	drive->path = text_dup("/d");
	spec->boot = new0(VmBoot);
	spec->boot->kernel_path = text_dup(kernel);
	spec->boot->initrd_path = text_dup("/i");
	return spec;
}

static void check_lacks(FirecrackerVersion version, const VmSpec *spec, const char *words)
{
	Error err = { 0 };
	int r = firecracker_features_check(&version, spec, &err);

	cr_assert_eq(r, words ? -1 : 0, "%s", err.what);
	if (!words)
		return;
	cr_assert_eq(err.kind, ERROR_UNSUPPORTED);
	cr_assert_str_eq(err.what, words);
}

Test(firecracker_features, what_a_version_lacks_is_named_with_the_one_that_has_it)
{
	char path[] = "/tmp/hearth-image-XXXXXX";
	cleanup_close int fd = mkstemp(path);
	cleanup_(spec_unrefp) VmSpec *image = full_spec(path);
	cleanup_(spec_unrefp) VmSpec *elf = full_spec("/proc/self/exe");

	cr_assert_eq(pwrite(fd, "HdrS", 4, 0x202), 4);

	check_lacks((FirecrackerVersion){ 1, 17, 0 }, image, NULL);
	check_lacks((FirecrackerVersion){ 2, 0, 0 }, image, NULL);
	check_lacks((FirecrackerVersion){ 1, 14, 0 }, elf, NULL);
	check_lacks((FirecrackerVersion){ 1, 16, 9 }, image,
		    "firecracker 1.16.9 lacks spec.boot.kernel_path being a bzImage "
		    "(since 1.17.0)");
	check_lacks((FirecrackerVersion){ 1, 13, 1 }, elf,
		    "firecracker 1.13.1 lacks console (since 1.14.0)");
	check_lacks((FirecrackerVersion){ 1, 13, 1 }, NULL,
		    "firecracker 1.13.1 lacks console (since 1.14.0)");
	check_lacks((FirecrackerVersion){ 0, 20, 0 }, elf,
		    "firecracker 0.20.0 lacks pause (since 0.23.0), metrics (since 0.22.0), "
		    "body sizes (since 1.1.0), entropy (since 1.4.0), console (since 1.14.0), "
		    "spec.boot.initrd_path (since 0.21.0)");
	(void)unlink(path);
}

/* A spec that asks for one thing, its name in the refusal, and the version that came with it. */
typedef struct Row {
	const char *spec, *name;
	FirecrackerVersion since;
} Row;

#define MACHINE(member) "{\"machine\": {" member "}}"
#define DRIVE(member) "{\"drives\": [{}, {" member "}]}"
#define INTERFACE(member) "{\"network_interfaces\": [{}, {" member "}]}"
#define DEVICE(member) "{\"devices\": {" member "}}"

/* clang-format off */
static const Row rows[] = {
	{ "{}",                                       "vmm_version",                           { 0, 20, 0 } },
	{ "{}",                                       "machine",                               { 0, 17, 0 } },
	{ "{}",                                       "pause",                                 { 0, 23, 0 } },
	{ "{}",                                       "metrics",                               { 0, 22, 0 } },
	{ "{}",                                       "body sizes",                            { 1, 1, 0 } },
	{ "{}",                                       "entropy",                               { 1, 4, 0 } },
	{ "{}",                                       "console",                               { 1, 14, 0 } },
	{ "{\"boot\": {\"initrd_path\": \"/i\"}}",    "spec.boot.initrd_path",                 { 0, 21, 0 } },
	{ DRIVE(""),                                  "spec.drives",                           { 0, 5, 0 } },
	{ DRIVE("\"rate_limiter\": {}"),              "spec.drives.rate_limiter",              { 0, 5, 0 } },
	{ DRIVE("\"cache_type\": \"unsafe\""),        "spec.drives.cache_type",                { 0, 25, 0 } },
	{ DRIVE("\"io_engine\": \"sync\""),           "spec.drives.io_engine",                 { 1, 0, 0 } },
	{ MACHINE("\"smt\": true"),                   "spec.machine.smt",                      { 1, 0, 0 } },
	{ MACHINE("\"huge_pages\": \"2m\""),          "spec.machine.huge_pages",               { 1, 7, 0 } },
	{ MACHINE("\"huge_pages\": \"transparent\""), "spec.machine.huge_pages",               { 1, 7, 0 } },
	{ MACHINE("\"huge_pages\": \"transparent\""), "spec.machine.huge_pages TRANSPARENT",   { 1, 17, 0 } },
	{ MACHINE("\"cpu_template\": \"c3\""),        "spec.machine.cpu_template",             { 0, 5, 0 } },
	{ MACHINE("\"cpu_template\": \"t2\""),        "spec.machine.cpu_template",             { 0, 5, 0 } },
	{ MACHINE("\"cpu_template\": \"t2s\""),       "spec.machine.cpu_template T2S",         { 1, 1, 1 } },
	{ MACHINE("\"cpu_template\": \"t2cl\""),      "spec.machine.cpu_template T2CL",        { 1, 3, 0 } },
	{ MACHINE("\"cpu_template\": \"t2a\""),       "spec.machine.cpu_template T2A",         { 1, 3, 0 } },
	{ MACHINE("\"cpu_template\": \"v1n1\""),      "spec.machine.cpu_template V1N1",        { 1, 4, 0 } },
	{ MACHINE("\"cpu_config\": \"{}\""),          "spec.machine.cpu_config",               { 1, 4, 0 } },
	{ MACHINE("\"track_dirty_pages\": true"),     "spec.machine.track_dirty_pages",        { 0, 23, 0 } },
	{ INTERFACE(""),                              "spec.network_interfaces",               { 0, 5, 0 } },
	{ INTERFACE("\"mtu\": 68"),                   "spec.network_interfaces.mtu",           { 1, 16, 0 } },
	{ DEVICE("\"vsock\": {}"),                    "spec.devices.vsock",                    { 0, 19, 0 } },
	{ DEVICE("\"balloon\": {}"),                  "spec.devices.balloon",                  { 0, 25, 0 } },
	{ DEVICE("\"balloon\": {\"free_page_hinting\": true}"),
	  "spec.devices.balloon.free_page_hinting", { 1, 14, 0 } },
	{ DEVICE("\"balloon\": {\"free_page_reporting\": true}"),
	  "spec.devices.balloon.free_page_reporting", { 1, 14, 0 } },
	{ DEVICE("\"mmds\": {}"),                     "spec.devices.mmds",                     { 1, 0, 0 } },
	{ DEVICE("\"mmds\": {\"imds_compat\": true}"), "spec.devices.mmds.imds_compat",        { 1, 13, 0 } },
};
/* clang-format on */

/* The newest before @version, as far as its numbers are ever used. */
static FirecrackerVersion before(FirecrackerVersion version)
{
	if (version.patch)
		return (FirecrackerVersion){ version.major, version.minor, version.patch - 1 };
	if (version.minor)
		return (FirecrackerVersion){ version.major, version.minor - 1, 99 };
	return (FirecrackerVersion){ version.major - 1, 99, 99 };
}

/* Is @row's name among what @version lacks? */
static bool is_lacking(const Row *row, FirecrackerVersion version)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(row->spec);
	cleanup_free char *words = text_printf(" %s (since %u.%u.%u)", row->name, row->since.major,
					       row->since.minor, row->since.patch);
	Error err = { 0 };
	int r = firecracker_features_check(&version, spec, &err);

	cr_assert(r == 0 || err.kind == ERROR_UNSUPPORTED);
	return r < 0 && strstr(err.what, words);
}

Test(firecracker_features, each_field_is_refused_just_before_its_version_and_taken_with_it)
{
	for (size_t i = 0; i < array_size(rows); i++) {
		cr_expect(is_lacking(&rows[i], before(rows[i].since)), "%s", rows[i].name);
		cr_expect_not(is_lacking(&rows[i], rows[i].since), "%s", rows[i].name);
	}
}

Test(firecracker_features, what_is_not_asked_for_is_not_lacking)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_from_text(
		"{\"machine\": {\"vcpus\": 2, \"huge_pages\": \"none\"}, \"boot\": {},"
		" \"drives\": [{}], \"network_interfaces\": [{}], \"devices\":"
		" {\"vsock\": {}, \"balloon\": {}, \"entropy\": {}, \"mmds\": {}}}");

	check_lacks((FirecrackerVersion){ 1, 14, 0 }, spec, NULL);
}

Test(firecracker_features, what_it_can_do_without_is_no_reason_to_refuse)
{
	static const FirecrackerVersion older = { 1, 15, 99 }, newer = { 1, 16, 0 };

	cr_assert_not(firecracker_has_serial_limit(&older));
	cr_assert(firecracker_has_serial_limit(&newer));
	check_lacks(older, NULL, NULL);
}
