/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * For Criterion suites about the runtime: the node each test has to itself,
 * and calls on it that must come out as said.
 */

#include "tests/support/node.h"

#include <criterion/criterion.h>

static TestNode node;

static inline void open_node(void)
{
	node = (TestNode){ 0 };
	test_node_open(&node);
}

static inline void remove_node(void)
{
	test_node_remove(&node);
}

static inline VmState state_of(const TestAnswer *answer)
{
	return answer->record ? answer->record->status.state : VM_STATE_UNSET;
}

/* Creates a VM that must come out in @state. */
static inline void create(const char *vm_id, VmSpec *spec, VmState state)
{
	TestAnswer answer = test_create(&node, vm_id, spec);
	char message[ERROR_MESSAGE_MAX];

	cr_assert_eq(state_of(&answer), state, "%s", error_message(&answer.err, message));
	test_answer_clear(&answer);
}

static inline void run(VmOp op, const char *vm_id, VmState state)
{
	TestAnswer answer = test_run(&node, op, vm_id);
	char message[ERROR_MESSAGE_MAX];

	cr_assert_eq(state_of(&answer), state, "%s", error_message(&answer.err, message));
	test_answer_clear(&answer);
}

static inline void run_fails(VmOp op, const char *vm_id, ErrorKind kind)
{
	TestAnswer answer = test_run(&node, op, vm_id);

	cr_assert_eq(answer.err.kind, kind, "%s", error_kind_name(answer.err.kind));
	test_answer_clear(&answer);
}

/* A reference, or NULL. */
static inline VmRecord *look(const char *vm_id)
{
	return registry_get(runtime_registry(node.runtime), vm_id);
}
