/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/node.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"
#include "runtime/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
	PATIENCE_SEC = 10,
	WHOLE = 100, /* per cent */
	KIB = 1024,  /* of a MiB */
};

/* One lock for all answers: tests are not in a hurry. */
static Lock answers = LOCK_INIT;

static void write_line(const char *path, const char *key, uint64_t number)
{
	FILE *file = fopen(path, "we");

	if (!file || fprintf(file, "%s%" PRIu64 "\n", key, number) < 0 || fclose(file) != 0)
		abort();
}

void test_node_change_host(TestNode *node)
{
	char pages[sizeof node->huge_pages + sizeof "/nr_hugepages"];

	(void)snprintf(node->meminfo, sizeof node->meminfo, "%s/meminfo", node->state_dir);
	(void)snprintf(node->huge_pages, sizeof node->huge_pages, "%s/pages", node->state_dir);
	(void)snprintf(pages, sizeof pages, "%s/nr_hugepages", node->huge_pages);
	if (mkdir(node->huge_pages, S_IRWXU) < 0 && errno != EEXIST)
		abort();
	write_line(node->meminfo, "MemTotal: ", node->allocatable.of[RESOURCE_MEMORY] * KIB);
	write_line(pages, "", node->allocatable.of[RESOURCE_HUGE_PAGES]);
}

void test_node_open(TestNode *node)
{
	RuntimeConfig config = {
		.node_id = "test",
		.default_backend = VM_BACKEND_IN_MEMORY,
		.backend = { .keeper_path = "/nonexistent/hearth-keeper" },
		.max_vms = node->max_vms ? node->max_vms : 100,
		.cpus = node->allocatable.of[RESOURCE_VCPUS],
		.cpu_percent = node->allocatable.of[RESOURCE_VCPUS] ? WHOLE : 0,
		.memory_percent = node->allocatable.of[RESOURCE_MEMORY] ? WHOLE : 0,
		.meminfo = node->meminfo,
		.huge_pages = node->huge_pages,
		.max_operations = 16,
		.max_restarts = 4,
		.history = 1000,
	};
	Backend *backends[VM_BACKEND_COUNT_] = { NULL };
	Error err = { 0 };
	char message[ERROR_MESSAGE_MAX];

	if (!node->state_dir[0]) {
		(void)stpcpy(node->state_dir, "/tmp/hearth-test-XXXXXX");
		if (!mkdtemp(node->state_dir))
			abort();
	}
	config.state_dir = node->state_dir;
	test_node_change_host(node);
	node->fault = fault_backend_new(node->calm);
	if (node->adopts)
		fault_adopt(node->fault);
	backends[VM_BACKEND_IN_MEMORY] = in_memory_new();
	backends[VM_BACKEND_QEMU] = fault_backend(node->fault);
	config.network = node->network;
	network_deny_builtin(&config.network);
	node->fake = fake_network_new(node->has_network);
	if (runtime_open_with(&node->runtime, &config, backends, fake_network(node->fake), &err) <
	    0) {
		(void)fprintf(stderr, "%s\n", error_message(&err, message));
		abort();
	}
}

void test_node_close(TestNode *node)
{
	if (!runtime_close(node->runtime, (int64_t)PATIENCE_SEC * USEC_PER_SEC))
		abort();
	node->runtime = NULL;
}

void test_node_remove(TestNode *node)
{
	if (node->runtime)
		test_node_close(node);
	if (node->state_dir[0] && file_remove_tree(node->state_dir) < 0)
		abort();
}

VmSpec *test_spec(VmDesired desired, const char *fault)
{
	VmSpec *spec = spec_new();

	spec->backend = VM_BACKEND_QEMU;
	spec->desired_state = desired;
	if (fault) {
		spec->labels.pairs = new0_array(struct FieldPair, 1);
		spec->labels.count = 1;
		spec->labels.pairs[0].key = text_dup("fault");
		spec->labels.pairs[0].value = text_dup(fault);
	}
	return spec;
}

static void note_answer(void *user, const VmRecord *record, const Error *err)
{
	TestAnswer *answer = user;
	union {
		const VmRecord *borrowed;
		VmRecord *own;
	} shared = { .borrowed = record };

	lock_take(&answers);
	answer->record = record ? record_ref(shared.own) : NULL;
	if (err)
		answer->err = *err;
	answer->answered = true;
	lock_drop(&answers);
}

bool test_wait(TestAnswer *answer)
{
	int64_t deadline = clock_mono_us() + (int64_t)PATIENCE_SEC * USEC_PER_SEC;
	bool answered = false;

	while (!answered && clock_mono_us() < deadline) {
		lock_take(&answers);
		answered = answer->answered;
		lock_drop(&answers);
		if (!answered)
			clock_sleep_us(USEC_PER_MSEC);
	}
	return answered;
}

void test_begin_create(TestNode *node, const char *vm_id, const char *uid, VmSpec *spec,
		       TestAnswer *ret)
{
	CreateCall call = {
		.vm_id = vm_id, .uid = uid, .tenant = "", .spec = spec, .principal = "test"
	};

	*ret = (TestAnswer){ 0 };
	runtime_create_vm(node->runtime, &call, note_answer, ret);
}

TestAnswer test_create_call(TestNode *node, const CreateCall *call)
{
	TestAnswer answer = { 0 };

	runtime_create_vm(node->runtime, call, note_answer, &answer);
	if (!test_wait(&answer))
		abort();
	return answer;
}

TestAnswer test_create(TestNode *node, const char *vm_id, VmSpec *spec)
{
	TestAnswer answer;

	test_begin_create(node, vm_id, "", spec, &answer);
	if (!test_wait(&answer))
		abort();
	spec_unref(spec);
	return answer;
}

void test_begin(TestNode *node, VmOp op, const VmCall *call, TestAnswer *ret)
{
	VmCall with_principal = *call;

	with_principal.principal = "test";
	*ret = (TestAnswer){ 0 };
	runtime_run_vm(node->runtime, op, &with_principal, note_answer, ret);
}

TestAnswer test_call(TestNode *node, VmOp op, const VmCall *call)
{
	TestAnswer answer;

	test_begin(node, op, call, &answer);
	if (!test_wait(&answer))
		abort();
	return answer;
}

TestAnswer test_run(TestNode *node, VmOp op, const char *vm_id)
{
	VmCall call = { .vm_id = vm_id };

	return test_call(node, op, &call);
}

void test_answer_clear(TestAnswer *answer)
{
	record_unref(take_ptr(answer->record));
}

bool test_reaches(TestNode *node, const char *vm_id, VmState state)
{
	int64_t deadline = clock_mono_us() + (int64_t)PATIENCE_SEC * USEC_PER_SEC;
	VmState seen = VM_STATE_UNSET;

	while (seen != state && clock_mono_us() < deadline) {
		VmRecord *record = registry_get(runtime_registry(node->runtime), vm_id);

		seen = record ? record->status.state : VM_DESTROYED;
		record_unref(record);
		if (seen != state)
			clock_sleep_us(USEC_PER_MSEC);
	}
	return seen == state;
}
