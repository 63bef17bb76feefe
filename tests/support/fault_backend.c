/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fault_backend.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/network.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
	MACHINES_MAX = 64
};

/* One "VMM". */
typedef struct Machine {
	char vm_id[64];
	unsigned starts, updates;
	uint64_t balloon_mib; /* what it was told last */
	bool alive, paused, restored;
	int exit_fd; /* an eventfd, readable once it has ended */
	ExitReason reason;
} Machine;

struct FaultBackend {
	Backend backend;
	bool calm;
	bool adopts; /* before it is used */
	Lock lock;
	bool let_go;                    /* under lock */
	Machine machines[MACHINES_MAX]; /* under lock */
};

static FaultBackend *fault_of(Backend *backend)
{
	return container_of(backend, FaultBackend, backend);
}

/* The machine of @vm_id, made if it is new; its members are under the lock. */
static Machine *machine_of(FaultBackend *fault, const char *vm_id)
{
	Machine *found = NULL;

	lock_take(&fault->lock);
	for (size_t i = 0; i < MACHINES_MAX && !found; i++) {
		Machine *machine = &fault->machines[i];

		if (!machine->vm_id[0]) {
			text_copy(machine->vm_id, sizeof machine->vm_id, vm_id);
			machine->exit_fd = -1;
		}
		if (strcmp(machine->vm_id, vm_id) == 0)
			found = machine;
	}
	lock_drop(&fault->lock);
	if (!found)
		abort();
	return found;
}

static bool told_to(const FaultBackend *fault, const Job *job, const char *what)
{
	const char *told = field_map_get(&job->spec->labels, "fault");

	return !fault->calm && told && strstr(told, what);
}

static void wait_for_cancel(const Job *job)
{
	struct pollfd poll_for = { .fd = job->cancel_fd, .events = POLLIN };

	while (poll(&poll_for, 1, -1) <= 0)
		;
}

static void set_alive(FaultBackend *fault, Machine *machine, bool alive)
{
	lock_take(&fault->lock);
	machine->alive = alive;
	machine->paused = false;
	lock_drop(&fault->lock);
}

static void probe(Backend *backend, BackendInfo *ret)
{
	(void)backend;
	ret->available = true;
}

static int check(Backend *backend, const VmSpec *spec, Error *err)
{
	(void)backend;
	if (text_equal(field_map_get(&spec->labels, "fault"), "check-fails"))
		return error_add_violation(err, "spec.boot.kernel_path", "no such file");
	return 0;
}

static int start(Backend *backend, Job *job, Error *err)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);
	int old;

	job_step(job, "launch");
	lock_take(&fault->lock);
	machine->starts++;
	lock_drop(&fault->lock);

	if (told_to(fault, job, "start-hangs")) {
		wait_for_cancel(job);
		return error_set(err, ERROR_VMM_FAILED, "given up");
	}
	job->poisoned = told_to(fault, job, "undo-fails");
	if (told_to(fault, job, "start-fails") || job->poisoned ||
	    (job->restore && told_to(fault, job, "restore-fails")))
		return error_set(err, ERROR_VMM_FAILED, "told to fail");

	lock_take(&fault->lock);
	old = machine->exit_fd;
	machine->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->alive = true;
	machine->paused = job->restore && job->restore->paused;
	machine->restored = job->restore;
	lock_drop(&fault->lock);
	closep(&old);
	job->resolved->vmm_pid = 4242;
	job->resolved->start_time = clock_wall_us();
	if (network_attach(backend->network, job, err) == 0)
		return 0;
	set_alive(fault, machine, false);
	return -1;
}

static int pause_or_resume(Backend *backend, Job *job, bool pause, Error *err)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);

	if (pause && told_to(fault, job, "pause-hangs")) {
		wait_for_cancel(job);
		return error_set(err, ERROR_VMM_FAILED, "given up");
	}
	if (told_to(fault, job, pause ? "pause-fails" : "resume-fails"))
		return error_set(err, ERROR_VMM_FAILED, "told to fail");
	lock_take(&fault->lock);
	machine->paused = pause;
	lock_drop(&fault->lock);
	return 0;
}

static int fault_pause(Backend *backend, Job *job, Error *err)
{
	return pause_or_resume(backend, job, true, err);
}

static int fault_resume(Backend *backend, Job *job, Error *err)
{
	return pause_or_resume(backend, job, false, err);
}

/* Of a diff the second page alone. */
static int write_memory(const char *dir, bool diff)
{
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_MEMORY, dir);
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char pages[FAULT_PAGES * FAULT_PAGE];

	memset(pages, diff ? 'd' : 'f', sizeof pages);
	if (fd < 0 || ftruncate(fd, sizeof pages) < 0)
		return -1;
	return pwrite(fd, pages, diff ? FAULT_PAGE : sizeof pages, diff ? FAULT_PAGE : 0) < 0 ? -1
											      : 0;
}

static int snapshot(Backend *backend, Job *job, const char *dir, bool diff, FieldTexts *names,
		    Error *err)
{
	static const char state[] = "a state";
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_STATE, dir);
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);
	bool paused;

	(void)names;
	lock_take(&fault->lock);
	paused = machine->paused;
	lock_drop(&fault->lock);
	if (!paused)
		return error_set(err, ERROR_SNAPSHOT_FAILED, "it runs");
	if (told_to(fault, job, "snapshot-hangs")) {
		wait_for_cancel(job);
		return error_set(err, ERROR_SNAPSHOT_FAILED, "given up");
	}
	job->poisoned = told_to(fault, job, "snapshot-poisons");
	if (job->poisoned || told_to(fault, job, "snapshot-fails") ||
	    (diff && told_to(fault, job, "diff-fails")))
		return error_set(err, ERROR_SNAPSHOT_FAILED, "told to fail");
	return write_memory(dir, diff) < 0 || file_write_atomic(path, state, sizeof state - 1) < 0
		       ? error_set(err, ERROR_SNAPSHOT_FAILED, "write %s", path)
		       : 0;
}

static void wait_to_be_let_go(FaultBackend *fault, const Job *job)
{
	bool let_go = false;

	while (!let_go && !job_cancelled(job)) {
		clock_sleep_us(USEC_PER_MSEC);
		lock_take(&fault->lock);
		let_go = fault->let_go;
		lock_drop(&fault->lock);
	}
}

static int update(Backend *backend, Job *job, const VmSpec *to, Error *err)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);
	const VmBalloon *balloon = spec_balloon(to);

	job_step(job, "update");
	lock_take(&fault->lock);
	machine->updates++;
	lock_drop(&fault->lock);
	if (told_to(fault, job, job->whole ? "whole-waits" : "update-waits"))
		wait_to_be_let_go(fault, job);
	job->poisoned = told_to(fault, job, job->whole ? "whole-fails" : "update-poisons");
	if (job_cancelled(job))
		return error_set(err, ERROR_VMM_FAILED, "given up");
	if (job->poisoned || (!job->whole && told_to(fault, job, "update-fails")))
		return error_set(err, ERROR_VMM_FAILED, "told to fail");
	lock_take(&fault->lock);
	machine->balloon_mib = balloon ? balloon->amount_mib : 0;
	lock_drop(&fault->lock);
	return 0;
}

static int stop(Backend *backend, Job *job, const StopLadder *ladder, Error *err)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);

	if (told_to(fault, job, "stop-hangs") && ladder->power_button_timeout >= 0)
		wait_for_cancel(job);
	if (told_to(fault, job, "stop-fails"))
		return error_set(err, ERROR_SHUTDOWN, "told to fail");
	set_alive(fault, machine, false);
	return network_detach(backend->network, job->resolved->instance_id, err);
}

static int look(Backend *backend, Job *job, VmState *ret, Error *err)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);

	(void)err;
	lock_take(&fault->lock);
	if (fault->adopts && machine->exit_fd < 0) {
		machine->exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		machine->alive = true;
	}
	*ret = !machine->alive ? VM_STOPPED : machine->paused ? VM_PAUSED : VM_RUNNING;
	lock_drop(&fault->lock);
	return 0;
}

static int exit_fd(Backend *backend, Job *job, int *ret, Error *err)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);

	lock_take(&fault->lock);
	*ret = dup(machine->exit_fd);
	lock_drop(&fault->lock);
	return *ret < 0 ? error_set(err, ERROR_VMM_FAILED, "no VMM") : 0;
}

static void read_exit(Backend *backend, Job *job, VmmExit *ret)
{
	FaultBackend *fault = fault_of(backend);
	Machine *machine = machine_of(fault, job->vm_id);
	Error ignored = { 0 };

	(void)!network_detach(backend->network, job->resolved->instance_id, &ignored);
	lock_take(&fault->lock);
	*ret = (VmmExit){ .reason = machine->reason ? machine->reason : EXIT_UNKNOWN,
			  .time = clock_wall_us() };
	lock_drop(&fault->lock);
}

static void release(Backend *backend)
{
	FaultBackend *fault = fault_of(backend);

	for (size_t i = 0; i < MACHINES_MAX; i++)
		if (fault->machines[i].vm_id[0])
			closep(&fault->machines[i].exit_fd);
	free(fault);
}

static const BackendOps fault_ops = {
	.id = VM_BACKEND_QEMU,
	.capabilities = BACKEND_PAUSE | BACKEND_POWER_BUTTON | BACKEND_PROCESS | BACKEND_SNAPSHOT |
			BACKEND_DIFF,
	.probe = probe,
	.check = check,
	.start = start,
	.pause = fault_pause,
	.resume = fault_resume,
	.update = update,
	.snapshot = snapshot,
	.stop = stop,
	.look = look,
	.exit_fd = exit_fd,
	.read_exit = read_exit,
	.free = release,
};

FaultBackend *fault_backend_new(bool calm)
{
	FaultBackend *fault = new0(FaultBackend);

	fault->calm = calm;
	fault->backend.ops = &fault_ops;
	lock_init(&fault->lock);
	return fault;
}

Backend *fault_backend(FaultBackend *fault)
{
	return &fault->backend;
}

void fault_adopt(FaultBackend *fault)
{
	fault->adopts = true;
}

void fault_let_go(FaultBackend *fault)
{
	lock_take(&fault->lock);
	fault->let_go = true;
	lock_drop(&fault->lock);
}

void fault_exit(FaultBackend *fault, const char *vm_id, ExitReason reason)
{
	Machine *machine = machine_of(fault, vm_id);

	lock_take(&fault->lock);
	machine->alive = false;
	machine->reason = reason;
	(void)eventfd_write(machine->exit_fd, 1);
	lock_drop(&fault->lock);
}

unsigned fault_starts(FaultBackend *fault, const char *vm_id)
{
	Machine *machine = machine_of(fault, vm_id);
	unsigned starts;

	lock_take(&fault->lock);
	starts = machine->starts;
	lock_drop(&fault->lock);
	return starts;
}

bool fault_paused(FaultBackend *fault, const char *vm_id)
{
	Machine *machine = machine_of(fault, vm_id);
	bool paused;

	lock_take(&fault->lock);
	paused = machine->paused;
	lock_drop(&fault->lock);
	return paused;
}

bool fault_restored(FaultBackend *fault, const char *vm_id)
{
	Machine *machine = machine_of(fault, vm_id);
	bool restored;

	lock_take(&fault->lock);
	restored = machine->restored;
	lock_drop(&fault->lock);
	return restored;
}

bool fault_alive(FaultBackend *fault, const char *vm_id)
{
	Machine *machine = machine_of(fault, vm_id);
	bool alive;

	lock_take(&fault->lock);
	alive = machine->alive;
	lock_drop(&fault->lock);
	return alive;
}

unsigned fault_updates(FaultBackend *fault, const char *vm_id)
{
	Machine *machine = machine_of(fault, vm_id);
	unsigned updates;

	lock_take(&fault->lock);
	updates = machine->updates;
	lock_drop(&fault->lock);
	return updates;
}

uint64_t fault_balloon_mib(FaultBackend *fault, const char *vm_id)
{
	Machine *machine = machine_of(fault, vm_id);
	uint64_t balloon_mib;

	lock_take(&fault->lock);
	balloon_mib = machine->balloon_mib;
	lock_drop(&fault->lock);
	return balloon_mib;
}
