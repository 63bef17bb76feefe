/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "runtime/firecracker_boot.h"
#include "runtime/firecracker_internal.h"
#include "runtime/firecracker_probe.h"
#include "runtime/jail.h"
#include "runtime/vm_taps.h"
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
	const char *jail = job->resolved->jail_path;

	return text_equal(jail, "") ? text_printf("%s/firecracker.sock", job->run_dir)
				    : text_printf("%s/api.sock", jail);
}

void firecracker_clear_run_dir(const Job *job)
{
	static const char *const names[] = { "vsock.sock", "metrics.fifo", "pager.sock",
					     "pager.state" };

	for (size_t i = 0; i < array_size(names); i++) {
		cleanup_free char *path = text_printf("%s/%s", job->run_dir, names[i]);

		(void)unlink(path);
	}
}

int firecracker_clear(const Firecracker *firecracker, const char *instance_id, Error *err)
{
	/* Its control group too, jailed or not, and whoever launched it. */
	if (jail_remove(&firecracker->config, instance_id, err) < 0)
		return -1;
	return vm_taps_remove(firecracker->backend.network, instance_id, err);
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

/* The VMM, and the jailer where there is to be one. */
static int look_at_host(BackendInfo *ret, const BackendConfig *config, int cancel_fd)
{
	int r = firecracker_probe(ret, config, cancel_fd);

	return r == 0 && ret->available && config->jail.jailer_path ? jail_probe(ret, config) : r;
}

static void probe(Backend *backend, BackendInfo *ret)
{
	probe_cache_look(&container_of(backend, Firecracker, backend)->probes, ret);
}

static void give_up(Backend *backend)
{
	probe_cache_give_up(&container_of(backend, Firecracker, backend)->probes);
}

static char *guest_path(const Job *job, bool *vsock)
{
	*vsock = true;
	return spec_vsock(job->spec) && job->resolved->vsock_path
		       ? text_dup(job->resolved->vsock_path)
		       : NULL;
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
	if (!vmm_process_ends(vmm))
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
		if (!vmm_process_ends(vmm))
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

/* A jailed VMM whose keeper died lives on: it ends with its jail. */
static void read_exit(Backend *backend, Job *job, VmmExit *ret)
{
	const Firecracker *firecracker = container_of(backend, Firecracker, backend);
	cleanup_free char *socket = firecracker_socket_path(job);
	Error left = { 0 };

	vmm_process_read_exit(job, socket, ret);
	firecracker_clear_run_dir(job);
	if (firecracker_clear(firecracker, job->resolved->instance_id, &left) < 0)
		error_clear(&left); /* the next start or destroy removes it, or says why not */
}

static void find_leftovers(Backend *backend, int64_t grace,
			   void (*each)(void *user, const char *instance_id), void *user)
{
	const Firecracker *firecracker = container_of(backend, Firecracker, backend);

	jail_list(&firecracker->config, grace, each, user);
}

static int remove_leftovers(Backend *backend, const char *instance_id, Error *err)
{
	return firecracker_clear(container_of(backend, Firecracker, backend), instance_id, err);
}

static void firecracker_free(Backend *backend)
{
	Firecracker *firecracker = container_of(backend, Firecracker, backend);

	probe_cache_destroy(&firecracker->probes);
	free(firecracker->keeper_path);
	free(firecracker->pager_path);
	free(firecracker->firecracker_path);
	free(firecracker->jailer_path);
	free(firecracker->jail_dir);
	free(firecracker->jail_group);
	free(firecracker->image_dirs);
	free(firecracker);
}

Backend *firecracker_new(const BackendConfig *config)
{
	static const BackendOps ops = {
		.id = VM_BACKEND_FIRECRACKER,
		.capabilities = BACKEND_PAUSE | BACKEND_POWER_BUTTON | BACKEND_CONSOLE |
				BACKEND_PROCESS | BACKEND_JAIL | BACKEND_SNAPSHOT | BACKEND_PAGER |
				BACKEND_GUEST | BACKEND_DIFF,
		.probe = probe,
		.give_up = give_up,
		.guest_path = guest_path,
		.check = firecracker_check,
		.start = firecracker_start,
		.pause = pause_vm,
		.resume = resume,
		.snapshot = firecracker_snapshot,
		.update = firecracker_update,
		.metrics = firecracker_metrics,
		.stop = firecracker_stop,
		.look = look,
		.exit_fd = exit_fd,
		.read_exit = read_exit,
		.find_leftovers = find_leftovers,
		.remove_leftovers = remove_leftovers,
		.free = firecracker_free,
	};
	Firecracker *firecracker = new0(Firecracker);

	firecracker->backend.ops = &ops;
	probe_cache_init(&firecracker->probes, look_at_host, &firecracker->config);
	firecracker->config = *config;
	firecracker->config.keeper_path = firecracker->keeper_path = text_dup(config->keeper_path);
	firecracker->pager_path = process_beside(config->keeper_path, "hearth-pager");
	firecracker->config.firecracker_path = firecracker->firecracker_path =
		text_dup(config->firecracker_path);
	firecracker->config.jail.jailer_path = firecracker->jailer_path =
		text_dup(config->jail.jailer_path);
	firecracker->config.jail.dir = firecracker->jail_dir = text_dup(config->jail.dir);
	firecracker->config.jail.group = firecracker->jail_group = text_dup(config->jail.group);
	firecracker->config.image_dirs = firecracker->image_dirs = text_dup(config->image_dirs);
	return &firecracker->backend;
}
