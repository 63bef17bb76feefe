/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "base/words.h"
#include "runtime/qemu_args.h"
#include "runtime/qemu_internal.h"
#include "runtime/qemu_probe.h"
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

/* A probe that could not be carried out takes nothing back: what was found before stands. */
static void probe(Backend *backend, BackendInfo *ret)
{
	Qemu *qemu = container_of(backend, Qemu, backend);
	int r = qemu_probe(ret, &qemu->config);
	int64_t now = clock_mono_us();
	BackendInfo before;

	lock_take(&qemu->lock);
	before = qemu->info;
	if (r == 0 || !before.available)
		qemu->info = *ret;
	qemu->probed = now;
	lock_drop(&qemu->lock);

	if (r == 0 || !before.available)
		return;
	ret->available = true;
	text_copy(ret->version, sizeof ret->version, before.version);
	text_copy(ret->accelerator, sizeof ret->accelerator, before.accelerator);
	(void)text_append(before.message, before.message + sizeof before.message,
			  "not looked at again, as found before: %s", ret->message);
	text_copy(ret->message, sizeof ret->message, before.message);
}

/* Has a look at the host become due? */
static bool is_due(const Qemu *qemu, int64_t now) lock_requires(qemu->lock)
{
	return !qemu->probed || (!qemu->info.available && now - qemu->probed > QEMU_PROBE_AGAIN);
}

BackendInfo qemu_info(Qemu *qemu)
{
	int64_t now = clock_mono_us();
	BackendInfo info;
	bool mine;

	lock_take(&qemu->lock);
	while (qemu->probing && is_due(qemu, now))
		cond_wait(&qemu->probe_ended, &qemu->lock);
	mine = is_due(qemu, now);
	if (mine)
		qemu->probing = true;
	info = qemu->info;
	lock_drop(&qemu->lock);
	if (!mine)
		return info;

	probe(&qemu->backend, &info);

	lock_take(&qemu->lock);
	qemu->probing = false;
	cond_broadcast(&qemu->probe_ended);
	lock_drop(&qemu->lock);
	return info;
}

static void resolve(Job *job, const BackendInfo *info)
{
	bool tcg = text_equal(info->accelerator, "tcg");
	VmResolved *resolved = job->resolved;

	free(resolved->boot_args);
	free(resolved->accelerator);
	free(resolved->vmm_version);
	resolved->boot_args = qemu_boot_args(job->spec, tcg ? qemu_tsc_khz() : 0);
	resolved->accelerator = text_dup(info->accelerator);
	resolved->vmm_version = text_dup(info->version);
	resolved->vcpus = spec_vcpus(job->spec);
	resolved->memory_mib = spec_memory_mib(job->spec);
	resolved->vmm_pid = resolved->keeper_pid = 0;
	resolved->start_time = 0;
}

static int prepare(Qemu *qemu, Job *job, Error *err)
{
	cleanup_free char *socket = qemu_socket_path(job);
	BackendInfo info = qemu_info(qemu);

	if (!info.available)
		return error_set(err, ERROR_UNSUPPORTED, "qemu: %s", info.message);
	if (!job->spec->boot || text_equal(job->spec->boot->kernel_path, ""))
		return error_add_violation(err, "spec.boot.kernel_path", "required by qemu");
	if (vmm_process_clear_socket(socket, err) < 0)
		return -1;
	resolve(job, &info);
	return 0;
}

static int launch(const Qemu *qemu, Job *job, Error *err)
{
	cleanup_free char *socket = qemu_socket_path(job);
	const QemuLaunch words = {
		.qemu_path = qemu->qemu_path,
		.vm_id = job->vm_id,
		.spec = job->spec,
		.accelerator = job->resolved->accelerator,
		.boot_args = job->resolved->boot_args,
		.socket_path = socket,
	};
	cleanup_(words_freep) char **argv = qemu_args(&words);
	const KeeperConfig config = {
		.keeper_path = qemu->keeper_path,
		.run_dir = job->run_dir,
		.console_max_bytes = qemu->config.console_max_bytes,
		.console_rate = qemu->config.console_rate,
		.vmm_argv = argv,
		.qmp = true,
	};

	return vmm_process_launch(&config, job, err);
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
	if (strcmp(status, "prelaunch") != 0)
		return error_set(err, ERROR_VMM_FAILED, "qemu is '%s' before it was started",
				 status);
	job_step(job, "boot");
	if (job_cancelled(job)) /* the last moment at which the guest has not run */
		return error_set(err, ERROR_VMM_FAILED, "given up before the guest was started");
	if (qmp_execute(qmp, "cont", NULL, err) < 0)
		return -1;
	job->resolved->start_time = clock_wall_us();
	return 0;
}

static int start(Backend *backend, Job *job, Error *err)
{
	Qemu *qemu = container_of(backend, Qemu, backend);
	cleanup_free char *socket = qemu_socket_path(job);
	off_t log_from = vmm_process_log_size(job);

	job_step(job, "prepare");
	if (prepare(qemu, job, err) < 0)
		return -1;
	if (job_cancelled(job))
		return error_set(err, ERROR_VMM_FAILED, "given up before qemu was started");
	job_step(job, "launch");
	if (launch(qemu, job, err) == 0 && boot(job, err) == 0)
		return 0;
	vmm_process_undo_start(job, socket, log_from, err);
	return -1;
}

/* A command that changes whether the guest runs, and how to see that it has worked. */
typedef struct Switch {
	const char *command, *status;
} Switch;

static const Switch switch_off = { "stop", "paused" };
static const Switch switch_on = { "cont", "running" };

static int throw_switch(Qmp *qmp, const Switch *to, Error *err)
{
	cleanup_free char *status = NULL;

	if (qmp_execute(qmp, to->command, NULL, err) < 0 || qmp_status(qmp, &status, err) < 0)
		return -1;
	return strcmp(status, to->status) == 0
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
	if (process_wait(vmm, 0) < 0)
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
		if (process_wait(vmm, 0) < 0)
			return -1;
		error_clear(err);
		*ret = VM_STOPPED;
		return 0;
	}
	runs = strcmp(status, "running") == 0;
	/* "prelaunch": an agent died between launching QEMU and starting the guest. */
	if (!runs && strcmp(status, "paused") != 0 && strcmp(status, "prelaunch") != 0)
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

	(void)backend;
	vmm_process_read_exit(job, socket, ret);
}

static void qemu_free(Backend *backend)
{
	Qemu *qemu = container_of(backend, Qemu, backend);

	cond_destroy(&qemu->probe_ended);
	free(qemu->keeper_path);
	free(qemu->qemu_path);
	free(qemu->accelerator);
	free(qemu);
}

Backend *qemu_new(const BackendConfig *config)
{
	static const BackendOps ops = {
		.id = VM_BACKEND_QEMU,
		.capabilities =
			BACKEND_PAUSE | BACKEND_POWER_BUTTON | BACKEND_CONSOLE | BACKEND_PROCESS,
		.probe = probe,
		.check = qemu_check,
		.start = start,
		.pause = pause_vm,
		.resume = resume,
		.stop = qemu_stop,
		.look = look,
		.exit_fd = exit_fd,
		.read_exit = read_exit,
		.free = qemu_free,
	};
	Qemu *qemu = new0(Qemu);

	qemu->backend.ops = &ops;
	lock_init(&qemu->lock);
	cond_init(&qemu->probe_ended);
	qemu->config = *config;
	qemu->config.keeper_path = qemu->keeper_path = text_dup(config->keeper_path);
	qemu->config.qemu_path = qemu->qemu_path = text_dup(config->qemu_path);
	qemu->config.accelerator = qemu->accelerator = text_dup(config->accelerator);
	qemu->config.state_dir = NULL; /* nothing of QEMU's goes there */
	return &qemu->backend;
}
