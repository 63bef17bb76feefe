/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/firecracker_probe.h"
#include "runtime/vmm_process.h"

#include <string.h>

/*
 * VMs on Firecracker, each under a keeper, driven by its API.
 *
 * Firecracker starts empty and is told of its machine piece by piece;
 * InstanceStart is what boots the guest. Its log goes to standard output, and
 * so to vmm.log; the guest's serial port to the keeper's console pipe. It ends
 * with 0 when the guest resets, for whatever reason: how the guest ended is
 * read from the console.
 */

char *firecracker_socket_path(const Job *job)
{
	return text_printf("%s/firecracker.sock", job->run_dir);
}

int firecracker_connect(FirecrackerApi **ret, const Job *job, int vmm_pidfd, int cancel_fd,
			int64_t patience, Error *err)
{
	cleanup_free char *path = firecracker_socket_path(job);
	FirecrackerApiConfig config = {
		.socket_path = path,
		.vmm_pidfd = vmm_pidfd,
		.cancel_fd = cancel_fd,
	};

	for (int i = 0; i < FIRECRACKER_KIND_COUNT_; i++)
		config.timeouts[i] = patience;
	return firecracker_api_open(ret, &config, err);
}

static void probe(Backend *backend, BackendInfo *ret)
{
	Firecracker *firecracker = container_of(backend, Firecracker, backend);

	firecracker_probe(ret, &firecracker->config);
	lock_take(&firecracker->lock);
	firecracker->probed = true;
	firecracker->info = *ret;
	lock_drop(&firecracker->lock);
}

BackendInfo firecracker_info(Firecracker *firecracker)
{
	BackendInfo info;
	bool probed;

	lock_take(&firecracker->lock);
	probed = firecracker->probed;
	info = firecracker->info;
	lock_drop(&firecracker->lock);
	if (!probed)
		probe(&firecracker->backend, &info);
	return info;
}

static void resolve(Job *job, const BackendInfo *info)
{
	VmResolved *resolved = job->resolved;

	free(resolved->boot_args);
	free(resolved->accelerator);
	free(resolved->vmm_version);
	resolved->boot_args = firecracker_boot_args(job->spec);
	resolved->accelerator = text_dup(info->accelerator);
	resolved->vmm_version = text_dup(info->version);
	resolved->vcpus = spec_vcpus(job->spec);
	resolved->memory_mib = spec_memory_mib(job->spec);
	resolved->vmm_pid = resolved->keeper_pid = 0;
	resolved->start_time = 0;
}

static int prepare(Firecracker *firecracker, Job *job, const char *socket, Error *err)
{
	BackendInfo info = firecracker_info(firecracker);

	/* The VMM may be an older one than when the VM was created. */
	if (firecracker_can(&info, job->spec, err) < 0)
		return -1;
	if (!job->spec->boot || text_equal(job->spec->boot->kernel_path, ""))
		return error_add_violation(err, "spec.boot.kernel_path", "required by firecracker");
	if (vmm_process_clear_socket(socket, err) < 0)
		return -1;
	resolve(job, &info);
	return 0;
}

static int launch(const Firecracker *firecracker, Job *job, const char *socket, Error *err)
{
	const char *const words[] = {
		firecracker->firecracker_path,
		"--api-sock",
		socket,
		"--id",
		job->vm_id,
		"--level",
		"Warning",
	};
	char *argv[array_size(words) + 1] = { NULL };
	const KeeperConfig config = {
		.keeper_path = firecracker->keeper_path,
		.run_dir = job->run_dir,
		.console_max_bytes = firecracker->config.console_max_bytes,
		.console_rate = firecracker->config.console_rate,
		.vmm_argv = argv,
	};
	int r;

	for (size_t i = 0; i < array_size(words); i++)
		argv[i] = text_dup(words[i]);
	r = vmm_process_launch(&config, job, err);
	for (size_t i = 0; i < array_size(words); i++)
		free(argv[i]);
	return r;
}

static int configure(FirecrackerApi *api, const Job *job, Error *err)
{
	cleanup_(firecracker_boot_freep) FirecrackerBoot *boot =
		firecracker_boot_new(job->spec, job->resolved->boot_args);

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

static int boot_guest(FirecrackerApi *api, Error *err)
{
	json_t *body = firecracker_action_new("InstanceStart");
	const FirecrackerCall call = { FIRECRACKER_BOOT, "PUT", "/actions", body };
	int r = firecracker_api_call(api, &call, NULL, err);

	json_decref(body);
	return r;
}

/* @refused: the error has Firecracker's own words. */
static int boot(Job *job, bool *refused, Error *err)
{
	cleanup_close int vmm = -1;
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;

	job_step(job, "connect");
	if (vmm_process_open(&vmm, job, "firecracker", err) < 0 ||
	    firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0 ||
	    firecracker_api_wait(api, FIRECRACKER_LISTEN_TIMEOUT, err) < 0)
		return -1;
	job_step(job, "configure");
	if (configure(api, job, err) < 0) {
		*refused = firecracker_api_refused(api);
		return -1;
	}
	job_step(job, "boot");
	if (boot_guest(api, err) < 0) {
		*refused = firecracker_api_refused(api);
		return -1;
	}
	job->resolved->start_time = clock_wall_us();
	return 0;
}

static int start(Backend *backend, Job *job, Error *err)
{
	Firecracker *firecracker = container_of(backend, Firecracker, backend);
	cleanup_free char *socket = firecracker_socket_path(job);
	off_t log_from = vmm_process_log_size(job);
	bool refused = false;

	job_step(job, "prepare");
	if (prepare(firecracker, job, socket, err) < 0)
		return -1;
	if (job_cancelled(job))
		return error_set(err, ERROR_VMM_FAILED, "given up before firecracker was started");
	job_step(job, "launch");
	if (launch(firecracker, job, socket, err) == 0 && boot(job, &refused, err) == 0)
		return 0;
	vmm_process_undo_start(job, socket, refused ? -1 : log_from, err);
	return -1;
}

/* A change of whether the guest runs, and how to see that it has worked. */
typedef struct Switch {
	const char *step, *wanted, *state;
} Switch;

static const Switch switch_off = { "pause", "Paused", "Paused" };
static const Switch switch_on = { "resume", "Resumed", "Running" };

static int throw_switch(FirecrackerApi *api, const Switch *to, Error *err)
{
	json_t *body = json_pack("{s:s}", "state", to->wanted);
	const FirecrackerCall call = { FIRECRACKER_SWITCH, "PATCH", "/vm", body };
	FirecrackerInfo info;
	int r = firecracker_api_call(api, &call, NULL, err);

	json_decref(body);
	if (r < 0 || firecracker_api_info(api, &info, err) < 0)
		return -1;
	return strcmp(info.state, to->state) == 0
		       ? 0
		       : error_set(err, ERROR_VMM_FAILED, "firecracker is '%s' after '%s'",
				   info.state, to->step);
}

/* Back to how it was; one that is there and won't go back leaves the VM in nobody knows what. */
static void undo_switch(Job *job, int vmm, const Switch *back)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	Error ignored = { 0 };

	if (firecracker_connect(&api, job, vmm, -1, 0, &ignored) == 0 &&
	    throw_switch(api, back, &ignored) == 0)
		return;
	if (process_wait(vmm, 0) < 0)
		job->poisoned = true;
}

static int change(Job *job, const Switch *to, const Switch *back, Error *err)
{
	cleanup_close int vmm = -1;
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;

	job_step(job, to->step);
	if (vmm_process_open(&vmm, job, "firecracker", err) < 0 ||
	    firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0)
		return -1;
	if (throw_switch(api, to, err) == 0)
		return 0;
	undo_switch(job, vmm, back);
	return -1;
}

static int pause_vm(Backend *backend, Job *job, Error *err)
{
	(void)backend;
	return change(job, &switch_off, &switch_on, err);
}

static int resume(Backend *backend, Job *job, Error *err)
{
	(void)backend;
	return change(job, &switch_on, &switch_off, err);
}

static int look_at(Job *job, int vmm, VmState *ret, Error *err)
{
	cleanup_(firecracker_api_closep) FirecrackerApi *api = NULL;
	FirecrackerInfo info;

	if (firecracker_connect(&api, job, vmm, job->cancel_fd, 0, err) < 0 ||
	    firecracker_api_info(api, &info, err) < 0) {
		/* It may have ended just now. */
		if (process_wait(vmm, 0) < 0)
			return -1;
		error_clear(err);
		*ret = VM_STOPPED;
		return 0;
	}
	if (strcmp(info.state, "Running") == 0)
		*ret = VM_RUNNING;
	else if (strcmp(info.state, "Paused") == 0)
		*ret = VM_PAUSED;
	else if (keeper_kill(job->run_dir, VMM_KILL_TIMEOUT) < 0)
		return error_set(err, ERROR_VMM_FAILED, "firecracker is '%s' and does not end",
				 info.state);
	else
		/* An agent died between launching it and booting the guest, of which nothing ran.
		 */
		*ret = VM_STOPPED;
	return 0;
}

static int look(Backend *backend, Job *job, VmState *ret, Error *err)
{
	(void)backend;
	return vmm_process_look(job, "firecracker", look_at, ret, err);
}

static int exit_fd(Backend *backend, Job *job, int *ret, Error *err)
{
	(void)backend;
	return vmm_process_exit_fd(job, ret, err);
}

static void read_exit(Backend *backend, Job *job, VmmExit *ret)
{
	cleanup_free char *socket = firecracker_socket_path(job);

	(void)backend;
	vmm_process_read_exit(job, socket, ret);
}

static void firecracker_free(Backend *backend)
{
	Firecracker *firecracker = container_of(backend, Firecracker, backend);

	free(firecracker->keeper_path);
	free(firecracker->firecracker_path);
	free(firecracker->state_dir);
	free(firecracker);
}

Backend *firecracker_new(const BackendConfig *config)
{
	static const BackendOps ops = {
		.id = VM_BACKEND_FIRECRACKER,
		.capabilities =
			BACKEND_PAUSE | BACKEND_POWER_BUTTON | BACKEND_CONSOLE | BACKEND_PROCESS,
		.probe = probe,
		.check = firecracker_check,
		.start = start,
		.pause = pause_vm,
		.resume = resume,
		.update = firecracker_update,
		.stop = firecracker_stop,
		.look = look,
		.exit_fd = exit_fd,
		.read_exit = read_exit,
		.free = firecracker_free,
	};
	Firecracker *firecracker = new0(Firecracker);

	firecracker->backend.ops = &ops;
	lock_init(&firecracker->lock);
	firecracker->config = *config;
	firecracker->config.keeper_path = firecracker->keeper_path = text_dup(config->keeper_path);
	firecracker->config.firecracker_path = firecracker->firecracker_path =
		text_dup(config->firecracker_path);
	firecracker->config.state_dir = firecracker->state_dir = text_dup(config->state_dir);
	return &firecracker->backend;
}
