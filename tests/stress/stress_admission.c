/* SPDX-License-Identifier: Apache-2.0 */

/*
 * More threads than there is room for create VMs at once: as many as fit are admitted, whoever
 * they are, and the others are told what is lacking. Half of them are each other's equals, which
 * are answered alike.
 */

#include "base/clock.h"
#include "runtime/vm.h"
#include "tests/support/node.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
	THREADS = 8,
	PAIRS = THREADS / 2, /* of which both ask for the same VM */
	FIT = 2,             /* that there is room for, of these */
	ROUNDS = 100,
};

typedef struct Caller {
	pthread_barrier_t *barrier;
	unsigned number;
	TestAnswer answer;
} Caller;

static TestNode node = { .allocatable = { { FIT, 0 } } };

static void *create_one(void *user)
{
	Caller *caller = user;
	char vm_id[16];
	VmSpec *spec = test_spec(VM_DESIRED_RUNNING, NULL);

	(void)snprintf(vm_id, sizeof vm_id, "vm-%u", caller->number % PAIRS);
	(void)pthread_barrier_wait(caller->barrier);
	caller->answer = test_create(&node, vm_id, spec);
	return NULL;
}

/* Is each pair answered alike, and are as many admitted as there is room for? */
static bool answered_right(const Caller callers[static THREADS])
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < PAIRS; i++) {
		const TestAnswer *one = &callers[i].answer, *other = &callers[i + PAIRS].answer;

		if (!one->record != !other->record)
			return false;
		if (one->record)
			admitted++;
		else if (one->err.kind != ERROR_CAPACITY || other->err.kind != ERROR_CAPACITY)
			return false;
	}
	return admitted == FIT;
}

static bool destroy_all(void)
{
	static const Need none;
	NodeCapacity now;

	for (unsigned i = 0; i < PAIRS; i++) {
		char vm_id[16];
		VmCall call = { .vm_id = vm_id, .allow_missing = true };
		TestAnswer answer;

		(void)snprintf(vm_id, sizeof vm_id, "vm-%u", i);
		answer = test_call(&node, VM_OP_DESTROY, &call);
		test_answer_clear(&answer);
	}
	runtime_capacity(node.runtime, &now);
	return memcmp(&now.taken, &none, sizeof none) == 0;
}

static bool play(pthread_barrier_t *barrier)
{
	Caller callers[THREADS];
	pthread_t threads[THREADS];
	bool right;

	for (unsigned i = 0; i < THREADS; i++) {
		callers[i] = (Caller){ .barrier = barrier, .number = i };
		if (pthread_create(&threads[i], NULL, create_one, &callers[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	right = answered_right(callers);
	for (unsigned i = 0; i < THREADS; i++)
		test_answer_clear(&callers[i].answer);
	return destroy_all() && right;
}

int main(void)
{
	pthread_barrier_t barrier;
	bool right = true;

	test_node_open(&node);
	(void)pthread_barrier_init(&barrier, NULL, THREADS);
	for (unsigned round = 0; round < ROUNDS && right; round++)
		right = play(&barrier);
	(void)pthread_barrier_destroy(&barrier);
	test_node_remove(&node);
	if (!right)
		(void)fprintf(stderr, "not those were admitted for which there was room\n");
	return right ? 0 : 1;
}
