/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/qemu_args.h"
#include "runtime/qemu_internal.h"
#include "runtime/qemu_probe.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/* NULL if @path is there and its kind and rights suffice, else what is wrong. */
static const char *what_is_wrong(const char *path, bool may_be_device, int rights)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return strerrordesc_np(errno);
	if (S_ISDIR(st.st_mode))
		return strerrordesc_np(EISDIR);
	if (!S_ISREG(st.st_mode) && !(may_be_device && S_ISBLK(st.st_mode)))
		return may_be_device ? "neither a regular file nor a block device"
				     : "not a regular file";
	if (S_ISREG(st.st_mode) && st.st_size == 0)
		return "empty";
	if (faccessat(AT_FDCWD, path, rights, AT_EACCESS) < 0)
		return strerrordesc_np(errno);
	return NULL;
}

static void check_file(const char *path, const char *field, Error *err)
{
	const char *wrong = what_is_wrong(path, false, R_OK);

	if (wrong)
		(void)error_add_violation(err, field, "%s: %s", path, wrong);
}

static void check_boot(const VmSpec *spec, const char *accelerator, Error *err)
{
	uint64_t tsc_khz = text_equal(accelerator, "tcg") ? qemu_tsc_khz() : 0;
	cleanup_free char *args = qemu_boot_args(spec, tsc_khz);
	const VmBoot *boot = spec->boot;

	if (!boot || text_equal(boot->kernel_path, ""))
		(void)error_add_violation(err, "spec.boot.kernel_path", "required by qemu");
	else
		check_file(boot->kernel_path, "spec.boot.kernel_path", err);
	if (boot && !text_equal(boot->initrd_path, ""))
		check_file(boot->initrd_path, "spec.boot.initrd_path", err);
	if (strlen(args) > QEMU_COMMAND_LINE_MAX)
		(void)error_add_violation(err, "spec.boot.boot_args",
					  "%zu bytes with what the agent adds, at most %d",
					  strlen(args), QEMU_COMMAND_LINE_MAX);
}

static void check_drives(const VmSpec *spec, Error *err)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(spec, i);
		int rights = drive->read_only ? R_OK : R_OK | W_OK;
		cleanup_free char *field = text_printf("spec.drives[%zu].path", i);
		const char *wrong;

		if (text_equal(drive->path, "")) {
			(void)error_add_violation(err, field, "required");
			continue;
		}
		wrong = what_is_wrong(drive->path, true, rights);
		if (wrong)
			(void)error_add_violation(err, field, "%s: %s", drive->path, wrong);
	}
}

int qemu_check(Backend *backend, const VmSpec *spec, Error *err)
{
	Qemu *qemu = container_of(backend, Qemu, backend);
	BackendInfo info = qemu_info(qemu);

	if (!info.available)
		return error_set(err, ERROR_UNSUPPORTED, "qemu: %s", info.message);
	check_boot(spec, info.accelerator, err);
	check_drives(spec, err);
	if (spec_vcpus(spec) > QEMU_VCPUS_MAX)
		(void)error_add_violation(err, "spec.machine.vcpus", "at most %d on qemu's microvm",
					  QEMU_VCPUS_MAX);
	if (spec_memory_mib(spec) > QEMU_MEMORY_MIB_MAX)
		(void)error_add_violation(err, "spec.machine.memory_mib",
					  "at most %d on qemu's microvm", QEMU_MEMORY_MIB_MAX);
	return error_is_set(err) ? -1 : 0;
}
