/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/firecracker_features.h"

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
		    "entropy (since 1.4.0), console (since 1.14.0), "
		    "spec.boot.initrd_path (since 0.21.0)");
	(void)unlink(path);
}
