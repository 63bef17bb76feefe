/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_boot.h"

#include "base/text.h"
#include "runtime/boot_args.h"
#include "runtime/firecracker_json.h"

#include <assert.h>
#include <string.h>

static const char default_boot_args[] = "console=ttyS0 reboot=k panic=1";

/* The writing end of the keeper's console pipe, as the VMM inherits it. */
static const char console_path[] = "/proc/self/fd/3";

char *firecracker_boot_args(const VmSpec *spec)
{
	const char *args = spec->boot ? spec->boot->boot_args : NULL;
	cleanup_free char *root = NULL;

	if (text_equal(args, ""))
		args = default_boot_args;
	root = boot_args_root(spec, args);
	return text_printf("%s%s", root, args);
}

/* Adds a request and takes what is in it. */
static void add(FirecrackerBoot *boot, FirecrackerPut put)
{
	assert(put.body); /* paths are UTF-8: checked with the spec */
	boot->puts = must_realloc(boot->puts, boot->count + 1, sizeof *boot->puts);
	boot->puts[boot->count++] = put;
}

static json_t *boot_source(const VmBoot *boot, const char *boot_args)
{
	json_t *body = json_pack("{s:s, s:s}", "kernel_image_path", boot->kernel_path, "boot_args",
				 boot_args);

	if (!text_equal(boot->initrd_path, ""))
		(void)json_object_set_new(body, "initrd_path", json_string(boot->initrd_path));
	return body;
}

static void add_drive(FirecrackerBoot *boot, const VmDrive *drive)
{
	cleanup_free char *id = firecracker_id(drive->drive_id);

	add(boot, (FirecrackerPut){ text_printf("/drives/%s", id),
				    json_pack("{s:s, s:s, s:b, s:b}", "drive_id", id,
					      "path_on_host", drive->path, "is_read_only",
					      (int)drive->read_only, "is_root_device", 0) });
}

FirecrackerBoot *firecracker_boot_new(const VmSpec *spec, const char *boot_args)
{
	FirecrackerBoot *boot = new0(FirecrackerBoot);

	add(boot,
	    (FirecrackerPut){ text_dup("/machine-config"),
			      json_pack("{s:I, s:I}", "vcpu_count", (json_int_t)spec_vcpus(spec),
					"mem_size_mib", (json_int_t)spec_memory_mib(spec)) });
	add(boot, (FirecrackerPut){ text_dup("/boot-source"), boot_source(spec->boot, boot_args) });
	for (size_t i = 0; i < spec->drives.count; i++)
		add_drive(boot, spec_drive(spec, i));
	add(boot, (FirecrackerPut){ text_dup("/entropy"), json_object() });
	add(boot, (FirecrackerPut){ text_dup("/serial"),
				    json_pack("{s:s}", "serial_out_path", console_path) });
	return boot;
}

void firecracker_boot_free(FirecrackerBoot *boot)
{
	if (!boot)
		return;
	for (size_t i = 0; i < boot->count; i++) {
		free(boot->puts[i].path);
		json_decref(boot->puts[i].body);
	}
	free(boot->puts);
	free(boot);
}

json_t *firecracker_action_new(const char *action)
{
	return json_pack("{s:s}", "action_type", action);
}
