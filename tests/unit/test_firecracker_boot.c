/* SPDX-License-Identifier: Apache-2.0 */

/* What Firecracker is told before a boot: its words, and that its API description has them. */

#include "base/clock.h"
#include "base/text.h"
#include "runtime/firecracker_boot.h"
#include "runtime/vm.h"
#include "tests/support/api_schema.h"
#include "tests/support/firecracker_bench.h"
#include "tests/support/random_spec.h"

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

/* Firecracker 1.17.0 is told of @spec. */
static FirecrackerBoot *plan_boot(const VmSpec *spec, const char *args)
{
	static char tap[] = "tap";
	static const VmResolvedInterface taps[SPEC_INTERFACES_MAX] = {
		{ .host_device = tap }, { .host_device = tap }, { .host_device = tap },
		{ .host_device = tap }, { .host_device = tap }, { .host_device = tap },
		{ .host_device = tap }, { .host_device = tap },
	};
	cleanup_(firecracker_paths_clear) FirecrackerPaths paths = { 0 };
	const FirecrackerPlan plan = {
		.spec = spec,
		.boot_args = args,
		.paths = &paths,
		.taps = taps,
		.version = { 1, 17, 0 },
		.console_rate = 1000,
	};

	firecracker_paths_plain(&paths, spec, "/run");
	return firecracker_boot_new(&plan);
}

/* All requests, one a line. */
static char *told(const VmSpec *spec)
{
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = plan_boot(spec, "the args");
	char *text = text_dup("");

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
			 "PUT /metrics {\"metrics_path\":\"/run/metrics.fifo\"}\n"
			 "PUT /machine-config {\"mem_size_mib\":300,\"vcpu_count\":3}\n"
			 "PUT /boot-source {\"boot_args\":\"the args\",\"initrd_path\":\"/i\","
			 "\"kernel_image_path\":\"/k\"}\n"
			 "PUT /drives/root_1 {\"drive_id\":\"root_1\",\"is_read_only\":true,"
			 "\"is_root_device\":false,\"path_on_host\":\"/r\"}\n"
			 "PUT /drives/data {\"drive_id\":\"data\",\"is_read_only\":false,"
			 "\"is_root_device\":false,\"path_on_host\":\"/d\\\"\\\\\"}\n"
			 "PUT /entropy {}\n"
			 "PUT /serial {\"rate_limiter\":{\"refill_time\":1000,\"size\":2000},"
			 "\"serial_out_path\":\"/proc/self/fd/3\"}\n");
}

static VmRateLimiter *make_limiter(uint64_t size, uint64_t burst)
{
	VmRateLimiter *limiter = new0(VmRateLimiter);

	limiter->bandwidth = new0(VmTokenBucket);
	*limiter->bandwidth = (VmTokenBucket){ size, burst, 100 };
	if (burst)
		return limiter;
	limiter->ops = new0(VmTokenBucket);
	*limiter->ops = (VmTokenBucket){ 7, 0, 10 };
	return limiter;
}

static VmInterface *add_interface(VmSpec *spec, const char *id)
{
	VmInterface *interface = field_list_add(&spec->network_interfaces, &vm_interface_table);

	interface->interface_id = text_dup(id);
	return interface;
}

static void add_devices(VmSpec *spec)
{
	spec->devices = new0(VmDevices);
	spec->devices->vsock = new0(VmVsock);
	spec->devices->balloon = new0(VmBalloon);
	*spec->devices->balloon = (VmBalloon){ 64, true, INT64_C(5) * USEC_PER_SEC, true, true };
	spec->devices->entropy = new0(VmEntropy);
	spec->devices->entropy->rate_limiter = make_limiter(9, 0);
	spec->devices->mmds = new0(VmMmds);
	spec->devices->mmds->content = text_dup("{\"a\": {\"b\": [1]}}");
	spec->devices->mmds->ipv4_address = text_dup("169.254.1.2");
	spec->devices->mmds->imds_compat = true;
}

Test(firecracker_boot, devices_become_these_requests)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec("");
	cleanup_free char *text = NULL;
	VmInterface *interface = add_interface(spec, "eth-0");
	VmDrive *drive;

	add_drive(spec, "d", "/d", false, false);
	drive = (VmDrive *)spec->drives.items;
	drive->cache_type = VM_CACHE_WRITEBACK;
	drive->io_engine = VM_IO_ASYNC;
	drive->rate_limiter = make_limiter(5, 0);
	interface->guest_mac = text_dup("02:00:00:00:00:01");
	interface->mtu = 1400;
	interface->rx_rate_limiter = make_limiter(5, 6);
	interface->mmds = true;
	add_devices(spec);
	spec->machine = new0(VmMachine);
	spec->machine->smt = spec->machine->track_dirty_pages = true;
	spec->machine->huge_pages = VM_HUGE_PAGES_2M;
	spec->machine->cpu_template = VM_CPU_TEMPLATE_T2S;
	spec->machine->cpu_config = text_dup("{\"kvm_capabilities\": [\"1\"]}");

	text = told(spec);

	cr_assert_str_eq(
		text,
		"PUT /metrics {\"metrics_path\":\"/run/metrics.fifo\"}\n"
		"PUT /machine-config {\"cpu_template\":\"T2S\",\"huge_pages\":\"2M\","
		"\"mem_size_mib\":128,\"smt\":true,\"track_dirty_pages\":true,\"vcpu_count\":1}\n"
		"PUT /cpu-config {\"kvm_capabilities\":[\"1\"]}\n"
		"PUT /boot-source {\"boot_args\":\"the args\",\"kernel_image_path\":\"/k\"}\n"
		"PUT /drives/d "
		"{\"cache_type\":\"Writeback\",\"drive_id\":\"d\",\"io_engine\":\"Async\","
		"\"is_read_only\":false,\"is_root_device\":false,\"path_on_host\":\"/d\","
		"\"rate_limiter\":{\"bandwidth\":{\"refill_time\":100,\"size\":5},"
		"\"ops\":{\"refill_time\":10,\"size\":7}}}\n"
		"PUT /network-interfaces/eth_0 {\"guest_mac\":\"02:00:00:00:00:01\","
		"\"host_dev_name\":\"tap\",\"iface_id\":\"eth_0\",\"mtu\":1400,"
		"\"rx_rate_limiter\":{\"bandwidth\":{\"one_time_burst\":6,\"refill_time\":100,"
		"\"size\":5}}}\n"
		"PUT /vsock {\"guest_cid\":3,\"uds_path\":\"/run/vsock.sock\"}\n"
		"PUT /balloon "
		"{\"amount_mib\":64,\"deflate_on_oom\":true,\"free_page_hinting\":true,"
		"\"free_page_reporting\":true,\"stats_polling_interval_s\":5}\n"
		"PUT /entropy {\"rate_limiter\":{\"bandwidth\":{\"refill_time\":100,\"size\":9},"
		"\"ops\":{\"refill_time\":10,\"size\":7}}}\n"
		"PUT /mmds/config {\"imds_compat\":true,\"ipv4_address\":\"169.254.1.2\","
		"\"network_interfaces\":[\"eth_0\"],\"version\":\"V2\"}\n"
		"PUT /mmds {\"a\":{\"b\":[1]}}\n"
		"PUT /serial {\"rate_limiter\":{\"refill_time\":1000,\"size\":2000},"
		"\"serial_out_path\":\"/proc/self/fd/3\"}\n");
}

/* The body of the request to @path of what a Firecracker 1.@minor is told; "" if there is none. */
static char *told_of(const char *path, const FirecrackerPaths *paths, unsigned minor,
		     uint64_t console_rate)
{
	cleanup_(spec_unrefp) VmSpec *spec = make_spec("");
	const FirecrackerPlan plan = {
		.spec = spec,
		.boot_args = "a",
		.paths = paths,
		.version = { 1, minor, 0 },
		.console_rate = console_rate,
	};
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = firecracker_boot_new(&plan);

	for (size_t i = 0; i < boot->count; i++)
		if (strcmp(boot->puts[i].path, path) == 0)
			return json_dumps(boot->puts[i].body, JSON_COMPACT | JSON_SORT_KEYS);
	return text_dup("");
}

Test(firecracker_boot, the_serial_port_is_limited_where_that_is_known_and_asked_for)
{
	static char place[] = "/x";
	const FirecrackerPaths paths = { .kernel = place, .console = place };
	cleanup_free char *older = told_of("/serial", &paths, 15, 500);
	cleanup_free char *exactly = told_of("/serial", &paths, 16, 500);
	cleanup_free char *unlimited = told_of("/serial", &paths, 17, 0);

	cr_assert_str_eq(older, "{\"serial_out_path\":\"/x\"}");
	cr_assert_str_eq(exactly, "{\"rate_limiter\":{\"refill_time\":1000,\"size\":1000},"
				  "\"serial_out_path\":\"/x\"}");
	cr_assert_str_eq(unlimited, older);
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
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = plan_boot(spec, args);

	for (size_t i = 0; i < boot->count; i++) {
		json_t *body = json_deep_copy(boot->puts[i].body);
		char why[200] = "";

		cr_assert_eq(
			api_schema_check(schema, "put", boot->puts[i].path, body, why, sizeof why),
			0, "%s: %s", boot->puts[i].path, why);
		json_decref(body);
	}
}

Test(firecracker_boot, every_request_fits_the_api_description)
{
	json_t *schema = firecracker_bench_description();

	srandom(4);
	for (int i = 0; i < RANDOM_SPECS; i++) {
		cleanup_(spec_unrefp) VmSpec *spec = random_spec_new();
		Error err = { 0 };

		cleanup_(spec_unrefp) VmSpec *made = disks_host_spec(spec, "/run/vm");

		cr_assert_eq(spec_check(spec, &err), 0, "%s", err.what);
		check_calls(schema, made);
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
	check_body(schema, "put", "/mmds/config",
		   json_pack("{s:[s], s:s}", "network_interfaces", "e", "ipv4_address",
			     "169.254.255.1"),
		   "format");
	check_body(schema, "put", "/nothing", json_object(), "no such request");
	json_decref(schema);
}
