/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/boot_args.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/huge_pages.h"
#include "runtime/jail.h"
#include "runtime/network.h"
#include "runtime/pager_metrics.h"
#include "runtime/vm_taps.h"
#include "runtime/vmm_process.h"

#include <string.h>

/*
 * A start: what it takes on the host (a jail, taps), then keeper and VMM, then
 * all the VMM is told, then the boot. A start that fails removes it all again.
 */

enum {
	WORKING_SET_TIMEOUT = 2 * USEC_PER_SEC,
};

typedef struct Start {
	Firecracker *firecracker;
	Job *job;
	char *socket;
	Jail *jail; /* NULL: not jailed */
	FirecrackerPaths paths;
	FirecrackerVersion version;
	bool refused; /* the error has Firecracker's own words */
} Start;

static void start_clear(Start *start)
{
	free(start->socket);
	jail_free(start->jail);
	firecracker_paths_clear(&start->paths);
}

static void set_text(char **member, char *text)
{
	free(*member);
	*member = text;
}

static void resolve(Job *job, const Network *network, const BackendInfo *info)
{
	VmResolved *resolved = job->resolved;
	cleanup_free char *args = firecracker_boot_args(job->spec);

	record_end_run(resolved);
	set_text(&resolved->boot_args, boot_args_with_network(args, resolved, network));
	set_text(&resolved->accelerator, text_dup(info->accelerator));
	set_text(&resolved->vmm_version, text_dup(info->version));
	resolved->vcpus = spec_vcpus(job->spec);
	resolved->memory_mib = spec_memory_mib(job->spec);
	resolved->start_time = 0;
}

static int prepare(Start *start, Error *err)
{
	Firecracker *firecracker = start->firecracker;
	Job *job = start->job;
	BackendInfo info = probe_cache_get(&firecracker->probes);

	/* The VMM may be an older one than when the VM was created. */
	if (firecracker_can(&info, job->spec, err) < 0)
		return -1;
	if (!job->spec->boot || text_equal(job->spec->boot->kernel_path, ""))
		return error_add_violation(err, "spec.boot.kernel_path", "required by firecracker");
	if (huge_pages_check(job->spec, NULL, err) < 0)
		return -1;
	if (job->restore && firecracker_check_snapshot(firecracker, err) < 0)
		return -1;
	(void)firecracker_version_parse(&start->version, info.version);
	/* Of an earlier run whose agent died before it could. */
	if (firecracker_clear(firecracker, job->resolved->instance_id, err) < 0)
		return -1;
	resolve(job, firecracker->backend.network, &info);
	return 0;
}

static int prepare_plain(Start *start, Error *err)
{
	Job *job = start->job;

	start->socket = firecracker_socket_path(job);
	firecracker_paths_plain(&start->paths, job->spec, job->run_dir);
	firecracker_clear_run_dir(job);
	if (vmm_process_clear_socket(start->socket, err) < 0)
		return -1;
	return launcher_make_group(start->firecracker->config.launcher, job, err);
}

static int prepare_jail(Start *start, Error *err)
{
	const Firecracker *firecracker = start->firecracker;
	VmResolved *resolved = start->job->resolved;
	VmLimits *limits;

	if (jail_new(&start->jail, &firecracker->config, firecracker->firecracker_path, start->job,
		     err) < 0 ||
	    jail_make(start->jail, err) < 0)
		return -1;
	jail_paths(&start->paths, start->job->spec);
	limits = new0(VmLimits);
	*limits = start->jail->limits;
	resolved->limits = limits;
	set_text(&resolved->jail_path, text_dup(start->jail->root));
	set_text(&resolved->cgroup, text_dup(start->jail->group));
	start->socket = firecracker_socket_path(start->job);
	return 0;
}

static int make_host(Start *start, Error *err)
{
	const char *dir;

	if (launcher_prepare(start->firecracker->config.launcher, err) < 0)
		return -1;
	if (start->firecracker->config.jail.jailer_path ? prepare_jail(start, err) < 0
							: prepare_plain(start, err) < 0)
		return -1;
	dir = start->jail ? start->jail->root : start->job->run_dir;
	if (spec_vsock(start->job->spec))
		set_text(&start->job->resolved->vsock_path, text_printf("%s/vsock.sock", dir));
	if (vm_taps_add(start->job, start->jail ? start->jail->uid : (uid_t)-1, err) < 0)
		return -1;
	return network_attach(start->firecracker->backend.network, start->job, err);
}

/*
 * Firecracker's own bound on a body is what a spec may have of MMDS content, which has grown when
 * it is sent: 0.1 goes as 0.10000000000000001, and a comma with it, five times as long. No JSON of
 * ours grows more.
 */
static const char body_max[] = "262144";

/* The VMM's command line, without and with the jailer's around it. */
static char **command_of(const Start *start)
{
	const char *const args[] = {
		"--api-sock",
		start->jail ? "/api.sock" : start->socket,
		"--level",
		"Warning",
		"--http-api-max-payload-size",
		body_max,
		"--mmds-size-limit",
		body_max,
	};
	Words words = { 0 };

	if (start->jail)
		return jail_argv(start->jail, args, array_size(args));
	words_add(&words, start->firecracker->firecracker_path);
	for (size_t i = 0; i < array_size(args); i++)
		words_add(&words, args[i]);
	words_add_option(&words, "--id", start->job->vm_id); /* which a jailer gives itself */
	return words.items;
}

/* What its pager is told, and what that refers to. */
typedef struct Paging {
	KeeperPagerConfig config;
	char *memory, *socket;
} Paging;

static void paging_clear(Paging *paging)
{
	free(paging->memory);
	free(paging->socket);
}

/* NULL: its memory does not come page by page. */
static const KeeperPagerConfig *paging_of(Paging *ret, const Start *start)
{
	const RestoreFrom *restore = start->job->restore;
	bool known;

	if (!restore || !restore->paged)
		return NULL;
	known = access(restore->working_set, F_OK) == 0;
	ret->memory = text_printf("%s/" SNAPSHOT_MEMORY, restore->dir);
	ret->socket = text_printf("%s/" JAIL_PAGER, start->jail->root);
	ret->config = (KeeperPagerConfig){
		.path = start->firecracker->pager_path,
		.memory_file = ret->memory,
		.socket = ret->socket,
		.working_set = known ? restore->working_set : NULL,
		.record = known ? NULL : restore->working_set,
	};
	return &ret->config;
}

static int launch(const Start *start, Error *err)
{
	const BackendConfig *config = &start->firecracker->config;
	const Jail *jail = start->jail;
	cleanup_(words_freep) char **argv = command_of(start);
	cleanup_free char *metrics =
		text_printf("%s/metrics.fifo", jail ? jail->root : start->job->run_dir);
	cleanup_free char *console = jail ? text_printf("%s/console.fifo", jail->root) : NULL;
	cleanup_(words_freep) char **groups =
		vmm_process_groups(config->launcher, start->job, jail ? &jail->cgroups : NULL);
	cleanup_free char *own_group = jail ? cgroup_own(&jail->cgroups) : NULL;
	const KeeperJailConfig inside = {
		.root = jail ? jail->root : NULL,
		.uid = jail ? jail->uid : 0,
		.files = jail ? jail->files : NULL,
		.count = jail ? jail->count : 0,
		.own_group = own_group,
	};
	cleanup_(paging_clear) Paging paging = { .memory = NULL };
	const KeeperConfig keeper = {
		.keeper_path = config->keeper_path,
		.run_dir = start->job->run_dir,
		.console_max_bytes = config->console_max_bytes,
		.console_rate = config->console_rate,
		.console_fifo = console,
		.metrics_fifo = metrics,
		.jail = jail ? &inside : NULL,
		.pager = paging_of(&paging, start),
		.vmm_argv = argv,
		.groups = groups,
	};

	if (vmm_process_launch(&keeper, start->job, err) < 0)
		return -1;
	return jail ? 0 : launcher_verify_group(config->launcher, start->job, err);
}

static FirecrackerPlan plan_of(const Start *start)
{
	const VmResolved *resolved = start->job->resolved;

	return (FirecrackerPlan){
		.spec = start->job->spec,
		.boot_args = resolved->boot_args,
		.paths = &start->paths,
		.taps = resolved->network_interfaces.items,
		.version = start->version,
		.console_rate = start->firecracker->config.console_rate,
		.paged = start->job->restore && start->job->restore->paged,
		.restores = start->job->restore,
	};
}

static int configure(FirecrackerApi *api, const Start *start, Error *err)
{
	const FirecrackerPlan plan = plan_of(start);
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot = firecracker_boot_new(&plan);

	for (size_t i = 0; i < boot->count; i++) {
		const FirecrackerCall call = {
			.kind = FIRECRACKER_CONFIGURE,
			.method = "PUT",
			.path = boot->puts[i].path,
			.body = boot->puts[i].body,
		};

		if (firecracker_api_call(api, &call, NULL, err) < 0)
			return -1;
	}
	return 0;
}

static int send(FirecrackerApi *api, FirecrackerKind kind, const char *method, const char *path,
		json_t *body, Error *err)
{
	const FirecrackerCall call = { kind, method, path, body };
	int r = firecracker_api_call(api, &call, NULL, err);

	json_decref(body);
	return r;
}

static int boot_guest(FirecrackerApi *api, Error *err)
{
	return send(api, FIRECRACKER_BOOT, "PUT", "/actions",
		    firecracker_action_new("InstanceStart"), err);
}

/* What a guest finds in its metadata is in no snapshot. */
static int restore_mmds(FirecrackerApi *api, const VmSpec *spec, Error *err)
{
	const VmMmds *mmds = spec_mmds(spec);

	if (!mmds || text_equal(mmds->content, ""))
		return 0;
	return send(api, FIRECRACKER_ACT, "PUT", "/mmds", json_loads(mmds->content, 0, NULL), err);
}

/* What comes before the guest goes on costs it no fault; what takes too long comes beside it. */
static void await_working_set(const Job *job)
{
	int64_t until = clock_mono_us() + WORKING_SET_TIMEOUT;

	while (pager_metrics_installed(job->run_dir) == 0 && clock_mono_us() < until &&
	       !job_cancelled(job))
		clock_sleep_us(USEC_PER_MSEC);
}

static int restore_guest(FirecrackerApi *api, const Start *start, Error *err)
{
	const FirecrackerPlan plan = plan_of(start);

	if (send(api, FIRECRACKER_SNAPSHOT, "PUT", "/snapshot/load", firecracker_load_new(&plan),
		 err) < 0 ||
	    restore_mmds(api, start->job->spec, err) < 0)
		return -1;
	if (start->job->restore->paused)
		return 0;
	if (start->job->restore->paged)
		await_working_set(start->job);
	return send(api, FIRECRACKER_SWITCH, "PATCH", "/vm", json_pack("{s:s}", "state", "Resumed"),
		    err);
}

static int boot(Start *start, Error *err)
{
	Job *job = start->job;
	cleanup_close int vmm = -1;
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	int r;

	job_step(job, "connect");
	if (vmm_process_open(&vmm, job, "firecracker", err) < 0 ||
	    firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0 ||
	    firecracker_api_wait(api, FIRECRACKER_LISTEN_TIMEOUT, err) < 0)
		return -1;
	/* Not before it listens: until it is executed it is still the jailer's child, and root. */
	if (start->jail && jail_verify(start->jail, (pid_t)job->resolved->vmm_pid, err) < 0)
		return -1;
	job_step(job, "configure");
	r = configure(api, start, err);
	if (r == 0) {
		job_step(job, job->restore ? "restore" : "boot");
		r = job->restore ? restore_guest(api, start, err) : boot_guest(api, err);
	}
	start->refused = firecracker_api_refused(api);
	if (r == 0)
		job->resolved->start_time = clock_wall_us();
	return r;
}

static int carry_out(Start *start, Error *err)
{
	Job *job = start->job;

	job_step(job, "host");
	if (make_host(start, err) < 0)
		return -1;
	if (job_cancelled(job))
		return error_set(err, ERROR_VMM_FAILED, "given up before firecracker was started");
	job_step(job, "launch");
	return launch(start, err) < 0 || boot(start, err) < 0 ? -1 : 0;
}

/* @err tells why; what the VMM itself said since @log_from is added. */
static void undo(const Start *start, off_t log_from, Error *err)
{
	Job *job = start->job;
	Error left = { 0 };

	vmm_process_undo_start(job, start->socket ? start->socket : "",
			       start->refused ? -1 : log_from, err);
	if (firecracker_clear(start->firecracker, job->resolved->instance_id, &left) < 0)
		job->poisoned = true;
	record_end_run(job->resolved);
}

int firecracker_start(Backend *backend, Job *job, Error *err)
{
	cleanup_(start_clear) Start start = {
		.firecracker = container_of(backend, Firecracker, backend),
		.job = job,
	};
	off_t log_from = vmm_process_log_size(job);

	job_step(job, "prepare");
	if (prepare(&start, err) < 0)
		return -1;
	if (carry_out(&start, err) == 0)
		return 0;
	undo(&start, log_from, err);
	return -1;
}
