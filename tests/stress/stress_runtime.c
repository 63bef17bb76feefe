/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/snapshot.h"
#include "runtime/vm.h"
#include "tests/support/node.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/*
 * Many callers, few VMs, every verb, VMMs that end at any moment: each call is
 * answered exactly once, revisions come without gaps, nothing is left when all
 * is destroyed.
 */

enum {
	DISKS = 3, /* for all of them */
	CALLERS = 8,
	ROUNDS = 300,
	MACHINES = 5,
	OPENINGS = 3, /* times the node is opened, with what the time before left */
};

static TestNode node;
static atomic_uint asked, answered;

static void count_answer(void *user, const VmRecord *record, const Error *err)
{
	(void)user;
	if (record && err)
		abort();
	answered++;
}

static VmRestartPolicy *restarting(void)
{
	VmRestartPolicy *policy = new0(VmRestartPolicy);

	policy->mode = VM_RESTART_ALWAYS;
	policy->initial_backoff = 10 * (int64_t)USEC_PER_MSEC;
	policy->max_backoff = 20 * (int64_t)USEC_PER_MSEC;
	return policy;
}

static char *disk(unsigned i)
{
	return text_printf("%s/disk-%u", node.state_dir, i % DISKS);
}

static void make_disks(void)
{
	for (unsigned i = 0; i < DISKS; i++) {
		cleanup_free char *path = disk(i);
		FILE *file = fopen(path, "we");

		if (!file || fputs("disk", file) < 0 || fclose(file) != 0)
			abort();
	}
}

/* A balloon, and sometimes a drive that others may want. */
static void add_parts(VmSpec *spec, unsigned dice)
{
	VmDrive *drive = dice % 4 == 0 ? field_list_add(&spec->drives, &vm_drive_table) : NULL;

	if (drive) {
		drive->drive_id = text_dup("root");
		drive->path = disk(dice / 4);
		drive->read_only = dice & 32;
	}
	spec->devices = new0(VmDevices);
	spec->devices->balloon = new0(VmBalloon);
	spec->devices->balloon->amount_mib = dice % 64;
}

/* Labels come and go, policies and expiries change, balloons swell, disks are swapped. */
static void update_one(const char *vm_id, unsigned dice)
{
	static const char *const faults[] = { NULL,           "start-fails",    "update-fails",
					      "update-waits", "update-poisons", NULL };
	static const unsigned live[] = { 0, 0, RUNTIME_UPDATE_BALLOON, RUNTIME_UPDATE_DRIVES,
					 RUNTIME_UPDATE_LIVE };
	cleanup_(spec_unrefp) VmSpec *values =
		test_spec(VM_DESIRED_UNSET, faults[dice / 16 % array_size(faults)]);
	VmCall call = { .vm_id = vm_id,
			.principal = "stress",
			.validate_only = dice % 32 == 0,
			.update = values,
			.update_mask = dice % 15 + 1 };

	add_parts(values, dice / 8);
	call.update_mask |= live[dice / 8 % array_size(live)];
	if (dice & 32)
		values->restart_policy = restarting();
	if (dice & 64)
		values->expires_at = clock_wall_us() + dice % 16 * (int64_t)USEC_PER_MSEC;
	runtime_run_vm(node.runtime, VM_OP_UPDATE, &call, count_answer, NULL);
}

static void create_one(const char *vm_id, unsigned dice)
{
	static const char *const faults[] = { NULL,          NULL,          "start-hangs",
					      "start-fails", "pause-fails", "undo-fails",
					      "update-waits" };
	VmSpec *spec = test_spec(dice & 1 ? VM_DESIRED_RUNNING : VM_DESIRED_PAUSED,
				 faults[dice % array_size(faults)]);
	/* Some ask for a uid that others ask for, or had. */
	CreateCall call = { .vm_id = vm_id,
			    .uid = dice % 16 == 0 ? vm_id : "",
			    .tenant = "",
			    .spec = spec,
			    .principal = "stress" };

	add_parts(spec, dice);
	if (dice % 3 == 0)
		spec->restart_policy = restarting();
	if (dice % 7 == 0) {
		spec->expires_at = clock_wall_us() + dice % 64 * (int64_t)USEC_PER_MSEC;
		spec->expire_action = dice & 64 ? VM_EXPIRE_DESTROY : VM_EXPIRE_STOP;
	}

	/* One that hangs is not waited for. */
	call.return_when = RETURN_WHEN_ACCEPTED;
	runtime_create_vm(node.runtime, &call, count_answer, NULL);
	spec_unref(spec);
}

static void count_snapshot(void *user, const SnapshotInfo *snapshot, const Error *err)
{
	(void)user;
	if (snapshot && err)
		abort();
	answered++;
}

static void snapshot_one(const VmCall *call, unsigned dice)
{
	static const SnapshotLabels none;
	const SnapshotCall snapshot = {
		.vm = *call,
		.labels = &none,
		.snapshot_id = dice & 16 ? "one" : "other",
		.then = dice % SNAPSHOT_THEN_COUNT_,
	};
	Error refused = { 0 };

	runtime_create_snapshot(node.runtime, &snapshot, count_snapshot, NULL);
	if (dice & 64)
		(void)!snapshots_delete(runtime_snapshots(node.runtime), call->vm_id,
					snapshot.snapshot_id, &refused);
}

static void run_one(const char *vm_id, unsigned dice)
{
	VmCall call = { .vm_id = vm_id,
			.principal = "stress",
			.validate_only = dice % 64 == 0,
			.return_when = dice & 8 ? RETURN_WHEN_ACCEPTED : RETURN_WHEN_DONE };
	VmOp op = dice % VM_OP_COUNT_;

	if (dice & 32)
		call.ladder = STOP_AT_ONCE;
	if (op == VM_OP_UPDATE)
		update_one(vm_id, dice);
	else if (op == VM_OP_SNAPSHOT)
		snapshot_one(&call, dice);
	else
		runtime_run_vm(node.runtime, op, &call, count_answer, NULL);
}

static void *caller(void *arg)
{
	unsigned seed = *(const unsigned *)arg;

	for (int i = 0; i < ROUNDS; i++) {
		unsigned dice = (unsigned)rand_r(&seed);
		char vm_id[16];

		(void)snprintf(vm_id, sizeof vm_id, "vm-%u", dice % MACHINES);
		dice /= MACHINES;
		if (dice % 16 == 0 && fault_alive(node.fault, vm_id))
			fault_exit(node.fault, vm_id, EXIT_VMM_SIGNAL);
		asked++;
		if (dice % 3 == 0)
			create_one(vm_id, dice / 16);
		else
			run_one(vm_id, dice / 16);
		if (dice % 5 == 0)
			clock_sleep_us(USEC_PER_MSEC);
	}
	return NULL;
}

/* Reads the whole history as a watcher would: every revision is there, once. */
static void *watcher(void *arg)
{
	atomic_bool *ending = arg;
	uint64_t seen = 0;
	bool last = false;

	while (!last) {
		Change *changes[64];
		size_t n = 0;
		Error err = { 0 };

		last = *ending;
		if (registry_changes(runtime_registry(node.runtime), seen, changes, 64, &n, &err) <
		    0)
			seen = err.resume_revision; /* too slow for the history: begin anew */
		for (size_t i = 0; i < n; i++) {
			if (changes[i]->revision != seen + 1)
				abort();
			seen = changes[i]->revision;
			change_unref(changes[i]);
		}
		if (n)
			last = false;
		else
			clock_sleep_us(USEC_PER_MSEC);
	}
	return NULL;
}

static size_t count_vms(void)
{
	VmList *list = registry_list(runtime_registry(node.runtime));
	size_t count = list->count;

	vm_list_unref(list);
	return count;
}

static void destroy_one(unsigned i)
{
	char vm_id[16];
	VmCall call = { .vm_id = vm_id, .principal = "stress", .allow_missing = true };

	(void)snprintf(vm_id, sizeof vm_id, "vm-%u", i);
	asked++;
	runtime_run_vm(node.runtime, VM_OP_DESTROY, &call, count_answer, NULL);
}

/* Destroys until nothing is left and nobody waits: creations may still be on their way at first. */
static bool destroy_all(void)
{
	int64_t deadline = clock_mono_us() + (int64_t)60 * USEC_PER_SEC;

	while (clock_mono_us() < deadline) {
		for (unsigned i = 0; i < MACHINES; i++)
			destroy_one(i);
		clock_sleep_us(50 * (int64_t)USEC_PER_MSEC);
		if (answered == asked && count_vms() == 0)
			return true;
	}
	return false;
}

/* Stops what may hang while starting, or in an update; how many there were. */
static size_t stop_starting(void)
{
	VmList *list = registry_list(runtime_registry(node.runtime));
	size_t starting = 0;

	for (size_t i = 0; i < list->count; i++) {
		VmCall call = { .vm_id = list->records[i]->vm_id, .principal = "stress" };

		if (list->records[i]->status.state != VM_STARTING &&
		    !list->records[i]->status.operation)
			continue;
		starting++;
		asked++;
		runtime_run_vm(node.runtime, VM_OP_STOP, &call, count_answer, NULL);
	}
	vm_list_unref(list);
	return starting;
}

/* Waits for every answer; the VMs stay as they are, for the next agent to take up. */
static bool settle_all(void)
{
	int64_t deadline = clock_mono_us() + (int64_t)60 * USEC_PER_SEC;

	while (clock_mono_us() < deadline) {
		if (stop_starting() == 0 && answered == asked)
			return true;
		clock_sleep_us(20 * (int64_t)USEC_PER_MSEC);
	}
	return false;
}

/* Without VMs no disk is anybody's. */
static bool all_disks_free(void)
{
	bool free;

	lock_take(&node.runtime->table_lock);
	free = !node.runtime->drive_uses;
	lock_drop(&node.runtime->table_lock);
	return free;
}

/* And nothing of the node is taken: whatever took its part has given it back. */
static bool all_room_free(void)
{
	static const Need none;
	NodeCapacity now;

	runtime_capacity(node.runtime, &now);
	return memcmp(&now.taken, &none, sizeof none) == 0;
}

/* No restart has kept its turn; the last one may be about to give it back. */
static bool all_turns_free(void)
{
	int64_t deadline = clock_mono_us() + (int64_t)60 * USEC_PER_SEC;
	size_t taken;

	do {
		lock_take(&node.runtime->lock);
		taken = node.runtime->restarting;
		lock_drop(&node.runtime->lock);
	} while (taken && clock_mono_us() < deadline);
	return !taken;
}

/* One round of all callers on a node that is opened before and closed after. */
static bool round_of_callers(unsigned round)
{
	pthread_t callers[CALLERS], reader;
	unsigned seeds[CALLERS];
	atomic_bool ending = false;
	bool clean;

	test_node_open(&node);
	make_disks();
	if (pthread_create(&reader, NULL, watcher, &ending) != 0)
		abort();
	for (unsigned i = 0; i < CALLERS; i++) {
		seeds[i] = round * CALLERS + i + 1;
		if (pthread_create(&callers[i], NULL, caller, &seeds[i]) != 0)
			abort();
	}
	for (int i = 0; i < CALLERS; i++)
		pthread_join(callers[i], NULL);
	clean = round + 1 < OPENINGS
			? settle_all()
			: destroy_all() && all_disks_free() && all_room_free() && all_turns_free();
	ending = true;
	pthread_join(reader, NULL);
	if (!clean)
		(void)fprintf(stderr, "%u calls, %u answers, %zu VMs\n", asked, answered,
			      count_vms());
	test_node_close(&node);
	return clean;
}

int main(void)
{
	bool clean = true;

	for (unsigned round = 0; round < OPENINGS && clean; round++)
		clean = round_of_callers(round);
	test_node_remove(&node);
	return clean ? 0 : 1;
}
