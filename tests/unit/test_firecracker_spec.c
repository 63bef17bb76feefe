/* SPDX-License-Identifier: Apache-2.0 */

/* Guests with all that a spec can ask for, on the real Firecracker, which says what it has made. */

#include "base/file.h"
#include "base/text.h"
#include "netfw/tap.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/huge_pages.h"
#include "runtime/keeper_link.h"
#include "runtime/vmm_process.h"
#include "tests/support/firecracker_bench.h"
#include "tests/support/lone_job.h"
#include "tests/support/random_spec.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
	RANDOM_SPECS = 30,
	CONSOLE_BYTES = 64 * 1024,
	DISK_BYTES = 1024 * 1024,
	CONTENT_MAX = 51200,
	DEPTH_MAX = 127,
};

/* Stand in for the core's: steps go by, and nothing cancels. */
/* A bench whose spec has @text's fields too; boot and memory are the bench's. */
static QemuBench *bench_with(const char *text)
{
	QemuBench *bench = firecracker_bench_new("exit=loop");
	json_t *json = json_loads(text, 0, NULL);
	VmMachine *machine = bench->spec->machine;
	char **kernel = &bench->spec->boot->kernel_path, *plain = realpath(*kernel, NULL);

	cr_assert_not_null(plain, "%s", *kernel);
	free(*kernel);
	*kernel = plain;
	cr_assert_not_null(json, "%s", text);
	bench->spec->machine = NULL;
	cr_assert_eq(fields_from_json(&vm_spec_table, bench->spec, json), 0, "%s", text);
	json_decref(json);
	if (!bench->spec->machine)
		bench->spec->machine = take_ptr(machine);
	free(machine);
	bench->spec->machine->memory_mib = 16;
	return bench;
}

/* With its taps, which outlive its VMM. */
static void bench_end(QemuBench *bench)
{
	Error err = { 0 };

	cr_expect_eq(keeper_kill(bench->run_dir, QEMU_BENCH_LONG), 0);
	cr_expect_eq(bench->backend->ops->remove_leftovers(bench->backend,
							   bench->resolved.instance_id, &err),
		     0, "%s", err.what);
	qemu_bench_free(bench);
}

static void skip(const char *why)
{
	(void)fprintf(stderr, "skipped: %s\n", why);
	cr_skip_test("%s", why);
}

/* Skips the test of @bench where no tap can be made. */
static void need_taps(QemuBench *bench)
{
	char name[TAP_NAME_MAX];
	const TapConfig config = { .name = name, .owner = (uid_t)-1 };
	Error err = { 0 };

	tap_name(name, bench->resolved.instance_id, 0);
	if (tap_add(&config, &err) == 0 && tap_remove(name, &err) == 0)
		return;
	qemu_bench_free(bench);
	skip(err.what);
}

/* What the running VMM answers a GET of @path; the caller's to release. */
static json_t *get(const QemuBench *bench, const char *path)
{
	const FirecrackerCall call = { FIRECRACKER_LOOK, "GET", path, NULL };
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	json_t *answer = NULL;
	Error err = { 0 };

	cr_expect_eq(firecracker_connect(&api, &bench->job, -1, -1, 0, &err), 0, "%s", err.what);
	cr_expect_eq(firecracker_api_call(api, &call, &answer, &err), 0, "%s", err.what);
	return answer;
}

static void check_content(const QemuBench *bench, const char *content)
{
	json_t *expected = json_loads(content, 0, NULL), *held = get(bench, "/mmds");

	cr_expect(json_equal(expected, held));
	json_decref(expected);
	json_decref(held);
}

/* The VMM's own configuration has all these words, its keys being sorted. */
static void check_config(const QemuBench *bench, const char *const *words, size_t count)
{
	json_t *config = get(bench, "/vm/config");
	cleanup_free char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);

	for (size_t i = 0; i < count; i++)
		cr_expect_not_null(strstr(text, words[i]), "%s\n%s", words[i], text);
	json_decref(config);
}

static char *make_disk(const QemuBench *bench)
{
	char *path = text_printf("%s/disk.img", bench->dir);
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(ftruncate(fd, DISK_BYTES), 0);
	return path;
}

static const char full[] =
	"{\"machine\":{\"vcpus\":2,\"smt\":true,\"track_dirty_pages\":true,"
	"\"cpu_config\":\"{\\\"msr_modifiers\\\":[]}\"},"
	"\"drives\":[{\"drive_id\":\"data-1\",\"path\":\"/d\",\"cache_type\":\"writeback\","
	"\"io_engine\":\"async\",\"rate_limiter\":{\"ops\":{\"size\":9223372036854775807,"
	"\"one_time_burst\":5,\"refill_time_ms\":50}}}],"
	"\"network_interfaces\":[{\"interface_id\":\"eth-0\",\"mtu\":1400,\"mmds\":true,"
	"\"guest_mac\":\"02:00:00:00:00:0A\","
	"\"rx_rate_limiter\":{\"ops\":{\"size\":8,\"refill_time_ms\":9}}}],"
	"\"devices\":{\"vsock\":{\"guest_cid\":4294967294},"
	"\"balloon\":{\"amount_mib\":4,\"deflate_on_oom\":true,\"stats_interval\":3600000000,"
	"\"free_page_hinting\":true,\"free_page_reporting\":true},"
	"\"entropy\":{\"rate_limiter\":{\"bandwidth\":{\"size\":1000,\"one_time_burst\":3,"
	"\"refill_time_ms\":100}}},"
	"\"mmds\":{\"content\":\"{\\\"a\\\":1}\",\"ipv4_address\":\"169.254.7.7\","
	"\"imds_compat\":true}}}";

Test(firecracker_spec, a_full_spec_boots_and_is_as_it_was_asked_for)
{
	static const char *const words[] = {
		"\"mem_size_mib\":16,\"smt\":true,\"track_dirty_pages\":true,\"vcpu_count\":2}",
		"\"cache_type\":\"Writeback\",\"drive_id\":\"data_1\",\"io_engine\":\"Async\",",
		"\"rate_limiter\":{\"bandwidth\":null,\"ops\":{\"one_time_burst\":5,"
		"\"refill_time\":50,\"size\":9223372036854775807}}",
		"\"guest_mac\":\"02:00:00:00:00:0a\",\"host_dev_name\":\"h",
		"\"iface_id\":\"eth_0\",\"mtu\":1400,\"rx_rate_limiter\":{\"bandwidth\":null,"
		"\"ops\":{\"one_time_burst\":null,\"refill_time\":9,\"size\":8}},"
		"\"tx_rate_limiter\":null",
		"\"vsock\":{\"guest_cid\":4294967294,",
		"\"balloon\":{\"amount_mib\":4,\"deflate_on_oom\":true,\"free_page_hinting\":true,"
		"\"free_page_reporting\":true,\"stats_polling_interval_s\":3600}",
		"\"entropy\":{\"rate_limiter\":{\"bandwidth\":{\"one_time_burst\":3,"
		"\"refill_time\":100,\"size\":1000},\"ops\":null}}",
		"\"mmds-config\":{\"imds_compat\":true,\"ipv4_address\":\"169.254.7.7\",",
		"\"network_interfaces\":[\"eth_0\"],\"version\":\"V2\"}",
	};
	QemuBench *bench = bench_with(full);
	VmDrive *drive = bench->spec->drives.items;
	Error err = { 0 };
	int r;

	need_taps(bench);
	free(drive->path);
	drive->path = make_disk(bench);
	cr_expect_eq(spec_check(bench->spec, &err), 0, "%s", err.what);

	r = bench->backend->ops->start(bench->backend, &bench->job, &err);

	cr_expect_eq(r, 0, "%s", err.what);
	if (r == 0) {
		qemu_bench_wait_console(bench, "tick 1");
		check_config(bench, words, array_size(words));
		check_content(bench, "{\"a\":1}");
	}
	bench_end(bench);
}

static void check_refused(QemuBench *bench, const char *words)
{
	Error err = { 0 };

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_VMM_FAILED);
	cr_assert_not_null(strstr(err.what, words), "%s", err.what);
	cr_assert_eq(qemu_bench_look(bench), VM_STOPPED);
}

Test(firecracker_spec, a_cpu_configuration_is_really_told)
{
	cleanup_(qemu_bench_freep) QemuBench *bench =
		bench_with("{\"machine\":{\"cpu_config\":\"{\\\"wheels\\\":4}\"}}");

	check_refused(bench, "unknown field `wheels`");
}

/* Which templates there are for a CPU is Firecracker's to know: it boots, or says why not. */
Test(firecracker_spec, a_cpu_template_is_applied_or_refused_in_words)
{
	cleanup_(qemu_bench_freep) QemuBench *bench =
		bench_with("{\"machine\":{\"cpu_template\":\"t2a\"}}");
	static const char *const words[] = { "\"cpu_template\":\"T2A\"" };
	Error err = { 0 };

	if (bench->backend->ops->start(bench->backend, &bench->job, &err) == 0)
		check_config(bench, words, array_size(words));
	else
		cr_assert_not_null(strcasestr(err.what, "cpu"), "%s", err.what);
}

Test(firecracker_spec, the_guests_socket_is_where_it_is_said_to_be_while_it_runs)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = bench_with("{\"devices\":{\"vsock\":{}}}");
	cleanup_free char *path = text_printf("%s/vsock.sock", bench->run_dir);
	VmmExit exit;
	struct stat st;

	/* One left by a VMM that was killed is in nobody's way. */
	cr_assert_eq(file_write_atomic(path, "", 0), 0);

	qemu_bench_start(bench);

	cr_assert_str_eq(bench->resolved.vsock_path, path);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(S_ISSOCK(st.st_mode));
	qemu_bench_stop(bench, -1, -1);
	exit = qemu_bench_wait_exit(bench);
	free(exit.console_tail);
	cr_assert_eq(stat(path, &st), -1);
}

Test(firecracker_spec, a_serial_port_with_a_limit_is_heard)
{
	cleanup_(qemu_bench_freep) QemuBench *bench = bench_with("{}");

	container_of(bench->backend, Firecracker, backend)->config.console_rate = CONSOLE_BYTES;

	qemu_bench_start(bench);

	qemu_bench_wait_console(bench, "tick 1");
}

Test(firecracker_spec, more_huge_pages_than_the_host_has_start_nothing)
{
	cleanup_(qemu_bench_freep) QemuBench *bench =
		bench_with("{\"machine\":{\"huge_pages\":\"2m\"}}");
	Error err = { 0 };

	bench->spec->machine->memory_mib = 1048576;

	cr_assert_eq(bench->backend->ops->start(bench->backend, &bench->job, &err), -1);

	cr_assert_eq(err.kind, ERROR_CAPACITY);
	cr_assert_str_eq(err.resource, "huge_pages_2m");
	cr_assert_eq(err.requested, 524288);
	cr_assert_eq(bench->resolved.vmm_pid, 0);
}

Test(firecracker_spec, a_guest_runs_on_huge_pages_where_the_host_has_them)
{
	cleanup_(qemu_bench_freep) QemuBench *bench =
		bench_with("{\"machine\":{\"huge_pages\":\"2m\"}}");
	static const char *const words[] = { "\"huge_pages\":\"2M\"" };
	Error err = { 0 };

	if (huge_pages_check(bench->spec, NULL, &err) < 0) {
		qemu_bench_free(take_ptr(bench));
		skip("the host has no eight free huge pages");
	}

	qemu_bench_start(bench);

	qemu_bench_wait_console(bench, "tick 1");
	check_config(bench, words, array_size(words));
}

/* A JSON object of CONTENT_MAX bytes and as deep as can be, of numbers such as @number, which are
 * written out at length. */
static char *largest_content(const char *number)
{
	char *text = new0_array(char, CONTENT_MAX + 1), *at = text;
	size_t inner = DEPTH_MAX - 1;

	at = stpcpy(at, "{\"deep\":");
	memset(at, '[', inner);
	memset(at + inner, ']', inner);
	at = stpcpy(at + 2 * inner, ",\"text\":\"\xc3\xbc\\u0001\",\"long\":[0");
	while (at + strlen(number) + 3 <= text + CONTENT_MAX)
		at = stpcpy(stpcpy(at, ","), number);
	at = stpcpy(at, "]}");
	memset(at, ' ', (size_t)(text + CONTENT_MAX - at));
	return text;
}

Test(firecracker_spec, the_largest_mmds_content_boots_and_is_exchanged_for_another)
{
	QemuBench *bench = bench_with(
		"{\"network_interfaces\": [{\"interface_id\": \"eth-0\", \"mmds\": true}],"
		" \"devices\": {\"mmds\": {}}}");
	VmMmds *mmds = bench->spec->devices->mmds;
	VmSpec *to = NULL;
	Error err = { 0 };
	int r;

	need_taps(bench);
	mmds->content = largest_content("0.1");
	to = spec_copy(bench->spec);
	free(to->devices->mmds->content);
	to->devices->mmds->content = largest_content("0.7");
	cr_expect_eq(spec_check(bench->spec, &err), 0, "%s", err.what);
	cr_expect_eq(spec_check(to, &err), 0, "%s", err.what);

	r = bench->backend->ops->start(bench->backend, &bench->job, &err);

	cr_expect_eq(r, 0, "%s", err.what);
	if (r == 0) {
		qemu_bench_wait_console(bench, "tick 1");
		check_content(bench, mmds->content);
		cr_expect_eq(bench->backend->ops->update(bench->backend, &bench->job, to, &err), 0,
			     "%s", err.what);
		check_content(bench, to->devices->mmds->content);
	}
	spec_unref(to);
	bench_end(bench);
}

static void put_text(char **member, char *text)
{
	free(*member);
	*member = text;
}

/* The files that @spec names are there, and its CPU template is one of this architecture's. */
static void fit_host(const QemuBench *bench, VmSpec *spec)
{
	cleanup_free char *disk = make_disk(bench);

	put_text(&spec->boot->kernel_path, text_dup(bench->spec->boot->kernel_path));
	if (spec->boot->initrd_path)
		put_text(&spec->boot->initrd_path, text_dup(disk));
	for (size_t i = 0; i < spec->drives.count; i++)
		put_text(&((VmDrive *)spec->drives.items)[i].path, text_dup(disk));
	if (spec->machine && spec->machine->cpu_template == VM_CPU_TEMPLATE_V1N1)
		spec->machine->cpu_template = VM_CPU_TEMPLATE_UNSET;
}

/* A Firecracker that waits to be told of a VM; its taps are made as it is, and go with it. */
static FirecrackerApi *launch(QemuBench *bench)
{
	cleanup_free char *firecracker = firecracker_bench_find();
	cleanup_free char *keeper = text_printf("%s/hearth-keeper", bench->bin);
	cleanup_free char *metrics = text_printf("%s/metrics.fifo", bench->run_dir);
	cleanup_free char *socket = firecracker_socket_path(&bench->job);
	char option[] = "--api-sock";
	char *argv[] = { firecracker, option, socket, NULL };
	const KeeperConfig config = {
		.keeper_path = keeper,
		.run_dir = bench->run_dir,
		.console_max_bytes = CONSOLE_BYTES,
		.metrics_fifo = metrics,
		.vmm_argv = argv,
	};
	FirecrackerApi *api = NULL;
	KeeperState state;
	Error err = { 0 };

	firecracker_clear_run_dir(&bench->job);
	cr_assert_eq(vmm_process_clear_socket(socket, &err), 0, "%s", err.what);
	cr_assert_eq(keeper_start(&state, &config, &err), 0, "%s", err.what);
	cr_assert_eq(firecracker_connect(&api, &bench->job, -1, -1, 0, &err), 0, "%s", err.what);
	cr_assert_eq(firecracker_api_wait(api, FIRECRACKER_LISTEN_TIMEOUT, &err), 0, "%s",
		     err.what);
	return api;
}

/* Tells Firecracker all of @spec, short of the boot. */
static void tell(FirecrackerApi *api, const QemuBench *bench, const VmSpec *spec)
{
	cleanup_(firecracker_paths_clear) FirecrackerPaths paths = { 0 };
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = NULL;
	cleanup_free char *args = firecracker_boot_args(spec);
	VmResolvedInterface taps[SPEC_INTERFACES_MAX] = { { 0 } };
	char names[SPEC_INTERFACES_MAX][TAP_NAME_MAX];
	FirecrackerPlan plan = {
		.spec = spec,
		.boot_args = args,
		.paths = &paths,
		.taps = taps,
		.console_rate = 1,
	};
	Error err = { 0 };

	for (unsigned i = 0; i < SPEC_INTERFACES_MAX; i++) {
		tap_name(names[i], bench->resolved.instance_id, i);
		taps[i].host_device = names[i];
	}
	firecracker_paths_plain(&paths, spec, bench->run_dir);
	cr_assert(firecracker_version_parse(&plan.version, "1.17.0"));
	boot = firecracker_boot_new(&plan);
	for (size_t i = 0; i < boot->count; i++) {
		const FirecrackerCall call = { FIRECRACKER_CONFIGURE, "PUT", boot->puts[i].path,
					       boot->puts[i].body };
		cleanup_free char *body = json_dumps(call.body, JSON_COMPACT);

		cr_expect_eq(firecracker_api_call(api, &call, NULL, &err), 0, "%s: %s", err.what,
			     body);
		error_clear(&err);
	}
}

static void check_told(const QemuBench *bench, const VmSpec *spec)
{
	json_t *config = get(bench, "/vm/config");
	const json_t *machine = json_object_get(config, "machine-config");

	cr_expect_eq(json_array_size(json_object_get(config, "drives")), spec->drives.count);
	cr_expect_eq(json_array_size(json_object_get(config, "network-interfaces")),
		     spec->network_interfaces.count);
	cr_expect_eq(json_integer_value(json_object_get(machine, "vcpu_count")), spec_vcpus(spec));
	cr_expect_eq((uint64_t)json_integer_value(json_object_get(machine, "mem_size_mib")),
		     spec_memory_mib(spec));
	cr_expect_eq(json_is_object(json_object_get(config, "vsock")), spec_vsock(spec) != NULL);
	cr_expect_eq(json_is_object(json_object_get(config, "balloon")),
		     spec_balloon(spec) != NULL);
	json_decref(config);
}

/* Nothing is booted: guests of any size, with more CPUs than there are. */
Test(firecracker_spec, firecracker_takes_whatever_passes_the_check_of_a_spec)
{
	QemuBench *bench = bench_with("{}");

	need_taps(bench);
	srandom(9);
	for (int i = 0; i < RANDOM_SPECS; i++) {
		cleanup_(spec_unrefp) VmSpec *spec = random_spec_new();
		cleanup_(firecracker_api_closep) FirecrackerApi *api = launch(bench);

		fit_host(bench, spec);

		tell(api, bench, spec);

		check_told(bench, spec);
		cr_expect_eq(keeper_kill(bench->run_dir, QEMU_BENCH_LONG), 0);
	}
	bench_end(bench);
}
