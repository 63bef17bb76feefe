/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
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
	CALLERS = 8,
	ROUNDS = 300,
	MACHINES = 5
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

static void create_one(const char *vm_id, unsigned dice)
{
	static const char *const faults[] = { NULL,          NULL,          "start-hangs",
					      "start-fails", "pause-fails", "undo-fails" };
	VmSpec *spec = test_spec(dice & 1 ? VM_DESIRED_RUNNING : VM_DESIRED_PAUSED,
				 faults[dice % array_size(faults)]);
	CreateCall call = {
		.vm_id = vm_id, .uid = "", .tenant = "", .spec = spec, .principal = "stress"
	};

	/* One that hangs is not waited for. */
	call.return_when = RETURN_WHEN_ACCEPTED;
	runtime_create_vm(node.runtime, &call, count_answer, NULL);
	spec_unref(spec);
}

static void run_one(const char *vm_id, unsigned dice)
{
	VmSpec *values = test_spec(VM_DESIRED_UNSET, NULL);
	VmCall call = { .vm_id = vm_id,
			.principal = "stress",
			.return_when = dice & 8 ? RETURN_WHEN_ACCEPTED : RETURN_WHEN_DONE,
			.update = values,
			.update_mask = RUNTIME_UPDATE_EXPIRES_AT };
	VmOp op = dice % VM_OP_COUNT_;

	runtime_run_vm(node.runtime, op, &call, count_answer, NULL);
	spec_unref(values);
}

static void *caller(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

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

/* Destroys until nothing is left and nobody waits: creations may still be on their way at first. */
static bool destroy_all(void)
{
	int64_t deadline = clock_mono_us() + (int64_t)60 * USEC_PER_SEC;

	while (clock_mono_us() < deadline) {
		for (unsigned i = 0; i < MACHINES; i++) {
			char vm_id[16];
			VmCall call = { .vm_id = vm_id,
					.principal = "stress",
					.allow_missing = true };

			(void)snprintf(vm_id, sizeof vm_id, "vm-%u", i);
			asked++;
			runtime_run_vm(node.runtime, VM_OP_DESTROY, &call, count_answer, NULL);
		}
		clock_sleep_us(50 * USEC_PER_MSEC);
		if (answered == asked && count_vms() == 0)
			return true;
	}
	return false;
}

int main(void)
{
	pthread_t callers[CALLERS], reader;
	static atomic_bool ending;
	bool clean;

	test_node_open(&node);
	if (pthread_create(&reader, NULL, watcher, &ending) != 0)
		return 1;
	for (uintptr_t i = 0; i < CALLERS; i++)
		if (pthread_create(&callers[i], NULL, caller, (void *)(i + 1)) != 0)
			return 1;
	for (int i = 0; i < CALLERS; i++)
		pthread_join(callers[i], NULL);
	clean = destroy_all();
	ending = true;
	pthread_join(reader, NULL);
	if (!clean)
		fprintf(stderr, "%u calls, %u answers, %zu VMs\n", asked, answered, count_vms());
	test_node_remove(&node);
	return clean ? 0 : 1;
}
