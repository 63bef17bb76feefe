/* SPDX-License-Identifier: Apache-2.0 */

/* What the QEMU backend says of hosts and specs before it starts anything. */

#include "base/file.h"
#include "base/text.h"
#include "runtime/backend.h"
#include "runtime/boot_args.h"
#include "runtime/qemu_args.h"
#include "runtime/qemu_internal.h"
#include "runtime/qemu_probe.h"
#include "tests/support/few_descriptors.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>

/* A QEMU of the test's own making: a script, in a directory that is removed at the end. */
typedef struct Host {
	char dir[64];
	char *qemu, *kernel;
	BackendConfig config;
} Host;

static void write_file(const char *path, const char *text)
{
	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
	cr_assert_eq(chmod(path, 0700), 0);
}

/* @proof is what the script does when it is to prove an accelerator. */
static void write_qemu(const Host *host, const char *proof)
{
	cleanup_free char *script = text_printf("#!/bin/sh\n"
						"case \"$*\" in\n"
						"--version) echo QEMU emulator version 9.8.7;;\n"
						"*) %s;;\n"
						"esac\n",
						proof);

	write_file(host->qemu, script);
}

static Host *host_new(const char *accelerator, const char *proof)
{
	Host *host = new0(Host);

	(void)stpcpy(host->dir, "/tmp/hearth-qemu-XXXXXX");
	cr_assert_not_null(mkdtemp(host->dir));
	host->qemu = text_printf("%s/qemu", host->dir);
	host->kernel = text_printf("%s/kernel", host->dir);
	write_qemu(host, proof);
	write_file(host->kernel, "a kernel");
	host->config = (BackendConfig){
		.qemu_path = host->qemu,
		.accelerator = accelerator,
	};
	return host;
}

static void host_free(Host *host)
{
	cr_expect_eq(file_remove_tree(host->dir), 0);
	free(host->qemu);
	free(host->kernel);
	free(host);
}
DEFINE_CLEANUP(Host *, host_free);

static size_t count_files(const char *dir)
{
	cleanup_closedir DIR *open = opendir(dir);
	size_t count = 0;

	cr_assert_not_null(open);
	while (readdir(open))
		count++;
	return count - 2; /* . and .. */
}

static VmSpec *spec_with(const char *kernel)
{
	VmSpec *spec = spec_new();

	spec->boot = new0(VmBoot);
	spec->boot->kernel_path = text_dup(kernel);
	return spec;
}

static void add_drive(VmSpec *spec, const char *path)
{
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_printf("d%zu", spec->drives.count);
	drive->path = text_dup(path);
}

static int check(const Host *host, const VmSpec *spec, Error *err)
{
	Backend *backend = qemu_new(&host->config);
	int r = backend->ops->check(backend, spec, err);

	backend->ops->free(backend);
	return r;
}

/* What @err says of @field, or NULL. */
static const char *violation(const Error *err, const char *field)
{
	const char *name, *words;
	uint32_t at = 0;

	while (error_next_violation(err, &at, &name, &words))
		if (strcmp(name, field) == 0)
			return words;
	return NULL;
}

Test(qemu_probe, the_real_qemu_runs_something_here)
{
	cleanup_(host_freep) Host *host = host_new("auto", "");
	BackendInfo info = { 0 };

	host->config.qemu_path = "qemu-system-x86_64";

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);

	cr_assert(info.available, "%s", info.message);
	cr_assert(strcmp(info.accelerator, "kvm") == 0 || strcmp(info.accelerator, "tcg") == 0);
	cr_assert_not_null(strchr(info.version, '.'));
	/* TCG is only chosen with a reason against KVM. */
	cr_assert_eq(strcmp(info.accelerator, "tcg") == 0, info.message[0] != '\0');
	cr_assert_eq(count_files(host->dir), 2);
}

Test(qemu_probe, a_kvm_that_runs_a_program_is_used)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	BackendInfo info = { 0 };

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);

	cr_assert(info.available);
	cr_assert_str_eq(info.accelerator, "kvm");
	cr_assert_str_eq(info.version, "9.8.7");
	cr_assert_str_eq(info.message, "");
}

Test(qemu_probe, a_kvm_that_runs_nothing_gives_way_to_tcg_and_is_quoted)
{
	cleanup_(host_freep) Host *host =
		host_new("auto", "case \"$*\" in *kvm*) echo no such luck; kill -ABRT $$;; "
				 "*) exit 85;; esac");
	BackendInfo info = { 0 };

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);

	cr_assert(info.available);
	cr_assert_str_eq(info.accelerator, "tcg");
	cr_assert_not_null(strstr(info.message, "kvm: no such luck"), "%s", info.message);
}

Test(qemu_probe, ending_without_the_proof_is_no_proof)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 0");
	BackendInfo info = { 0 };

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);

	cr_assert_not(info.available);
	cr_assert_not_null(strstr(info.message, "kvm: qemu ended with code 0"), "%s", info.message);
	cr_assert_not_null(strstr(info.message, "tcg: qemu ended with code 0"), "%s", info.message);
}

Test(qemu_probe, a_demanded_accelerator_is_not_replaced)
{
	cleanup_(host_freep) Host *host =
		host_new("kvm", "case \"$*\" in *kvm*) exit 1;; *) exit 85;; esac");
	cleanup_(host_freep) Host *nonsense = host_new("abacus", "exit 85");
	BackendInfo info = { 0 }, other = { 0 };

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);
	cr_assert_eq(qemu_probe(&other, &nonsense->config, -1), 0);

	cr_assert_not(info.available);
	cr_assert_not(other.available);
	cr_assert_not_null(strstr(other.message, "abacus"), "%s", other.message);
}

Test(qemu_probe, an_accelerator_that_hangs_is_given_up)
{
	cleanup_(host_freep) Host *host =
		host_new("auto", "case \"$*\" in *kvm*) exec sleep 600;; *) exit 85;; esac");
	BackendInfo info = { 0 };

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);

	cr_assert_str_eq(info.accelerator, "tcg");
	cr_assert_not_null(strstr(info.message, "did not end"), "%s", info.message);
}

Test(qemu_probe, the_image_is_there_for_qemu_though_nothing_can_be_written_to_disk)
{
	cleanup_(host_freep) Host *host =
		host_new("auto", "for image; do :; done; [ $(wc -c <$image) = 65536 ] && exit 85");
	BackendInfo info = { 0 };

	cr_assert_eq(qemu_probe(&info, &host->config, -1), 0);

	cr_assert(info.available, "%s", info.message);
	cr_assert_eq(count_files(host->dir), 2);
}

Test(qemu_probe, a_shortage_of_descriptors_says_nothing_of_qemu)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	BackendInfo info = { 0 };
	rlim_t before = limit_descriptors(0);
	int r;

	r = qemu_probe(&info, &host->config, -1);

	(void)limit_descriptors(before);
	cr_assert_eq(r, -EMFILE);
	cr_assert_not(info.available);
	cr_assert_not_null(strstr(info.message, "Too many open files"), "%s", info.message);
}

Test(qemu_probe, what_was_found_stands_while_no_probe_can_be_carried_out)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->kernel);
	Backend *backend = qemu_new(&host->config);
	BackendInfo first = { 0 }, second = { 0 };
	Error err = { 0 };
	rlim_t before;

	backend->ops->probe(backend, &first);
	before = limit_descriptors(0);
	backend->ops->probe(backend, &second);
	(void)limit_descriptors(before);

	cr_assert(second.available);
	cr_assert_str_eq(second.version, first.version);
	cr_assert_str_eq(second.accelerator, first.accelerator);
	cr_assert_not_null(strstr(second.message, "Too many open files"), "%s", second.message);
	cr_assert_eq(backend->ops->check(backend, spec, &err), 0, "%s", err.what);
	backend->ops->free(backend);
}

Test(qemu_check, a_qemu_that_is_installed_later_is_found)
{
	cleanup_(host_freep) Host *host = host_new("auto", "");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->kernel);
	Backend *backend = qemu_new(&host->config);
	Error err = { 0 };

	cr_assert_eq(unlink(host->qemu), 0);
	cr_assert_eq(backend->ops->check(backend, spec, &err), -1);
	cr_assert_eq(err.kind, ERROR_UNSUPPORTED);
	error_clear(&err);
	write_qemu(host, "exit 85");
	container_of(backend, Qemu, backend)->probes.again = 0;

	cr_assert_eq(backend->ops->check(backend, spec, &err), 0, "%s", err.what);

	backend->ops->free(backend);
}

Test(qemu_check, without_qemu_the_backend_is_unsupported)
{
	cleanup_(host_freep) Host *host = host_new("auto", "");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->kernel);
	Error err = { 0 };

	host->config.qemu_path = "/nowhere/qemu";

	cr_assert_eq(check(host, spec, &err), -1);

	cr_assert_eq(err.kind, ERROR_UNSUPPORTED);
	cr_assert_not_null(strstr(err.what, "qemu: /nowhere/qemu is not installed"), "%s",
			   err.what);
}

Test(qemu_check, a_spec_whose_files_are_there_passes)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->kernel);
	Error err = { 0 };

	spec->boot->initrd_path = text_dup(host->kernel);
	add_drive(spec, host->kernel);

	cr_assert_eq(check(host, spec, &err), 0, "%s", err.what);
	cr_assert_not(error_is_set(&err));
}

Test(qemu_check, a_spec_without_a_kernel_is_refused)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	cleanup_(spec_unrefp) VmSpec *spec = spec_new();
	Error err = { 0 };

	cr_assert_eq(check(host, spec, &err), -1);

	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_not_null(violation(&err, "spec.boot.kernel_path"));
}

Test(qemu_check, every_bad_file_is_named_at_once)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->dir);
	cleanup_free char *empty = text_printf("%s/empty", host->dir);
	Error err = { 0 };

	write_file(empty, "");
	spec->boot->initrd_path = text_dup("/nowhere/initrd");
	add_drive(spec, host->kernel);
	add_drive(spec, "/dev/null");
	add_drive(spec, empty);

	cr_assert_eq(check(host, spec, &err), -1);

	cr_assert_eq(err.kind, ERROR_INVALID_REQUEST);
	cr_assert_eq(err.violation_count, 4);
	cr_assert_not_null(strstr(violation(&err, "spec.boot.kernel_path"), "directory"));
	cr_assert_not_null(strstr(violation(&err, "spec.boot.initrd_path"), "No such file"));
	cr_assert_null(violation(&err, "spec.drives[0].path"));
	cr_assert_not_null(strstr(violation(&err, "spec.drives[1].path"), "neither"));
	cr_assert_not_null(strstr(violation(&err, "spec.drives[2].path"), "empty"));
}

Test(qemu_check, a_command_line_that_no_longer_fits_is_refused)
{
	cleanup_(host_freep) Host *host = host_new("tcg", "exit 85");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->kernel);
	char longest[BOOT_ARGS_MAX + 1];
	Error err = { 0 };

	memset(longest, 'x', BOOT_ARGS_MAX);
	longest[BOOT_ARGS_MAX] = '\0';
	spec->boot->boot_args = text_dup(longest);

	cr_assert_eq(check(host, spec, &err), -1);

	cr_assert_not_null(violation(&err, "spec.boot.boot_args"));
}

Test(qemu_check, more_than_the_machine_holds_is_refused)
{
	cleanup_(host_freep) Host *host = host_new("auto", "exit 85");
	cleanup_(spec_unrefp) VmSpec *spec = spec_with(host->kernel);
	Error err = { 0 };

	spec->machine = new0(VmMachine);
	spec->machine->vcpus = QEMU_VCPUS_MAX + 1;
	spec->machine->memory_mib = (uint64_t)QEMU_MEMORY_MIB_MAX + 1;

	cr_assert_eq(check(host, spec, &err), -1);

	cr_assert_not_null(violation(&err, "spec.machine.vcpus"));
	cr_assert_not_null(violation(&err, "spec.machine.memory_mib"));
}
