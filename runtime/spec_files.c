/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spec_files.h"

#include "base/text.h"
#include "runtime/image_path.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* NULL if @path is there, allowed, and its kind and rights suffice, else what is wrong. */
static const char *what_is_wrong(const char *path, const char *image_dirs, bool may_be_device,
				 int rights)
{
	cleanup_free char *real = NULL;
	struct stat st;
	int r = image_path_resolve(&real, path, image_dirs);

	if (r < 0)
		return image_path_problem(r);
	if (stat(real, &st) < 0)
		return strerrordesc_np(errno);
	if (S_ISDIR(st.st_mode))
		return strerrordesc_np(EISDIR);
	if (!S_ISREG(st.st_mode) && !(may_be_device && S_ISBLK(st.st_mode)))
		return may_be_device ? "neither a regular file nor a block device"
				     : "not a regular file";
	if (S_ISREG(st.st_mode) && st.st_size == 0)
		return "empty";
	if (faccessat(AT_FDCWD, real, rights, AT_EACCESS) < 0)
		return strerrordesc_np(errno);
	return NULL;
}

static void check_file(const char *path, const char *image_dirs, const char *field, Error *err)
{
	const char *wrong = what_is_wrong(path, image_dirs, false, R_OK);

	if (wrong)
		(void)error_add_violation(err, field, "%s: %s", path, wrong);
}

static void check_boot(const VmBoot *boot, const char *backend, const char *image_dirs, Error *err)
{
	if (!boot || text_equal(boot->kernel_path, ""))
		(void)error_add_violation(err, "spec.boot.kernel_path", "required by %s", backend);
	else
		check_file(boot->kernel_path, image_dirs, "spec.boot.kernel_path", err);
	if (boot && !text_equal(boot->initrd_path, ""))
		check_file(boot->initrd_path, image_dirs, "spec.boot.initrd_path", err);
}

void spec_files_check(const VmSpec *spec, const char *backend, const char *image_dirs, Error *err)
{
	check_boot(spec->boot, backend, image_dirs, err);
	for (size_t i = 0; i < spec->drives.count; i++)
		spec_files_check_drive(spec, i, image_dirs, err);
}

void spec_files_check_drive(const VmSpec *spec, size_t i, const char *image_dirs, Error *err)
{
	const VmDrive *drive = spec_drive(spec, i);
	int rights = drive->read_only ? R_OK : R_OK | W_OK;
	cleanup_free char *field = text_printf("spec.drives[%zu].path", i);
	const char *wrong;

	if (drive_is_own(drive)) /* of a template, which is looked at elsewhere */
		return;
	if (text_equal(drive->path, "")) {
		(void)error_add_violation(err, field, "required");
		return;
	}
	wrong = what_is_wrong(drive->path, image_dirs, true, rights);
	if (wrong)
		(void)error_add_violation(err, field, "%s: %s", drive->path, wrong);
}
