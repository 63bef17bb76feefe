/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/boot_args.h"
#include "runtime/network.h"
#include "runtime/qemu_args.h"
#include "runtime/qemu_internal.h"
#include "runtime/qemu_probe.h"
#include "runtime/vm_taps.h"
#include "runtime/vmm_process.h"

#include <string.h>

/*
 * VMs on QEMU's microvm machine, each under a keeper, driven by QMP.
 *
 * QEMU starts with its processors halted (-S), so that whatever is wrong with
 * its arguments shows before the guest has run an instruction; "cont" is what
 * starts the guest. Nothing of a VM is held in memory: every function finds
 * its processes by the run directory, and works the same after an agent's
 * restart.
 */

char *qemu_socket_path(const Job *job)
{
	return text_printf("%s/qmp.sock", job->run_dir);
}

/* Which the guest sees as a virtio-serial port. */
static char *guest_socket_path(const Job *job)
{
	return text_printf("%s/guest.sock", job->run_dir);
}

static char *guest_path(const Job *job, bool *vsock)
{
	*vsock = false;
	return guest_socket_path(job);
}

int qemu_connect(Qmp **ret, const Job *job, int vmm_pidfd, int cancel_fd, int64_t timeout,
		 Error *err)
{
	cleanup_free char *path = qemu_socket_path(job);
	const QmpConfig config = {
		.path = path,
		.vmm_pidfd = vmm_pidfd,
		.cancel_fd = cancel_fd,
		.connect_timeout = timeout,
		.command_timeout = QEMU_COMMAND_TIMEOUT,
	};

	return qmp_open(ret, &config, err);
}

static void probe(Backend *backend, BackendInfo *ret)
{
	probe_cache_look(&container_of(backend, Qemu, backend)->probes, ret);
}

static void give_up(Backend *backend)
{
	probe_cache_give_up(&container_of(backend, Qemu, backend)->probes);
}

static void resolve(Job *job, const Network *network, const BackendInfo *info)
{
	bool tcg = text_equal(info->accelerator, "tcg");
	VmResolved *resolved = job->resolved;
	cleanup_free char *args = qemu_boot_args(job->spec, tcg ? qemu_tsc_khz() : 0);

	record_end_run(resolved);
	free(resolved->boot_args);
	free(resolved->accelerator);
	free(resolved->vmm_version);
	resolved->boot_args = boot_args_with_network(args, resolved, network);
	resolved->accelerator = text_dup(info->accelerator);
	resolved->vmm_version = text_dup(info->version);
	resolved->vcpus = spec_vcpus(job->spec);
	resolved->memory_mib = spec_memory_mib(job->spec);
	resolved->start_time = 0;
}

static int prepare(Qemu *qemu, Job *job, Error *err)
{
	cleanup_free char *socket = qemu_socket_path(job);
	cleanup_free char *way = guest_socket_path(job);
	BackendInfo info = probe_cache_get(&qemu->probes);

	if (!info.available)
		return error_set(err, ERROR_UNSUPPORTED, "qemu: %s", info.message);
	if (!job->spec->boot || text_equal(job->spec->boot->kernel_path, ""))
		return error_add_violation(err, "spec.boot.kernel_path", "required by qemu");
	/* Of an earlier run whose agent died before it could remove them. */
	if (vmm_process_clear_socket(way, err) < 0 || vmm_process_clear_socket(socket, err) < 0 ||
	    qemu_clear(qemu, job->resolved->instance_id, err) < 0)
		return -1;
	resolve(job, qemu->backend.network, &info);
	return 0;
}

static int make_host(const Qemu *qemu, Job *job, Error *err)
{
	job_step(job, "host");
	if (launcher_prepare(qemu->config.launcher, err) < 0 ||
	    launcher_make_group(qemu->config.launcher, job, err) < 0 ||
	    vm_taps_add(job, (uid_t)-1, err) < 0)
		return -1;
	return network_attach(qemu->backend.network, job, err);
}

static int launch(const Qemu *qemu, Job *job, Error *err)
{
	cleanup_free char *socket = qemu_socket_path(job);
	cleanup_free char *guest = guest_socket_path(job);
	const QemuLaunch words = {
		.qemu_path = qemu->qemu_path,
		.vm_id = job->vm_id,
		.spec = job->spec,
		.accelerator = job->resolved->accelerator,
		.boot_args = job->resolved->boot_args,
		.socket_path = socket,
		.guest_path = guest,
		.taps = job->resolved->network_interfaces.items,
		.restores = job->restore,
	};
	cleanup_(words_freep) char **argv = qemu_args(&words);
	cleanup_(words_freep) char **groups = vmm_process_groups(qemu->config.launcher, job, NULL);
	const KeeperConfig config = {
		.keeper_path = qemu->keeper_path,
		.run_dir = job->run_dir,
		.console_max_bytes = qemu->config.console_max_bytes,
		.console_rate = qemu->config.console_rate,
		.vmm_argv = argv,
		.qmp = true,
		.groups = groups,
	};

	job_step(job, "launch");
	if (vmm_process_launch(&config, job, err) < 0)
		return -1;
	return launcher_verify_group(qemu->config.launcher, job, err);
}

static int boot(Job *job, Error *err)
{
	cleanup_close int vmm = -1;
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	cleanup_free char *status = NULL;

	job_step(job, "connect");
	if (vmm_process_open(&vmm, job, "qemu", err) < 0 ||
	    qemu_connect(&qmp, job, vmm, job->cancel_fd, QEMU_CONNECT_TIMEOUT, err) < 0 ||
	    qmp_status(qmp, &status, err) < 0)
		return -1;
	if (strcmp(status, job->restore ? "inmigrate" : "prelaunch") != 0)
		return error_set(err, ERROR_VMM_FAILED, "qemu is '%s' before it was started",
				 status);
	job_step(job, job->restore ? "restore" : "boot");
	if (job->restore && qemu_read_snapshot(qmp, job, err) < 0)
		return -1;
	if (job_cancelled(job)) /* the last moment at which the guest has not run */
		return error_set(err, ERROR_VMM_FAILED, "given up before the guest was started");
	if (!(job->restore && job->restore->paused) && qmp_execute(qmp, "cont", NULL, err) < 0)
		return -1;
	job->resolved->start_time = clock_wall_us();
	return 0;
}

static void undo_start(const Qemu *qemu, Job *job, off_t log_from, Error *err)
{
	cleanup_free char *socket = qemu_socket_path(job);
	cleanup_free char *way = guest_socket_path(job);
	Error left = { 0 };

	vmm_process_undo_start(job, socket, log_from, err);
	(void)unlink(way);
	if (qemu_clear(qemu, job->resolved->instance_id, &left) < 0)
		job->poisoned = true;
	record_end_run(job->resolved);
}

static int start(Backend *backend, Job *job, Error *err)
{
	Qemu *qemu = container_of(backend, Qemu, backend);
	off_t log_from = vmm_process_log_size(job);

	job_step(job, "prepare");
	if (prepare(qemu, job, err) < 0)
		return -1;
	if (job_cancelled(job))
		return error_set(err, ERROR_VMM_FAILED, "given up before qemu was started");
	if (make_host(qemu, job, err) == 0 && launch(qemu, job, err) == 0 && boot(job, err) == 0)
		return 0;
	undo_start(qemu, job, log_from, err);
	return -1;
}

/* A command that changes whether the guest runs, and how to see that it has worked. */
typedef struct Switch {
	const char *command, *status;
	const char *also; /* it is the same after a snapshot was written; or NULL */
} Switch;

static const char written[] = "postmigrate";
static const Switch switch_off = { "stop", "paused", written };
static const Switch switch_on = { "cont", "running", NULL };

static int throw_switch(Qmp *qmp, const Switch *to, Error *err)
{
	cleanup_free char *status = NULL;

	if (qemu_end_snapshot(qmp, err) < 0 || qmp_execute(qmp, to->command, NULL, err) < 0 ||
	    qmp_status(qmp, &status, err) < 0)
		return -1;
	return strcmp(status, to->status) == 0 || text_equal(status, to->also)
		       ? 0
		       : error_set(err, ERROR_VMM_FAILED, "qemu is '%s' after '%s'", status,
				   to->command);
}

/* Back to how it was; a QEMU that is there and won't go back leaves the VM in nobody knows what. */
static void undo_switch(Job *job, int vmm, const Switch *back)
{
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	Error ignored = { 0 };

	if (qemu_connect(&qmp, job, vmm, -1, QEMU_COMMAND_TIMEOUT, &ignored) == 0 &&
	    throw_switch(qmp, back, &ignored) == 0)
		return;
	if (!vmm_process_ends(vmm))
		job->poisoned = true;
}

static int change(Job *job, const Switch *to, const Switch *back, Error *err)
{
	cleanup_close int vmm = -1;
	cleanup_(qmp_closep) Qmp *qmp = NULL;

	job_step(job, to->command);
	if (vmm_process_open(&vmm, job, "qemu", err) < 0 ||
	    qemu_connect(&qmp, job, vmm, job->cancel_fd, QEMU_COMMAND_TIMEOUT, err) < 0)
		return -1;
	if (throw_switch(qmp, to, err) == 0)
		return 0;
	/* It serves one client at a time. */
	qmp_close(take_ptr(qmp));
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
	cleanup_(qmp_closep) Qmp *qmp = NULL;
	cleanup_free char *status = NULL;
	bool runs;

	if (qemu_connect(&qmp, job, vmm, job->cancel_fd, QEMU_COMMAND_TIMEOUT, err) < 0 ||
	    qmp_status(qmp, &status, err) < 0) {
		/* It may have ended just now. */
		if (!vmm_process_ends(vmm))
			return -1;
		error_clear(err);
		*ret = VM_STOPPED;
		return 0;
	}
	runs = strcmp(status, "running") == 0;
	/* "prelaunch": an agent died between launching QEMU and starting the guest. */
	if (!runs && strcmp(status, "paused") != 0 && strcmp(status, "prelaunch") != 0 &&
	    strcmp(status, written) != 0)
		return error_set(err, ERROR_VMM_FAILED, "qemu is '%s'", status);
	*ret = runs ? VM_RUNNING : VM_PAUSED;
	return 0;
}

static int look(Backend *backend, Job *job, VmState *ret, Error *err)
{
	(void)backend;
	return vmm_process_look(job, "qemu", look_at, ret, err);
}

static int exit_fd(Backend *backend, Job *job, int *ret, Error *err)
{
	(void)backend;
	return vmm_process_exit_fd(job, ret, err);
}

static void read_exit(Backend *backend, Job *job, VmmExit *ret)
{
	cleanup_free char *socket = qemu_socket_path(job);
	cleanup_free char *way = guest_socket_path(job);
	Error left = { 0 };

	vmm_process_read_exit(job, socket, ret);
	(void)unlink(way);
	if (qemu_clear(container_of(backend, Qemu, backend), job->resolved->instance_id, &left) < 0)
		error_clear(&left); /* the next start or destroy removes it, or says why not */
}

static int remove_leftovers(Backend *backend, const char *instance_id, Error *err)
{
	return qemu_clear(container_of(backend, Qemu, backend), instance_id, err);
}

static void qemu_free(Backend *backend)
{
	Qemu *qemu = container_of(backend, Qemu, backend);

	probe_cache_destroy(&qemu->probes);
	free(qemu->keeper_path);
	free(qemu->qemu_path);
	free(qemu->accelerator);
	free(qemu);
}

Backend *qemu_new(const BackendConfig *config)
{
	static const BackendOps ops = {
		.id = VM_BACKEND_QEMU,
		.capabilities = BACKEND_PAUSE | BACKEND_POWER_BUTTON | BACKEND_CONSOLE |
				BACKEND_PROCESS | BACKEND_GUEST | BACKEND_SNAPSHOT,
		.probe = probe,
		.give_up = give_up,
		.guest_path = guest_path,
		.check = qemu_check,
		.start = start,
		.pause = pause_vm,
		.resume = resume,
		.snapshot = qemu_snapshot,
		.stop = qemu_stop,
		.look = look,
		.exit_fd = exit_fd,
		.read_exit = read_exit,
		.remove_leftovers = remove_leftovers,
		.free = qemu_free,
	};
	Qemu *qemu = new0(Qemu);

	qemu->backend.ops = &ops;
	probe_cache_init(&qemu->probes, qemu_probe, &qemu->config);
	qemu->config = *config;
	qemu->config.keeper_path = qemu->keeper_path = text_dup(config->keeper_path);
	qemu->config.qemu_path = qemu->qemu_path = text_dup(config->qemu_path);
	qemu->config.accelerator = qemu->accelerator = text_dup(config->accelerator);
	return &qemu->backend;
}
