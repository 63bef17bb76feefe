/* SPDX-License-Identifier: Apache-2.0 */

/* Updates of a running VM, on the real Firecracker, with tests/guest as the guest. */

#include "runtime/keeper_link.h"
#include "tests/support/firecracker_bench.h"
#include "tests/support/lone_job.h"
#include "tests/unit/firecracker_update_suite.h"

#include <unistd.h>

enum {
	CONSOLE_MAX = 64 * 1024,
};

/* Stand in for the core's: steps go by, and nothing cancels. */
/* What it is told before the boot, all that can change. */
static const char *const puts_before[][2] = {
	{ "/machine-config", "{\"vcpu_count\": 1, \"mem_size_mib\": 16}" },
	{ "/mmds/config", "{\"network_interfaces\": [\"e\"], \"version\": \"V2\"}" },
	{ "/balloon", "{\"amount_mib\": 8, \"deflate_on_oom\": false, "
		      "\"stats_polling_interval_s\": 1}" },
};

typedef struct Real {
	QemuBench *bench;
	char *disks[4];
	VmSpec *spec, *to;
	FirecrackerApi *api;
	int vmm;
	Error err;
} Real;

static json_t *ask(Real *real, const char *method, const char *path, const json_t *body)
{
	const FirecrackerCall call = { FIRECRACKER_ACT, method, path, body };
	json_t *answer = NULL;
	Error err = { 0 };

	cr_assert_eq(firecracker_api_call(real->api, &call, &answer, &err), 0, "%s", err.what);
	return answer;
}

static void put_text(Real *real, const char *path, const char *text)
{
	json_t *body = json_loads(text, 0, NULL);

	cr_assert_not_null(body, "%s", text);
	cr_assert_null(ask(real, "PUT", path, body));
	json_decref(body);
}

static void set_disk(VmSpec *spec, size_t i, const char *path)
{
	VmDrive *drive = &((VmDrive *)spec->drives.items)[i];

	free(drive->path);
	drive->path = text_dup(path);
}

/* Starts it under a keeper and boots the guest. */
static void real_open(Real *real)
{
	cleanup_free char *firecracker = firecracker_bench_find();
	cleanup_free char *keeper = NULL, *boot = NULL, *interface = NULL;
	char option[] = "--api-sock";
	char *argv[] = { firecracker, option, NULL, NULL };
	KeeperConfig config = { .console_max_bytes = CONSOLE_MAX, .vmm_argv = argv };
	KeeperState state;
	Error err = { 0 };

	*real = (Real){ .bench = firecracker_bench_new("exit=loop"), .vmm = -1 };
	keeper = text_printf("%s/hearth-keeper", real->bench->bin);
	config.keeper_path = keeper;
	config.run_dir = real->bench->run_dir;
	argv[2] = firecracker_socket_path(&real->bench->job);
	cr_assert_eq(keeper_start(&state, &config, &err), 0, "%s", err.what);
	free(argv[2]);
	cr_assert_eq(keeper_open_vmm(&real->vmm, &state), 0);
	cr_assert_eq(firecracker_connect(&real->api, &real->bench->job, real->vmm, -1, 0, &err), 0);
	cr_assert_eq(firecracker_api_wait(real->api, FIRECRACKER_LISTEN_TIMEOUT, &err), 0);

	real->spec = spec_from_text(old_text);
	real->to = spec_from_text(new_text);
	for (size_t i = 0; i < array_size(real->disks); i++) {
		real->disks[i] = text_printf("%s/%zu.img", real->bench->dir, i);
		qemu_bench_write_script(real->disks[i], "not much of a disk");
		set_disk(i < 2 ? real->spec : real->to, i % 2, real->disks[i]);
	}
	real->bench->job.spec = real->spec;

	/* A tap that nobody made is made, and goes with the VMM. */
	interface = text_printf("{\"iface_id\": \"e\", \"host_dev_name\": \"hearth%d\"}", getpid());
	put_text(real, "/network-interfaces/e", interface);
	for (size_t i = 0; i < array_size(puts_before); i++)
		put_text(real, puts_before[i][0], puts_before[i][1]);
	for (size_t i = 0; i < 2; i++) {
		cleanup_free char *path = text_printf("/drives/%c", "ab"[i]);
		cleanup_free char *body =
			text_printf("{\"drive_id\": \"%c\", \"path_on_host\": \"%s\", "
				    "\"is_root_device\": false}",
				    "ab"[i], real -> disks[i]);

		put_text(real, path, body);
	}
	boot = text_printf("{\"kernel_image_path\": \"%s\", \"boot_args\": \"exit=halt\"}",
			   real->bench->spec->boot->kernel_path);
	put_text(real, "/boot-source", boot);
	put_text(real, "/actions", "{\"action_type\": \"InstanceStart\"}");
}

static void real_close(Real *real)
{
	for (size_t i = 0; i < array_size(real->disks); i++)
		free(real->disks[i]);
	spec_unref(real->spec);
	spec_unref(real->to);
	firecracker_api_close(real->api);
	closep(&real->vmm);
	qemu_bench_free(real->bench);
}

/* A guest that halts has no driver for a balloon, so that Firecracker refuses to be told of one. */
static void leave_balloon(Real *real)
{
	*real->to->devices->balloon = *real->spec->devices->balloon;
}

static int update_real(Real *real, const VmSpec *to)
{
	error_clear(&real->err);
	return firecracker_update(real->bench->backend, &real->bench->job, to, &real->err);
}

/* What Firecracker says that it has is @spec's. */
static void check_has(Real *real, const VmSpec *spec)
{
	bool limited = spec_interface(spec, 0)->tx_rate_limiter;
	json_t *config = ask(real, "GET", "/vm/config", NULL);
	json_t *metadata = ask(real, "GET", "/mmds", NULL);
	json_t *content =
		json_loads(spec_mmds(spec)->content ? spec_mmds(spec)->content : "{}", 0, NULL);
	json_t *drives = json_object_get(config, "drives");
	json_t *interface = json_array_get(json_object_get(config, "network-interfaces"), 0);
	json_t *ops = json_object_get(json_object_get(interface, "tx_rate_limiter"), "ops");

	cr_assert_eq(json_array_size(drives), 2);
	for (size_t i = 0; i < 2; i++) {
		const json_t *drive = json_array_get(drives, i);
		const char *id = json_string_value(json_object_get(drive, "drive_id"));

		cr_assert_str_eq(json_string_value(json_object_get(drive, "path_on_host")),
				 spec_drive(spec, *id == 'b')->path);
	}
	cr_assert_eq(json_integer_value(json_object_get(ops, "size")), limited ? 1 : 0);
	cr_assert_eq(json_integer_value(
			     json_object_get(json_object_get(config, "balloon"), "amount_mib")),
		     (json_int_t)spec_balloon(spec)->amount_mib);
	cr_assert(json_equal(metadata, content));
	json_decref(config);
	json_decref(metadata);
	json_decref(content);
}

Test(firecracker_update, firecracker_takes_disks_limits_and_metadata_there_and_back)
{
	Real real;

	real_open(&real);
	leave_balloon(&real);

	cr_assert_eq(update_real(&real, real.to), 0, "%s", real.err.what);

	check_has(&real, real.to);
	real.bench->job.spec = real.to;
	cr_assert_eq(update_real(&real, real.spec), 0, "%s", real.err.what);
	check_has(&real, real.spec);
	cr_assert_eq(qemu_bench_look(real.bench), VM_RUNNING);
	real_close(&real);
}

Test(firecracker_update, a_disk_that_is_gone_is_refused_in_firecrackers_words_and_all_stays)
{
	Real real;

	real_open(&real);
	leave_balloon(&real);
	cr_assert_eq(unlink(real.disks[3]), 0);

	cr_assert_eq(update_real(&real, real.to), -1);

	cr_assert_not_null(strstr(real.err.what, "PATCH /drives/b: 400: "), "%s", real.err.what);
	cr_assert_not_null(strstr(real.err.what, "No such file or directory"), "%s", real.err.what);
	cr_assert_not(real.bench->job.poisoned);
	check_has(&real, real.spec);
	real_close(&real);
}

Test(firecracker_update, a_balloon_without_a_driver_is_refused_and_all_before_it_undone)
{
	Real real;

	real_open(&real);

	cr_assert_eq(update_real(&real, real.to), -1);

	cr_assert_not_null(strstr(real.err.what, "PATCH /balloon: 400: "), "%s", real.err.what);
	cr_assert_not(real.bench->job.poisoned);
	check_has(&real, real.spec);
	real_close(&real);
}

Test(firecracker_update, what_an_agent_left_half_done_is_made_whole)
{
	VmSpec *half;
	Real real;

	real_open(&real);
	leave_balloon(&real);
	half = spec_copy(real.spec);
	set_disk(half, 1, real.disks[3]);
	cr_assert_eq(update_real(&real, half), 0, "%s", real.err.what);
	cr_assert_eq(unlink(real.disks[0]), 0); /* the VMM has it: nobody need find it again */
	real.bench->job.whole = true;

	cr_assert_eq(update_real(&real, real.spec), 0, "%s", real.err.what);

	check_has(&real, real.spec);
	spec_unref(half);
	real_close(&real);
}

Test(firecracker_update, a_paused_vm_is_updated_as_well)
{
	Real real;

	real_open(&real);
	leave_balloon(&real);
	cr_assert_eq(
		real.bench->backend->ops->pause(real.bench->backend, &real.bench->job, &real.err),
		0);

	cr_assert_eq(update_real(&real, real.to), 0, "%s", real.err.what);

	check_has(&real, real.to);
	cr_assert_eq(qemu_bench_look(real.bench), VM_PAUSED);
	real_close(&real);
}
