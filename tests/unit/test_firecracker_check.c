/* SPDX-License-Identifier: Apache-2.0 */

/* What the backend says of a host and of a spec before anything runs, mostly on made-up programs.
 */

#include "base/text.h"
#include "runtime/boot_args.h"
#include "runtime/firecracker_internal.h"
#include "runtime/firecracker_probe.h"
#include "tests/support/few_descriptors.h"
#include "tests/support/firecracker_bench.h"
#include "tests/support/lone_job.h"

#include <criterion/criterion.h>
#include <string.h>

/* Says it is @version, and runs the proof's guest as well as it is told to. */
#define PROGRAM(version, proof)                                                \
	"#!/bin/sh\n"                                                          \
	"case \"$1\" in\n"                                                     \
	"--version) echo 'Firecracker v" version "'; echo; echo bye; exit;;\n" \
	"esac\n" proof "\n"
#define RUNS "echo hearth ran here"

/* Stand in for the core's. */
/* A bench whose Firecracker is this script. */
static QemuBench *scripted(const char *script)
{
	QemuBench *bench = qemu_bench_new("quiet");
	cleanup_free char *path = text_printf("%s/firecracker", bench->dir);

	if (script)
		qemu_bench_write_script(path, script);
	bench->backend->ops->free(bench->backend);
	bench->backend = firecracker_bench_backend(bench, path);
	bench->job.backend = bench->backend;
	return bench;
}

static void check_probe(const char *script, bool available, const char *version, const char *words)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(script);
	BackendInfo info = { 0 };

	bench->backend->ops->probe(bench->backend, &info);

	cr_assert_eq(info.available, available, "%s", info.message);
	cr_assert_str_eq(info.version, version);
	cr_assert_not_null(strstr(info.message, words), "%s", info.message);
	cr_assert_str_eq(info.accelerator, available ? "kvm" : "");
}

Test(firecracker_check, a_probe_believes_only_a_guest_that_ran)
{
	check_probe(PROGRAM("1.17.0-dev", RUNS), true, "1.17.0-dev", "");
	check_probe(PROGRAM("1.14.2", "echo error one; echo no kvm; exit 3"), false, "1.14.2",
		    "no guest runs (code 3, signal 0): no kvm");
	check_probe(PROGRAM("1.14.2", "exit 0"), false, "1.14.2", "no guest runs");
	check_probe(PROGRAM("1.14.2", RUNS "; exit 1"), false, "1.14.2", "code 1");
	check_probe(PROGRAM("1.14.2", "kill -9 $$"), false, "1.14.2", "signal 9");
}

Test(firecracker_check, a_probe_says_what_is_wrong_with_the_program)
{
	check_probe(NULL, false, "", "is not installed");
	check_probe("#!/bin/sh\necho QEMU\n", false, "", "does not say which Firecracker");
	check_probe("#!/bin/sh\necho Firecracker vx.y\n", false, "", "does not say which");
	check_probe(PROGRAM("1.13.1", RUNS), false, "1.13.1", "lacks console (since 1.14.0)");
}

Test(firecracker_check, the_real_firecracker_proves_itself)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = firecracker_bench_new("quiet");
	BackendInfo info = { 0 };

	bench->backend->ops->probe(bench->backend, &info);

	cr_assert(info.available, "%s", info.message);
	cr_assert_str_eq(info.accelerator, "kvm");
	cr_assert_str_eq(info.message, "");
}

Test(firecracker_check, the_probes_files_are_there_though_nothing_is_written_to_disk)
{
	/* Reads the kernel's path in the configuration, and the kernel's first bytes. */
	check_probe(PROGRAM("1.17.0", "kernel=$(grep -o '/proc/[0-9]*/fd/[0-9]*' $3) || exit 4\n"
				      "[ $(head -c 4 $kernel | tail -c 3) = ELF ] || exit 5\n"
				      "case $3 in /proc/*/fd/*) " RUNS ";; esac"),
		    true, "1.17.0", "");
}

Test(firecracker_check, a_shortage_of_descriptors_says_nothing_of_firecracker)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM("1.17.0", RUNS));
	cleanup_free char *path = text_printf("%s/firecracker", bench->dir);
	const BackendConfig config = { .firecracker_path = path };
	BackendInfo info = { 0 };
	rlim_t before = limit_descriptors(0);
	int r;

	r = firecracker_probe(&info, &config, -1);

	(void)limit_descriptors(before);
	cr_assert_eq(r, -EMFILE);
	cr_assert_not(info.available);
	cr_assert_not_null(strstr(info.message, "Too many open files"), "%s", info.message);
}

Test(firecracker_check, what_was_found_stands_while_no_probe_can_be_carried_out)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM("1.17.0", RUNS));
	BackendInfo first = { 0 }, second = { 0 };
	Error err = { 0 };
	rlim_t before;

	bench->backend->ops->probe(bench->backend, &first);
	before = limit_descriptors(0);
	bench->backend->ops->probe(bench->backend, &second);
	(void)limit_descriptors(before);

	cr_assert(second.available);
	cr_assert_str_eq(second.version, "1.17.0");
	cr_assert_str_eq(second.accelerator, "kvm");
	cr_assert_not_null(strstr(second.message, "Too many open files"), "%s", second.message);
	cr_assert_eq(bench->backend->ops->check(bench->backend, bench->spec, &err), 0, "%s",
		     err.what);
}

Test(firecracker_check, a_firecracker_that_is_installed_later_is_found)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(NULL);
	cleanup_free char *path = text_printf("%s/firecracker", bench->dir);
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->check(bench->backend, bench->spec, &err), -1);
	cr_assert_eq(err.kind, ERROR_UNSUPPORTED);
	error_clear(&err);
	qemu_bench_write_script(path, PROGRAM("1.17.0", RUNS));
	container_of(bench->backend, Firecracker, backend)->probes.again = 0;

	cr_assert_eq(bench->backend->ops->check(bench->backend, bench->spec, &err), 0, "%s",
		     err.what);
}

static void check_refused(QemuBench *bench, ErrorKind kind, const char *field, const char *words)
{
	const char *found = "", *why = "";
	uint32_t at = 0;
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->check(bench->backend, bench->spec, &err), -1);

	cr_assert_eq(err.kind, kind, "%s", err.what);
	if (kind == ERROR_INVALID_REQUEST) {
		cr_assert(error_next_violation(&err, &at, &found, &why));
		cr_assert_str_eq(found, field);
	}
	cr_assert_not_null(strstr(kind == ERROR_INVALID_REQUEST ? why : err.what, words), "%s: %s",
			   err.what, why);
}

Test(firecracker_check, a_spec_that_can_run_is_accepted)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM("1.14.0", RUNS));
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->check(bench->backend, bench->spec, &err), 0, "%s",
		     err.what);
}

Test(firecracker_check, bad_files_and_arguments_are_named)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM("1.17.0", RUNS));
	char longest[BOOT_ARGS_MAX + 2];

	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	free(bench->spec->boot->boot_args);
	bench->spec->boot->boot_args = text_dup(longest);
	check_refused(bench, ERROR_INVALID_REQUEST, "spec.boot.boot_args", "at most 2047");

	bench->spec->boot->initrd_path = text_dup("/nowhere");
	check_refused(bench, ERROR_INVALID_REQUEST, "spec.boot.initrd_path", "/nowhere: No such");

	free(bench->spec->boot->kernel_path);
	bench->spec->boot->kernel_path = text_dup("/tmp");
	check_refused(bench, ERROR_INVALID_REQUEST, "spec.boot.kernel_path", "directory");
}

Test(firecracker_check, what_the_version_lacks_is_unsupported_by_name)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM("1.16.1", RUNS));
	cleanup_free char *path = text_printf("%s/bzImage", bench->dir);
	char image[0x300];

	memset(image, ' ', sizeof image);
	memcpy(image + 0x202, "HdrS", 4);
	image[sizeof image - 1] = '\0';
	qemu_bench_write_script(path, image);
	free(bench->spec->boot->kernel_path);
	bench->spec->boot->kernel_path = text_dup(path);

	check_refused(bench, ERROR_UNSUPPORTED, "",
		      "firecracker 1.16.1 lacks spec.boot.kernel_path being a bzImage "
		      "(since 1.17.0)");
}

#if defined(__x86_64__)
Test(firecracker_check, a_cpu_template_of_another_architecture_is_unsupported)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM("1.17.0", RUNS));
	Error err = { 0 };

	bench->spec->machine->cpu_template = VM_CPU_TEMPLATE_V1N1;
	check_refused(bench, ERROR_UNSUPPORTED, "", "x86_64: spec.machine.cpu_template V1N1");

	bench->spec->machine->cpu_template = VM_CPU_TEMPLATE_T2A;
	cr_assert_eq(bench->backend->ops->check(bench->backend, bench->spec, &err), 0, "%s",
		     err.what);
}
#endif

Test(firecracker_check, nothing_runs_on_a_host_without_it)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(NULL);
	Error err = { 0 };

	check_refused(bench, ERROR_UNSUPPORTED, "", "is not installed");

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);
	cr_assert_eq(err.kind, ERROR_UNSUPPORTED);
}

Test(firecracker_check, a_firecracker_that_dies_at_once_is_quoted)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = scripted(PROGRAM(
		"1.17.0", "[ \"$1\" = --no-api ] && " RUNS " || { echo out of luck; exit 3; }"));
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not_null(strstr(err.what, "out of luck"), "%s", err.what);
	cr_assert_not(bench->job.poisoned);
	cr_assert_str_eq(bench->resolved.vmm_version, "1.17.0");
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
}
