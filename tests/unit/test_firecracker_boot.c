/* SPDX-License-Identifier: Apache-2.0 */

/* What Firecracker is told before a boot: its words, and that its API description has them. */

#include "base/text.h"
#include "runtime/firecracker_boot.h"
#include "tests/support/api_schema.h"
#include "tests/support/firecracker_bench.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
	RANDOM_SPECS = 500,
};

static VmSpec *make_spec(const char *boot_args)
{
	VmSpec *spec = spec_new();

	spec->boot = new0(VmBoot);
	spec->boot->kernel_path = text_dup("/k");
	spec->boot->boot_args = text_dup(boot_args);
	return spec;
}

static void add_drive(VmSpec *spec, const char *id, const char *path, bool read_only, bool root)
{
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_dup(id);
	drive->path = text_dup(path);
	drive->read_only = read_only;
	drive->is_root = root;
}

static void check_args(VmSpec *spec, const char *expected)
{
	cleanup_free char *args = firecracker_boot_args(spec);

	cr_assert_str_eq(args, expected);
	spec_unref(spec);
}

static VmSpec *rooted(const char *boot_args, bool read_only)
{
	VmSpec *spec = make_spec(boot_args);

	add_drive(spec, "disk", "/d", read_only, true);
	return spec;
}

Test(firecracker_boot, the_root_drive_is_named_unless_the_arguments_do)
{
	check_args(make_spec(NULL), "console=ttyS0 reboot=k panic=1");
	check_args(make_spec("quiet"), "quiet");
	check_args(rooted(NULL, true), "root=/dev/vda ro console=ttyS0 reboot=k panic=1");
	check_args(rooted("a -- b", false), "root=/dev/vda rw a -- b");
	check_args(rooted("rw a", true), "root=/dev/vda rw a");
	check_args(rooted("root=/dev/vdb1 a", true), "root=/dev/vdb1 a");
}

/* All requests, one a line. */
static char *told(const VmSpec *spec)
{
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = NULL;
	char *text = text_dup("");

	boot = firecracker_boot_new(spec, "the args");
	for (size_t i = 0; i < boot->count; i++) {
		cleanup_free char *before = text;
		cleanup_free char *body =
			json_dumps(boot->puts[i].body, JSON_COMPACT | JSON_SORT_KEYS);

		text = text_printf("%sPUT %s %s\n", before, boot->puts[i].path, body);
	}
	return text;
}

Test(firecracker_boot, a_whole_spec_becomes_these_requests)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec("ignored here");
	cleanup_free char *text = NULL;

	spec->machine = new0(VmMachine);
	spec->machine->vcpus = 3;
	spec->machine->memory_mib = 300;
	spec->boot->initrd_path = text_dup("/i");
	add_drive(spec, "root-1", "/r", true, true);
	add_drive(spec, "data", "/d\"\\", false, false);

	text = told(spec);

	cr_assert_str_eq(text,
			 "PUT /machine-config {\"mem_size_mib\":300,\"vcpu_count\":3}\n"
			 "PUT /boot-source {\"boot_args\":\"the args\",\"initrd_path\":\"/i\","
			 "\"kernel_image_path\":\"/k\"}\n"
			 "PUT /drives/root_1 {\"drive_id\":\"root_1\",\"is_read_only\":true,"
			 "\"is_root_device\":false,\"path_on_host\":\"/r\"}\n"
			 "PUT /drives/data {\"drive_id\":\"data\",\"is_read_only\":false,"
			 "\"is_root_device\":false,\"path_on_host\":\"/d\\\"\\\\\"}\n"
			 "PUT /entropy {}\n"
			 "PUT /serial {\"serial_out_path\":\"/proc/self/fd/3\"}\n");
}

Test(firecracker_boot, an_empty_spec_gets_the_defaults)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec("");
	cleanup_free char *text = told(spec);

	cr_assert_not_null(strstr(text, "{\"mem_size_mib\":128,\"vcpu_count\":1}"), "%s", text);
	cr_assert_null(strstr(text, "initrd"), "%s", text);
	cr_assert_null(strstr(text, "drives"), "%s", text);
}

static void check_calls(json_t *schema, const VmSpec *spec)
{
	cleanup_free char *args = firecracker_boot_args(spec);
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = firecracker_boot_new(spec, args);

	for (size_t i = 0; i < boot->count; i++) {
		json_t *body = json_deep_copy(boot->puts[i].body);
		char why[200] = "";

		cr_assert_eq(
			api_schema_check(schema, "put", boot->puts[i].path, body, why, sizeof why),
			0, "%s: %s", boot->puts[i].path, why);
		json_decref(body);
	}
}

static VmSpec *random_spec(void)
{
	VmSpec *spec = make_spec(random() % 2 ? "quiet -- x" : NULL);
	long drives = random() % (SPEC_DRIVES_MAX + 1);

	if (random() % 2) {
		spec->machine = new0(VmMachine);
		spec->machine->vcpus = (uint32_t)(random() % 33);
		spec->machine->memory_mib = (uint64_t)random() % 1048577;
	}
	if (random() % 2)
		spec->boot->initrd_path = text_dup("/initrd");
	for (long i = 0; i < drives; i++) {
		cleanup_free char *id = text_printf("d-%ld", i);

		add_drive(spec, id, "/some/path", random() % 2, i == 0 && random() % 2);
	}
	return spec;
}

Test(firecracker_boot, every_request_fits_the_api_description)
{
	json_t *schema = firecracker_bench_description();
	cleanup_(spec_unrefp) VmSpec *full = rooted("quiet", false);

	full->boot->initrd_path = text_dup("/i");
	check_calls(schema, full);
	srandom(4);
	for (int i = 0; i < RANDOM_SPECS; i++) {
		cleanup_(spec_unrefp) VmSpec *spec = random_spec();

		check_calls(schema, spec);
	}
	json_decref(schema);
}

static void check_body(json_t *schema, const char *method, const char *path, json_t *body,
		       const char *problem)
{
	char why[200] = "";
	int r = api_schema_check(schema, method, path, body, why, sizeof why);

	cr_assert_eq(r, problem ? -1 : 0, "%s: %s", path, why);
	cr_assert(!problem || strstr(why, problem), "%s: %s", path, why);
	json_decref(body);
}

Test(firecracker_boot, actions_and_states_fit_the_api_description)
{
	json_t *schema = firecracker_bench_description();

	check_body(schema, "put", "/actions", firecracker_action_new("InstanceStart"), NULL);
	check_body(schema, "put", "/actions", firecracker_action_new("SendCtrlAltDel"), NULL);
	check_body(schema, "patch", "/vm", json_pack("{s:s}", "state", "Paused"), NULL);
	check_body(schema, "patch", "/vm", json_pack("{s:s}", "state", "Resumed"), NULL);
	json_decref(schema);
}

Test(firecracker_boot, the_api_description_is_really_asked)
{
	json_t *schema = firecracker_bench_description();

	check_body(schema, "put", "/actions", firecracker_action_new("Explode"), "none of its");
	check_body(schema, "put", "/boot-source", json_pack("{s:s}", "boot_args", "a"), "required");
	check_body(schema, "put", "/entropy", json_pack("{s:b}", "x", 1), "no such property");
	check_body(schema, "put", "/machine-config",
		   json_pack("{s:i, s:i}", "vcpu_count", 33, "mem_size_mib", 1), "limits");
	check_body(schema, "put", "/machine-config",
		   json_pack("{s:s, s:i}", "vcpu_count", "1", "mem_size_mib", 1), "type");
	check_body(schema, "put", "/nothing", json_object(), "no such request");
	json_decref(schema);
}
