/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/qemu_args.h"

#include "base/text.h"
#include "base/words.h"
#include "runtime/boot_args.h"
#include "runtime/guest/protocol.h"

#include <inttypes.h>
#include <string.h>

enum {
	SERIAL_MAX = 20, /* what virtio-blk can tell a guest of a drive's id */
};

static const char default_boot_args[] = "console=ttyS0 reboot=t panic=1";

/* As an option's value: QEMU reads ",," as a comma. To free. */
static char *escape(const char *text)
{
	char *escaped = new0_array(char, strlen(text) * 2 + 1);
	char *at = escaped;

	for (; *text; text++) {
		if (*text == ',')
			*at++ = ',';
		*at++ = *text;
	}
	return escaped;
}

char *qemu_boot_args(const VmSpec *spec, uint64_t tsc_khz)
{
	const char *args = spec->boot ? spec->boot->boot_args : NULL;
	cleanup_free char *root = NULL, *tsc = NULL;

	if (!args || !*args)
		args = default_boot_args;
	root = boot_args_root(spec, args);
	if (tsc_khz && !boot_args_have(args, "tsc_early_khz=", false))
		tsc = text_printf("tsc_early_khz=%" PRIu64 " ", tsc_khz);
	return text_printf("%s%s%s", root, tsc ? tsc : "", args);
}

static void add_machine(Words *words, const QemuLaunch *launch)
{
	cleanup_free char *name =
		text_printf("guest=%s,process=hearth-%s", launch->vm_id, launch->vm_id);
	cleanup_free char *memory = text_printf("%" PRIu64 "M", spec_memory_mib(launch->spec));
	cleanup_free char *vcpus = text_printf("%" PRIu32, spec_vcpus(launch->spec));

	words_add(words, launch->qemu_path);
	words_add_option(words, "-name", name);
	words_add_option(words, "-M", "microvm,dump-guest-core=off");
	words_add_option(words, "-accel", launch->accelerator);
	words_add_option(words, "-cpu", text_equal(launch->accelerator, "kvm") ? "host" : "max");
	words_add_option(words, "-m", memory);
	words_add_option(words, "-smp", vcpus);
	words_add_option(words, "-nodefaults", "-no-user-config");
	words_add_option(words, "-display", "none");
	words_add_option(words, "-no-reboot", "-S");
	if (launch->restores)
		words_add_option(words, "-incoming", "defer");
	words_add_option(words, "-sandbox",
			 "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	words_add_option(words, "-global", "virtio-mmio.force-legacy=off");
}

static void add_channels(Words *words, const QemuLaunch *launch)
{
	cleanup_free char *path = escape(launch->socket_path);
	cleanup_free char *control =
		text_printf("socket,id=control,path=%s,server=on,wait=off", path);
	cleanup_free char *way = escape(launch->guest_path);
	cleanup_free char *guest = text_printf("socket,id=guest,path=%s,server=on,wait=off", way);

	/* Without append=on QEMU would truncate, which a pipe refuses. */
	words_add_option(words, "-add-fd", "fd=3,set=1");
	words_add_option(words, "-chardev", "file,id=console,path=/dev/fdset/1,append=on");
	words_add_option(words, "-serial", "chardev:console");
	words_add_option(words, "-chardev", "socket,id=evidence,fd=4");
	words_add_option(words, "-mon", "chardev=evidence,mode=control");
	words_add_option(words, "-device", "virtio-serial-device");
	words_add_option(words, "-chardev", guest);
	words_add_option(words, "-device", "virtserialport,chardev=guest,name=" GUEST_SERIAL);
	words_add_option(words, "-chardev", control);
	words_add_option(words, "-mon", "chardev=control,mode=control");
}

static void add_devices(Words *words, const QemuLaunch *launch)
{
	words_add_option(words, "-object", "rng-builtin,id=entropy");
	words_add_option(words, "-device", "virtio-rng-device,rng=entropy");
	for (size_t i = 0; i < launch->spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(launch->spec, i);
		cleanup_free char *path = escape(drive->path);
		/* A full host disk is the guest's I/O error, not a VM that stands still. */
		cleanup_free char *backing =
			text_printf("id=drive%zu,if=none,format=raw,file=%s,readonly=%s,"
				    "werror=report,rerror=report",
				    i, path, drive->read_only ? "on" : "off");
		/* An id has no comma. */
		cleanup_free char *device =
			text_printf("virtio-blk-device,drive=drive%zu,serial=%.*s", i, SERIAL_MAX,
				    drive->drive_id);

		words_add_option(words, "-drive", backing);
		words_add_option(words, "-device", device);
	}
}

/* Nothing of a MAC or a name of ours has a comma. */
static void add_interfaces(Words *words, const QemuLaunch *launch)
{
	for (size_t i = 0; i < launch->spec->network_interfaces.count; i++) {
		const VmInterface *interface = spec_interface(launch->spec, i);
		const char *mac = launch->taps[i].guest_mac ? launch->taps[i].guest_mac
							    : interface->guest_mac;
		cleanup_free char *net =
			text_printf("tap,id=net%zu,ifname=%s,script=no,downscript=no", i,
				    launch->taps[i].host_device);
		cleanup_free char *mtu =
			interface->mtu ? text_printf(",host_mtu=%" PRIu32, interface->mtu) : NULL;
		cleanup_free char *device = text_printf(
			"virtio-net-device,netdev=net%zu%s%s%s", i,
			text_equal(mac, "") ? "" : ",mac=", mac ? mac : "", mtu ? mtu : "");

		words_add_option(words, "-netdev", net);
		words_add_option(words, "-device", device);
	}
}

char **qemu_args(const QemuLaunch *launch)
{
	const VmBoot *boot = launch->spec->boot;
	Words words = { 0 };

	add_machine(&words, launch);
	add_channels(&words, launch);
	add_devices(&words, launch);
	add_interfaces(&words, launch);
	words_add_option(&words, "-kernel", boot->kernel_path);
	if (!text_equal(boot->initrd_path, ""))
		words_add_option(&words, "-initrd", boot->initrd_path);
	words_add_option(&words, "-append", launch->boot_args);
	return words.items;
}
