/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the suites about UpdateVm have in common: specs with parts to update, and updates of web-1.
 */

#include "base/text.h"
#include "tests/support/suite_node.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A disk of the test's, made if it is not there; to free. */
static inline char *disk(const char *name)
{
	char *path = text_printf("%s/%s", node.state_dir, name);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, "x", 1), 1);
	closep(&fd);
	return path;
}

static inline void add_drive(VmSpec *spec, const char *id, const char *name)
{
	VmDrive *drive = field_list_add(&spec->drives, &vm_drive_table);

	drive->drive_id = text_dup(id);
	drive->path = disk(name);
}

static inline VmSpec *with_balloon(VmDesired desired, const char *fault, uint64_t mib)
{
	VmSpec *spec = test_spec(desired, fault);

	spec->devices = new0(VmDevices);
	spec->devices->balloon = new0(VmBalloon);
	spec->devices->balloon->amount_mib = mib;
	return spec;
}

static inline VmSpec *with_drive(VmDesired desired, const char *fault, const char *name)
{
	VmSpec *spec = test_spec(desired, fault);

	add_drive(spec, "data", name);
	return spec;
}

/* The values of @spec (taken over) that @mask names, for web-1. */
static inline TestAnswer update(VmSpec *spec, unsigned mask)
{
	VmCall call = { .vm_id = "web-1", .update = spec, .update_mask = mask };
	TestAnswer answer = test_call(&node, VM_OP_UPDATE, &call);

	spec_unref(spec);
	return answer;
}

static inline void update_fails(VmSpec *spec, unsigned mask, ErrorKind kind, const char *words)
{
	TestAnswer answer = update(spec, mask);
	char message[ERROR_MESSAGE_MAX];

	cr_assert_eq(answer.err.kind, kind, "%s", error_kind_name(answer.err.kind));
	(void)error_message(&answer.err, message);
	cr_assert_not_null(strstr(message, words), "%s", message);
}

/* Answers the new generation. */
static inline uint64_t update_goes(VmSpec *spec, unsigned mask)
{
	TestAnswer answer = update(spec, mask);
	char message[ERROR_MESSAGE_MAX];
	uint64_t generation;

	cr_assert_not_null(answer.record, "%s", error_message(&answer.err, message));
	generation = answer.record->generation;
	test_answer_clear(&answer);
	return generation;
}

/* Begins an update of web-1 that waits. */
static inline void begin_update(VmSpec *spec, unsigned mask, TestAnswer *ret)
{
	VmCall call = { .vm_id = "web-1", .update = spec, .update_mask = mask };

	test_begin(&node, VM_OP_UPDATE, &call, ret);
	spec_unref(spec);
	while (fault_updates(node.fault, "web-1") == 0)
		(void)usleep(1000);
}

static inline uint64_t balloon_of(const char *vm_id)
{
	cleanup_(record_unrefp) VmRecord *record = look(vm_id);

	return spec_balloon(record->spec)->amount_mib;
}

/* May another VM write to @name? */
static inline bool is_free(const char *name)
{
	TestAnswer answer = test_create(&node, "taker", with_drive(VM_DESIRED_UNSET, NULL, name));
	bool made = answer.record;

	test_answer_clear(&answer);
	if (made)
		run(VM_OP_DESTROY, "taker", VM_DESTROYED);
	return made;
}
