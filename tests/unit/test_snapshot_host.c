/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/snapshots/snapshot_host.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/utsname.h>

/* What a host is, and what can be loaded on it. */

static SnapshotHost read_cpuinfo(const char *text)
{
	char path[] = "/tmp/hearth-cpuinfo-XXXXXX";
	int fd = mkstemp(path);
	SnapshotHost host;

	cr_assert_geq(fd, 0);
	cr_assert_eq(close(fd), 0);
	cr_assert_eq(file_write_atomic(path, text, strlen(text)), 0);
	memset(&host, 'x', sizeof host);
	snapshot_host_read(&host, path);
	cr_assert_eq(unlink(path), 0);
	return host;
}

Test(snapshot_host, an_x86_processor_is_told_by_all_its_numbers)
{
	SnapshotHost host = read_cpuinfo("processor\t: 0\n"
					 "vendor_id\t: GenuineIntel\n"
					 "cpu family\t: 6\n"
					 "model\t\t: 85\n"
					 "model name\t: Intel(R) Xeon(R) CPU @ 2.50GHz\n"
					 "stepping\t: 7\n"
					 "\n"
					 "processor\t: 1\n"
					 "vendor_id\t: AnotherVendor\n");
	struct utsname name;

	cr_assert_eq(uname(&name), 0);
	cr_expect_str_eq(host.cpu_vendor, "GenuineIntel");
	cr_expect_str_eq(host.cpu_model,
			 "Intel(R) Xeon(R) CPU @ 2.50GHz, family 6, model 85, stepping 7");
	cr_expect_str_eq(host.kernel, name.release);
}

Test(snapshot_host, so_is_an_arm_processor)
{
	SnapshotHost host = read_cpuinfo("processor\t: 0\n"
					 "BogoMIPS\t: 243.75\n"
					 "CPU implementer\t: 0x41\n"
					 "CPU architecture: 8\n"
					 "CPU variant\t: 0x3\n"
					 "CPU part\t: 0xd0c\n"
					 "CPU revision\t: 1\n");

	cr_expect_str_eq(host.cpu_vendor, "0x41");
	cr_expect_str_eq(host.cpu_model, "architecture 8, variant 0x3, part 0xd0c, revision 1");
}

Test(snapshot_host, what_cannot_be_read_is_empty)
{
	cleanup_free char *endless = text_printf("model: %01000d", 0);
	SnapshotHost host;

	memset(&host, 'x', sizeof host);
	snapshot_host_read(&host, "/nonexistent");
	cr_expect_str_eq(host.cpu_vendor, "");
	cr_expect_str_eq(host.cpu_model, "");
	host = read_cpuinfo("");
	cr_expect_str_eq(host.cpu_model, "");
	host = read_cpuinfo("model name");
	cr_expect_str_eq(host.cpu_model, "");
	host = read_cpuinfo("model name:");
	cr_expect_str_eq(host.cpu_model, "");
	host = read_cpuinfo(endless);
	cr_expect_eq(strlen(host.cpu_model), sizeof host.cpu_model - 1);
}

Test(snapshot_host, this_one_is_known)
{
	SnapshotHost host;

	snapshot_host_read(&host, SNAPSHOT_CPUINFO);

	cr_expect_str_neq(host.cpu_vendor, "");
	cr_expect_str_neq(host.cpu_model, "");
}

static const SnapshotHost here = {
	.available = true,
	.backend = "qemu",
	.vmm_version = "8.2.1",
	.accelerator = "kvm",
	.cpu_vendor = "GenuineIntel",
	.cpu_model = "Xeon, stepping 7",
	.kernel = "6.1.0",
};

/* May what was made on @there be loaded on @host? @words: what is said if not. */
static bool fits(const SnapshotHost *there, const SnapshotHost *host, const char *words)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = snapshot_manifest_new();
	Error err = { 0 };

	snapshot_host_describe(there, manifest);
	snapshot_set(&manifest->vm_id, "web");
	snapshot_set(&manifest->snapshot_id, "nightly");
	if (snapshot_check_host(manifest, host, &err) == 0)
		return true;
	cr_expect_eq(err.kind, ERROR_UNSUPPORTED);
	cr_expect_str_eq(err.vm_id, "web");
	cr_expect_str_eq(err.snapshot_id, "nightly");
	cr_expect_not_null(strstr(err.what, words), "'%s' is not in '%s'", words, err.what);
	return false;
}

Test(snapshot_host, the_same_host_fits)
{
	SnapshotHost there = here;

	cr_expect(fits(&there, &here, ""));
	text_copy(there.kernel, sizeof there.kernel, "5.10.0");
	cr_expect(fits(&there, &here, ""), "kernels are not compared");
}

Test(snapshot_host, all_that_does_not_fit_is_said)
{
	SnapshotHost there = here;

	text_copy(there.vmm_version, sizeof there.vmm_version, "7.2.0");
	text_copy(there.cpu_vendor, sizeof there.cpu_vendor, "AuthenticAMD");
	text_copy(there.cpu_model, sizeof there.cpu_model, "EPYC");

	cr_expect_not(fits(&there, &here,
			   "snapshot 'nightly' of vm 'web' cannot be loaded here; its VMM version "
			   "is 7.2.0, and here it is 8.2.1; its processor's vendor is "
			   "AuthenticAMD, and here it is GenuineIntel; its processor is EPYC, and "
			   "here it is Xeon, stepping 7"));
}

Test(snapshot_host, a_backend_that_is_not_there_loads_nothing)
{
	SnapshotHost host = here;

	host.available = false;
	text_copy(host.message, sizeof host.message, "no /dev/kvm");
	cr_expect_not(fits(&here, &host, "qemu cannot run here: no /dev/kvm"));
	text_copy(host.backend, sizeof host.backend, "firecracker");
	cr_expect_not(fits(&here, &host, "its backend is qemu, and here it is firecracker"));
}

Test(snapshot_host, under_tcg_the_processor_is_qemus)
{
	SnapshotHost there = here, host = here;

	text_copy(there.accelerator, sizeof there.accelerator, "tcg");
	text_copy(there.cpu_model, sizeof there.cpu_model, "EPYC");
	cr_expect_not(fits(&there, &host, "its accelerator is tcg, and here it is kvm"));
	text_copy(host.accelerator, sizeof host.accelerator, "tcg");
	cr_expect(fits(&there, &host, ""));
}

Test(snapshot_host, versions_are_compared_as_each_vmm_needs_it)
{
	static const struct {
		const char *backend, *there, *here, *format_there, *format_here;
		bool fits;
	} rows[] = {
		{ "qemu", "8.2.1", "8.2.9", "", "", true },
		{ "qemu", "8.2.1", "8.2", "", "", true },
		{ "qemu", "8.2.1", "8.3.1", "", "", false },
		{ "qemu", "8.2.1", "9.2.1", "", "", false },
		{ "qemu", "8", "8.2.1", "", "", false },
		{ "qemu", "", "8.2.1", "", "", false },
		{ "qemu", "8.2.1", "99999999999999999999999999.2", "", "", false },
		{ "firecracker", "1.16.0", "1.16.0", "", "", true },
		{ "firecracker", "1.16.0", "1.16.1", "", "", false },
		{ "firecracker", "1.16.0", "1.16.1", "9.0.0", "", false },
		{ "firecracker", "1.16.0", "1.17.0", "9.0.0", "9.0.0", true },
		{ "firecracker", "1.16.0", "1.17.0", "9.0.5", "9.1.0", true },
		{ "firecracker", "1.16.0", "1.17.0", "9.1.0", "9.0.0", false },
		{ "firecracker", "1.16.0", "1.16.0", "8.0.0", "9.0.0", false },
		{ "firecracker", "1.16.0", "1.16.0", "x", "9.0.0", false },
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		SnapshotHost there = here, host = here;

		text_copy(there.backend, sizeof there.backend, rows[i].backend);
		text_copy(host.backend, sizeof host.backend, rows[i].backend);
		text_copy(there.vmm_version, sizeof there.vmm_version, rows[i].there);
		text_copy(host.vmm_version, sizeof host.vmm_version, rows[i].here);
		text_copy(there.vmm_format, sizeof there.vmm_format, rows[i].format_there);
		text_copy(host.vmm_format, sizeof host.vmm_format, rows[i].format_here);
		cr_expect_eq(fits(&there, &host, ""), rows[i].fits, "row %zu", i);
	}
}
