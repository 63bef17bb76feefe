/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "base/words.h"
#include "runtime/qemu_args.h"
#include "runtime/qemu_probe.h"

#include <criterion/criterion.h>
#include <string.h>

static VmSpec *spec_with(const char *boot_args)
{
	VmSpec *spec = spec_new();

	spec->boot = new0(VmBoot);
	spec->boot->kernel_path = text_dup("/boot/vmlinuz");
	spec->boot->boot_args = text_dup(boot_args);
	return spec;
}

static void add_drive(VmSpec *spec, const char *path, bool read_only, bool is_root)
{
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_printf("drive-%zu", spec->drives.count);
	drive->path = text_dup(path);
	drive->read_only = read_only;
	drive->is_root = is_root;
}

static char tap_names[][8] = { "htap-0", "htap-1" };
static char leased_mac[] = "02:68:74:00:00:01";
/* What the VMs below have of the host; the second one has nothing leased. */
static const VmResolvedInterface taps[] = {
	{ .host_device = tap_names[0], .guest_mac = leased_mac },
	{ .host_device = tap_names[1] },
};

/* The words, each between bars: "|qemu|-name|...|". */
static char *args_of(const VmSpec *spec, const char *accelerator, const char *socket)
{
	const QemuLaunch launch = {
		.qemu_path = "qemu",
		.vm_id = "web-1",
		.spec = spec,
		.accelerator = accelerator,
		.boot_args = "console=ttyS0",
		.socket_path = socket,
		.guest_path = "/run/guest.sock",
		.taps = taps,
	};
	cleanup_(words_freep) char **argv = qemu_args(&launch);
	char *all = text_dup("|");

	for (size_t i = 0; argv[i]; i++) {
		char *longer = text_printf("%s%s|", all, argv[i]);

		free(all);
		all = longer;
	}
	return all;
}

static void check_boot_args(const VmSpec *spec, uint64_t tsc_khz, const char *expected)
{
	cleanup_free char *args = qemu_boot_args(spec, tsc_khz);

	cr_assert_str_eq(args, expected);
}

Test(qemu_args, without_boot_args_there_is_a_console_and_panics_reboot)
{
	cleanup_(spec_unrefp) VmSpec *none = spec_new();
	cleanup_(spec_unrefp) VmSpec *empty = spec_with("");

	check_boot_args(none, 0, "console=ttyS0 reboot=t panic=1");
	check_boot_args(empty, 0, "console=ttyS0 reboot=t panic=1");
}

Test(qemu_args, the_root_drive_is_named_unless_the_arguments_do)
{
	cleanup_(spec_unrefp) VmSpec *plain = spec_with("quiet");
	cleanup_(spec_unrefp) VmSpec *own_mode = spec_with("rw quiet");
	cleanup_(spec_unrefp) VmSpec *own_root = spec_with("quiet root=LABEL=x");
	cleanup_(spec_unrefp) VmSpec *data_only = spec_with("quiet");

	add_drive(plain, "/root.img", false, true);
	add_drive(own_mode, "/root.img", true, true);
	add_drive(own_root, "/root.img", false, true);
	add_drive(data_only, "/data.img", false, false);

	check_boot_args(plain, 0, "root=/dev/vda rw quiet");
	check_boot_args(own_mode, 0, "root=/dev/vda rw quiet");
	check_boot_args(own_root, 0, "quiet root=LABEL=x");
	check_boot_args(data_only, 0, "quiet");
}

Test(qemu_args, a_read_only_root_is_mounted_so)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("quiet");

	add_drive(spec, "/data.img", false, false);
	add_drive(spec, "/root.img", true, true);

	check_boot_args(spec, 0, "root=/dev/vdb ro quiet");
}

Test(qemu_args, the_tsc_rate_is_told_unless_the_arguments_do)
{
	cleanup_(spec_unrefp) VmSpec *plain = spec_with("quiet");
	cleanup_(spec_unrefp) VmSpec *own = spec_with("tsc_early_khz=5");

	check_boot_args(plain, 2500000, "tsc_early_khz=2500000 quiet");
	check_boot_args(own, 2500000, "tsc_early_khz=5");
}

Test(qemu_args, what_is_for_init_is_not_taken_for_the_kernels)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("quiet -- root=/x tsc_early_khz=5");

	add_drive(spec, "/root.img", false, true);

	check_boot_args(spec, 7,
			"root=/dev/vda rw tsc_early_khz=7 quiet -- root=/x tsc_early_khz=5");
}

Test(qemu_args, words_only_resembling_an_option_do_not_count)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("nfsroot=/x rootwait rwx");

	add_drive(spec, "/root.img", false, true);

	check_boot_args(spec, 0, "root=/dev/vda rw nfsroot=/x rootwait rwx");
}

Test(qemu_args, drives_come_in_the_specs_order_with_commas_doubled)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("quiet");
	cleanup_free char *args = NULL;
	const char *first, *second;

	add_drive(spec, "/a,readonly=off.img", true, false);
	add_drive(spec, "/b.img", false, false);

	args = args_of(spec, "tcg", "/run/q.sock");

	first = strstr(args,
		       "|id=drive0,if=none,format=raw,file=/a,,readonly=off.img,readonly=on,");
	second = strstr(args, "|id=drive1,if=none,format=raw,file=/b.img,readonly=off,");
	cr_assert_not_null(first, "%s", args);
	cr_assert_not_null(second, "%s", args);
	cr_assert_lt(first, second);
	cr_assert_not_null(strstr(args, "|virtio-blk-device,drive=drive0,serial=drive-1|"));
}

Test(qemu_args, a_socket_path_with_a_comma_stays_one_path)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("quiet");
	cleanup_free char *args = args_of(spec, "tcg", "/run/a,server=off/q.sock");

	cr_assert_not_null(strstr(args, ",path=/run/a,,server=off/q.sock,server=on,wait=off|"),
			   "%s", args);
}

Test(qemu_args, the_machine_is_as_asked)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("quiet");
	cleanup_free char *tcg = NULL, *kvm = NULL;

	spec->machine = new0(VmMachine);
	spec->machine->vcpus = 3;
	spec->machine->memory_mib = 96;
	spec->boot->initrd_path = text_dup("/boot/initrd");
	tcg = args_of(spec, "tcg", "/q");
	kvm = args_of(spec, "kvm", "/q");

	cr_assert_not_null(strstr(tcg, "|-accel|tcg|-cpu|max|-m|96M|-smp|3|"), "%s", tcg);
	cr_assert_not_null(strstr(kvm, "|-accel|kvm|-cpu|host|"), "%s", kvm);
	cr_assert_not_null(strstr(tcg, "|-initrd|/boot/initrd|"), "%s", tcg);
	cr_assert_not_null(strstr(tcg, "|-append|console=ttyS0|"), "%s", tcg);
}

Test(qemu_args, the_version_is_read_from_qemus_first_line)
{
	char version[16];

	cr_assert(qemu_version(version, sizeof version,
			       "QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright\n"));
	cr_assert_str_eq(version, "7.2.22");
	cr_assert_not(qemu_version(version, sizeof version, "bash: no such program"));
	cr_assert_not(qemu_version(version, sizeof version, "QEMU emulator version x"));
	cr_assert_not(qemu_version(version, sizeof version,
				   "QEMU emulator version 1.1111111111111111111"));
}

Test(qemu_args, interfaces_are_taps_that_are_there_already)
{
	cleanup_(spec_unrefp) VmSpec *spec = spec_with("quiet");
	VmInterface *interface = field_list_add(&spec->network_interfaces, &vm_interface_table);
	cleanup_free char *args = NULL;

	interface->interface_id = text_dup("eth0");
	interface->mtu = 1400;
	interface = field_list_add(&spec->network_interfaces, &vm_interface_table);
	interface->interface_id = text_dup("eth1");
	interface->guest_mac = text_dup("02:00:00:00:00:02");
	args = args_of(spec, "tcg", "/s");

	cr_assert_not_null(strstr(args,
				  "|-netdev|tap,id=net0,ifname=htap-0,script=no,downscript=no|"
				  "-device|virtio-net-device,netdev=net0,"
				  "mac=02:68:74:00:00:01,host_mtu=1400|"),
			   "%s", args);
	cr_assert_not_null(strstr(args, "ifname=htap-1,script=no,downscript=no|-device|"
					"virtio-net-device,netdev=net1,mac=02:00:00:00:00:02|"),
			   "%s", args);
}
