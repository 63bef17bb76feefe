/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/firecracker_boot.h"

#include "base/text.h"
#include "runtime/boot_args.h"
#include "runtime/firecracker_json.h"
#include "runtime/jail.h"

#include <assert.h>
#include <string.h>

static const char default_boot_args[] = "console=ttyS0 reboot=k panic=1";

/* The writing end of the keeper's console pipe, as the VMM inherits it. */
static const char console_path[] = "/proc/self/fd/3";

/* clang-format off */
static const char *const huge_pages_words[] = {
	[VM_HUGE_PAGES_NONE]        = "None",
	[VM_HUGE_PAGES_2M]          = "2M",
	[VM_HUGE_PAGES_TRANSPARENT] = "Transparent",
};
static_assert(array_size(huge_pages_words) == VM_HUGE_PAGES_COUNT_, "a word for each kind");

static const char *const cpu_template_words[] = {
	[VM_CPU_TEMPLATE_C3]   = "C3",
	[VM_CPU_TEMPLATE_T2]   = "T2",
	[VM_CPU_TEMPLATE_T2S]  = "T2S",
	[VM_CPU_TEMPLATE_T2CL] = "T2CL",
	[VM_CPU_TEMPLATE_T2A]  = "T2A",
	[VM_CPU_TEMPLATE_V1N1] = "V1N1",
};
static_assert(array_size(cpu_template_words) == VM_CPU_TEMPLATE_COUNT_, "a word for each template");
/* clang-format on */

enum {
	MSEC_PER_SEC = 1000
};

char *firecracker_boot_args(const VmSpec *spec)
{
	const char *args = spec->boot ? spec->boot->boot_args : NULL;
	cleanup_free char *root = NULL;

	if (text_equal(args, ""))
		args = default_boot_args;
	root = boot_args_root(spec, args);
	return text_printf("%s%s", root, args);
}

void firecracker_paths_clear(FirecrackerPaths *paths)
{
	free(paths->kernel);
	free(paths->initrd);
	for (size_t i = 0; i < SPEC_DRIVES_MAX; i++)
		free(paths->drives[i]);
	free(paths->console);
	free(paths->metrics);
	free(paths->vsock);
	*paths = (FirecrackerPaths){ 0 };
}

void firecracker_paths_plain(FirecrackerPaths *ret, const VmSpec *spec, const char *run_dir)
{
	*ret = (FirecrackerPaths){
		.kernel = text_dup(spec->boot->kernel_path),
		.console = text_dup(console_path),
		.metrics = text_printf("%s/metrics.fifo", run_dir),
		.vsock = text_printf("%s/vsock.sock", run_dir),
	};
	if (!text_equal(spec->boot->initrd_path, ""))
		ret->initrd = text_dup(spec->boot->initrd_path);
	for (size_t i = 0; i < spec->drives.count; i++)
		ret->drives[i] = text_dup(spec_drive(spec, i)->path);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): it is taken over */
void firecracker_boot_add(FirecrackerBoot *boot, char *path, json_t *body)
{
	assert(body); /* paths are UTF-8: checked with the spec */
	boot->puts = must_realloc(boot->puts, boot->count + 1, sizeof *boot->puts);
	boot->puts[boot->count++] = (FirecrackerPut){ path, body };
}

static void add(FirecrackerBoot *boot, const char *path, json_t *body)
{
	firecracker_boot_add(boot, text_dup(path), body);
}

static json_t *machine(const VmSpec *spec)
{
	json_t *body = json_pack("{s:I, s:I}", "vcpu_count", (json_int_t)spec_vcpus(spec),
				 "mem_size_mib", (json_int_t)spec_memory_mib(spec));
	const VmMachine *asked = spec->machine;

	if (!asked)
		return body;
	if (asked->smt)
		(void)json_object_set_new(body, "smt", json_true());
	if (asked->track_dirty_pages)
		(void)json_object_set_new(body, "track_dirty_pages", json_true());
	if (asked->huge_pages)
		(void)json_object_set_new(body, "huge_pages",
					  json_string(huge_pages_words[asked->huge_pages]));
	if (asked->cpu_template)
		(void)json_object_set_new(body, "cpu_template",
					  json_string(cpu_template_words[asked->cpu_template]));
	return body;
}

static json_t *boot_source(const FirecrackerPlan *plan)
{
	json_t *body = json_pack("{s:s, s:s}", "kernel_image_path", plan->paths->kernel,
				 "boot_args", plan->boot_args);

	if (plan->paths->initrd)
		(void)json_object_set_new(body, "initrd_path", json_string(plan->paths->initrd));
	return body;
}

/* The keeper limits what it keeps; this also spares the host the work. */
/* At twice what the keeper keeps: the keeper says what it drops, Firecracker does not. */
static json_t *serial(const FirecrackerPlan *plan)
{
	uint64_t size = plan->console_rate < INT64_MAX / 2 ? 2 * plan->console_rate : INT64_MAX;
	json_t *body = json_pack("{s:s}", "serial_out_path", plan->paths->console);

	if (plan->console_rate && firecracker_has_serial_limit(&plan->version))
		(void)json_object_set_new(body, "rate_limiter",
					  json_pack("{s:I, s:i}", "size", (json_int_t)size,
						    "refill_time", MSEC_PER_SEC));
	return body;
}

FirecrackerBoot *firecracker_boot_new(const FirecrackerPlan *plan)
{
	FirecrackerBoot *boot = new0(FirecrackerBoot);
	const VmMachine *asked = plan->spec->machine;

	if (plan->paths->metrics)
		add(boot, "/metrics", json_pack("{s:s}", "metrics_path", plan->paths->metrics));
	if (!plan->restores) {
		add(boot, "/machine-config", machine(plan->spec));
		if (asked && !text_equal(asked->cpu_config, ""))
			add(boot, "/cpu-config", json_loads(asked->cpu_config, 0, NULL));
		add(boot, "/boot-source", boot_source(plan));
		firecracker_devices(boot, plan);
	}
	add(boot, "/serial", serial(plan));
	return boot;
}

json_t *firecracker_load_new(const FirecrackerPlan *plan)
{
	const VmMachine *asked = plan->spec->machine;
	json_t *taps = json_array();

	for (size_t i = 0; i < plan->spec->network_interfaces.count; i++) {
		cleanup_free char *id = firecracker_id(spec_interface(plan->spec, i)->interface_id);

		(void)json_array_append_new(taps,
					    json_pack("{s:s, s:s}", "iface_id", id, "host_dev_name",
						      plan->taps[i].host_device));
	}
	return json_pack("{s:s, s:{s:s, s:s}, s:b, s:b, s:o}", "snapshot_path",
			 "/" JAIL_SNAPSHOT_STATE, "mem_backend", "backend_type",
			 plan->paged ? "Uffd" : "File", "backend_path",
			 plan->paged ? "/" JAIL_PAGER : "/" JAIL_SNAPSHOT_MEMORY,
			 "track_dirty_pages", (int)(asked && asked->track_dirty_pages), "resume_vm",
			 0, "network_overrides", taps);
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
