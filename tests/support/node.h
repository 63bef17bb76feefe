/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A runtime of its own for a test: a scratch state directory, the fault
 * backend in QEMU's place, a fake network, and calls that wait for their answer.
 */

#include "runtime/runtime.h"
#include "tests/support/fake_network.h"
#include "tests/support/fault_backend.h"

typedef struct TestNode {
	char state_dir[64];
	bool calm;        /* the fault backend ignores its labels */
	bool adopts;      /* the fault backend finds every VMM it looks for */
	uint32_t max_vms; /* 0: 100 */
	Need allocatable; /* vCPUs, memory and huge pages; 0 of the first two: no limit */
	char meminfo[96], huge_pages[96]; /* where it says so of the last two */
	bool has_network;      /* the fake network leases; else it is as one that is off */
	NetworkConfig network; /* its pools, without what is always denied */
	Runtime *runtime;
	FaultBackend *fault;
	FakeNetwork *fake;
} TestNode;

/* What a call answered. */
typedef struct TestAnswer {
	bool answered;
	VmRecord *record; /* a reference, or NULL */
	Error err;
} TestAnswer;

void test_node_open(TestNode *node);   /* the state directory too, unless it is set */
void test_node_close(TestNode *node);  /* keeps the directory */
void test_node_remove(TestNode *node); /* closes and removes it */

/* The host has now what node->allocatable says; noticed as on any other. */
void test_node_change_host(TestNode *node);

/* A spec on the fault backend; @fault may be NULL. One reference, the caller's. */
VmSpec *test_spec(VmDesired desired, const char *fault);

/* Creates and waits for the answer. Takes @spec over. */
TestAnswer test_create(TestNode *node, const char *vm_id, VmSpec *spec);
TestAnswer test_create_call(TestNode *node, const CreateCall *call);
/* Asks for @op and waits for the answer. */
TestAnswer test_run(TestNode *node, VmOp op, const char *vm_id);
TestAnswer test_call(TestNode *node, VmOp op, const VmCall *call);
void test_answer_clear(TestAnswer *answer);

/* Creation without waiting. */
void test_begin_create(TestNode *node, const char *vm_id, const char *uid, VmSpec *spec,
		       TestAnswer *ret);
/* The same without waiting; *@ret is filled later. test_wait() waits for it, at most 10 s. */
void test_begin(TestNode *node, VmOp op, const VmCall *call, TestAnswer *ret);
bool test_wait(TestAnswer *answer);

/* Waits until the published state of @vm_id is @state, at most 10 s; false if it never was. */
bool test_reaches(TestNode *node, const char *vm_id, VmState state);
