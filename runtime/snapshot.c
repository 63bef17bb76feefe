/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshot.h"

#include "base/clock.h"
#include "base/text.h"
#include "runtime/vm_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>

/*
 * CreateSnapshot. The catalog is asked first: it knows whether there is one of that name, and
 * whether there is room. Then it is an operation on the VM, which pauses it, has its VMM write and
 * takes its disks; the VM goes on before anything is read for its digest, for that takes longest.
 */

enum {
	MIB = 1 << 20,
	STATE_MIB = 16, /* of devices and virtual CPUs, and what a VMM writes around memory */
};

struct Taking {
	SnapshotDraft *draft;
	char snapshot_id[ERROR_ID_MAX];
	char parent[ERROR_ID_MAX]; /* of a diff */
	SnapshotThen then;
	SnapshotLabels labels;
	char request[DISK_DIGEST_SIZE];
};

static const Field labels_fields[] = {
	{ "labels", FIELD_MAP, .offset = offsetof(SnapshotLabels, labels),
	  .max = SNAPSHOT_LABELS_MAX },
};
const FieldTable snapshot_labels_table = {
	"SnapshotLabels",
	sizeof(SnapshotLabels),
	labels_fields,
	array_size(labels_fields),
};

void taking_free(Taking *taking)
{
	if (!taking)
		return;
	fields_clear(&snapshot_labels_table, &taking->labels);
	snapshot_draft_end(taking->draft);
	free(taking);
}

/* What makes two requests the same. */
static void digest_of(char ret[static DISK_DIGEST_SIZE], const SnapshotCall *call)
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:s, s:i, s:o}", "vm_id", call->vm.vm_id, "snapshot_id",
		call->snapshot_id, "parent", call->parent ? call->parent : "", "uid",
		call->vm.expected_uid ? call->vm.expected_uid : "", "then", (int)call->then,
		"labels", fields_to_json(&snapshot_labels_table, call->labels));
	cleanup_free char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(json);
	disk_hasher_add(hasher, text, strlen(text));
	disk_hasher_end(hasher, ret);
}

bool vm_is_taking(const Operation *operation, const char *snapshot_id)
{
	return operation->op == VM_OP_SNAPSHOT && operation->taking &&
	       strcmp(operation->taking->snapshot_id, snapshot_id) == 0;
}

/* Where the VM is in the end, if all goes well. */
VmState vm_state_after_snapshot(const Operation *operation)
{
	if (!operation->taking || operation->taking->then == SNAPSHOT_THEN_UNSET)
		return operation->from;
	return operation->taking->then == SNAPSHOT_THEN_RESUME ? VM_RUNNING : VM_PAUSED;
}

/* What the spec says of it from then on. */
VmDesired vm_desired_after_snapshot(const Operation *operation)
{
	static const VmDesired desired[SNAPSHOT_THEN_COUNT_] = {
		[SNAPSHOT_THEN_RESUME] = VM_DESIRED_RUNNING,
		[SNAPSHOT_THEN_PAUSE] = VM_DESIRED_PAUSED,
	};

	return operation->taking ? desired[operation->taking->then] : VM_DESIRED_UNSET;
}

bool vm_stops_after_snapshot(const Operation *operation)
{
	return operation->op == VM_OP_SNAPSHOT && operation->taking &&
	       operation->taking->then == SNAPSHOT_THEN_STOP;
}

static int take_disks(Operation *operation, Error *err)
{
	Job *job = &operation->job;
	const DiskProgress progress = job_progress(job);

	if (!(operation->vm->backend->ops->capabilities & BACKEND_PROCESS))
		return 0;
	for (size_t i = 0; i < job->spec->drives.count; i++) {
		const VmDrive *drive = spec_drive(job->spec, i);
		cleanup_close int disk = -1;

		if (disk_open(&disk, AT_FDCWD, drive->path, err) < 0 ||
		    snapshot_draft_add_disk(operation->taking->draft, drive->drive_id, disk,
					    &progress, err) < 0)
			return -1;
	}
	return 0;
}

/* All of the VM, which stands still. */
static int take(Operation *operation, FieldTexts *names, Error *err)
{
	Job *job = &operation->job;
	const Taking *taking = operation->taking;
	const BackendOps *ops = operation->vm->backend->ops;

	job_step(job, "memory");
	if (diff_begin(job, taking->parent, err) < 0 ||
	    ops->snapshot(operation->vm->backend, job, snapshot_draft_dir(taking->draft),
			  *taking->parent, names, err) < 0)
		return -1;
	job_step(job, "disks");
	return take_disks(operation, err);
}

static bool tell(void *user, uint64_t done, uint64_t total)
{
	Operation *operation = user;

	snapshot_draft_progress(operation->taking->draft, done, total);
	return !job_cancelled(&operation->job);
}

static int publish(Operation *operation, const FieldTexts *names, Error *err)
{
	const DiskProgress progress = { .step = tell, .user = operation };
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest =
		snapshot_describe(operation, &operation->taking->labels, names);

	job_step(&operation->job, "digests");
	return snapshot_draft_finish(operation->taking->draft, manifest, &progress, err);
}

/* The VM @runs, and is to be as @state says. */
static int bring_to(Operation *operation, VmState state, bool *runs, Error *err)
{
	const BackendOps *ops = operation->vm->backend->ops;
	bool wanted = state == VM_RUNNING;

	if (*runs == wanted)
		return 0;
	if (wanted ? vm_resume(operation, err) < 0
		   : ops->pause(operation->vm->backend, &operation->job, err) < 0)
		return -1;
	*runs = wanted;
	return 0;
}

static int carry_out(Operation *operation, bool *runs, Error *err)
{
	FieldTexts names = { 0 };
	int r = bring_to(operation, VM_PAUSED, runs, err);

	if (r == 0)
		r = take(operation, &names, err);
	if (r == 0)
		r = bring_to(operation, operation->rule.done, runs, err);
	if (r == 0)
		r = publish(operation, &names, err);
	field_texts_clear(&names);
	return r;
}

/* Whatever it was given up for: it is to be again what it was. */
static int undo(Operation *operation, bool *runs, Error *err)
{
	int cancel_fd = operation_hold(operation);
	int r = bring_to(operation, operation->from, runs, err);

	if (r < 0)
		operation->job.poisoned = vm_has_vmm(operation);
	operation_let_go(operation, cancel_fd);
	return r;
}

/* An agent that died in it has left nothing of the snapshot: the VM is to be what it was, whatever
 * it is. */
static int undo_interrupted(Operation *operation, Error *err)
{
	bool runs = operation->from == VM_PAUSED;

	field_set_text(&operation->resolved.diff_base, NULL);
	if (undo(operation, &runs, err) < 0)
		return -1;
	return error_set(err, ERROR_SNAPSHOT_FAILED, "the agent ended while it was taken; undone");
}

int vm_work_snapshot(Operation *operation, Error *err)
{
	bool runs = operation->from == VM_RUNNING;
	Taking *taking = operation->taking;
	Error left = { 0 };
	int r;

	if (vm_watch_if_resumed(operation, err) < 0)
		return -1;
	if (operation->resumed)
		return undo_interrupted(operation, err);
	r = carry_out(operation, &runs, err);
	/* It is there, or nothing of it is, before anybody is told. */
	snapshot_draft_end(take_ptr(taking->draft));
	if (r == 0) {
		diff_end(&operation->job, operation->vm->backend->ops, taking->snapshot_id);
		return 0;
	}
	error_about_snapshot(err, operation->vm->id, taking->snapshot_id);
	operation->rule.done = operation->from;
	if (!operation->job.poisoned)
		(void)!undo(operation, &runs, &left);
	return -1;
}

/* One CreateSnapshot on its way. */
typedef struct Create {
	Runtime *runtime;
	char vm_id[ERROR_ID_MAX], expected_uid[ERROR_ID_MAX];
	VmCall vm;
	char *principal;
	Taking *taking;
	SnapshotReply *reply;
	void *user;
} Create;

static void create_free(Create *create)
{
	taking_free(create->taking);
	free(create->principal);
	free(create);
}

/* Which would have been made. */
static void describe_wanted(SnapshotInfo *info, const Create *create, const char *snapshot_id)
{
	text_copy(info->vm_id, sizeof info->vm_id, create->vm_id);
	text_copy(info->snapshot_id, sizeof info->snapshot_id, snapshot_id);
	info->state = SNAPSHOT_CREATING;
}

static void answer(Create *create, const char *snapshot_id, const Error *err)
{
	SnapshotInfo info = { .manifest = NULL };
	Error missing = { 0 };

	if (!err && snapshots_get(create->runtime->snapshots, create->vm_id, snapshot_id, &info,
				  &missing) < 0) {
		if (create->vm.validate_only)
			describe_wanted(&info, create, snapshot_id);
		else
			err = &missing;
	}
	create->reply(create->user, err ? NULL : &info, err);
	snapshot_info_clear(&info);
	create_free(create);
}

/* Of an operation, which by now may have its taking no more. */
typedef struct Answer {
	Create *create;
	char snapshot_id[ERROR_ID_MAX];
} Answer;

static void answered(void *user, const VmRecord *record, const Error *err)
{
	Answer *waiting = user;

	(void)record;
	answer(waiting->create, waiting->snapshot_id, err);
	free(waiting);
}

static Answer *wait_for(Create *create, const char *snapshot_id)
{
	Answer *waiting = new0(Answer);

	waiting->create = create;
	text_copy(waiting->snapshot_id, sizeof waiting->snapshot_id, snapshot_id);
	return waiting;
}

/* The same request, which goes on: false if it does no more. */
static bool join(Create *create, Vm *vm, const char *snapshot_id)
{
	Answer *waiting;
	bool joined;

	if (create->vm.return_when == RETURN_WHEN_ACCEPTED)
		return false;
	waiting = wait_for(create, snapshot_id);
	lock_take(&vm->lock);
	joined = vm->running && vm_is_taking(vm->running, snapshot_id);
	if (joined)
		operation_add_waiter(vm->running, answered, waiting, create->vm.return_when);
	lock_drop(&vm->lock);
	if (!joined)
		free(waiting);
	return joined;
}

/* What the catalog is to know before there is anything. */
static void fill_begin(SnapshotBegin *begin, const Create *create, Vm *vm,
		       char tenant[static ERROR_ID_MAX])
{
	uint64_t mib = 0;

	tenant[0] = '\0';
	*begin = (SnapshotBegin){
		.vm_id = create->vm_id,
		.snapshot_id = create->taking->snapshot_id,
		.tenant = tenant,
		.request = create->taking->request,
		.parent = *create->taking->parent ? create->taking->parent : NULL,
	};
	if (!vm)
		return;
	lock_take(&vm->lock);
	if (vm->backend->ops->capabilities & BACKEND_PROCESS)
		mib = spec_memory_mib(vm->latest->spec);
	if (vm->latest->tenant)
		text_copy(tenant, ERROR_ID_MAX, vm->latest->tenant);
	lock_drop(&vm->lock);
	/* Its disks are looked at when they are taken. */
	begin->bytes = (mib + STATE_MIB) * MIB;
}

static int check_parent(const Create *create, Vm *vm, Error *err)
{
	cleanup_(record_unrefp) VmRecord *record = NULL;

	lock_take(&vm->lock);
	record = record_ref(vm->latest);
	lock_drop(&vm->lock);
	return diff_check_asked(record, vm->backend->ops, create->taking->parent, err);
}

static int check_vm(Create *create, Vm *vm, Error *err)
{
	if (!vm)
		return error_set_vm(err, ERROR_VM_NOT_FOUND, create->vm_id);
	if (!vm->backend->ops->snapshot)
		return error_set(err, ERROR_UNSUPPORTED, "snapshot (%s)",
				 vm_backend_name(vm->backend->ops->id));
	return *create->taking->parent ? check_parent(create, vm, err) : 0;
}

static void begin(Create *create, Vm *vm)
{
	Operation *operation = operation_new(vm, VM_OP_SNAPSHOT, "snapshot", create->principal);
	const VmCall call = create->vm;
	Answer *waiting = wait_for(create, create->taking->snapshot_id);

	operation->taking = take_ptr(create->taking);
	operation_add_waiter(operation, answered, waiting, call.return_when);
	vm_request(operation, &call);
}

/* The snapshot is there by the same request, or is being made by it. */
static void answer_again(Create *create, Vm *vm)
{
	char snapshot_id[ERROR_ID_MAX];

	text_copy(snapshot_id, sizeof snapshot_id, create->taking->snapshot_id);
	if (!vm || !join(create, vm, snapshot_id))
		answer(create, snapshot_id, NULL);
}

/* Does it exist, whoever has made it? Then it does not matter whether its VM does. */
static bool exists(const Create *create)
{
	SnapshotInfo there = { .manifest = NULL };
	Error none = { 0 };
	bool found = snapshots_get(create->runtime->snapshots, create->vm_id,
				   create->taking->snapshot_id, &there, &none) == 0;

	snapshot_info_clear(&there);
	return found;
}

/* The draft of it, unless it is there, or being made, by the same request. */
static int begin_draft(Create *create, Vm *vm, SnapshotBegun *begun, Error *err)
{
	Taking *taking = create->taking;
	char tenant[ERROR_ID_MAX];
	SnapshotBegin with;

	fill_begin(&with, create, vm, tenant);
	if (!exists(create) && check_vm(create, vm, err) < 0)
		return -1;
	if (snapshots_begin(create->runtime->snapshots, &with, &taking->draft, begun, err) < 0)
		return -1;
	return *begun == SNAPSHOT_BEGUN ? check_vm(create, vm, err) : 0;
}

static void run_create(void *user)
{
	Create *create = user;
	cleanup_(vm_unrefp) Vm *vm = vm_find(create->runtime, create->vm_id);
	SnapshotBegun begun;
	Error err = { 0 };

	if (begin_draft(create, vm, &begun, &err) < 0)
		answer(create, create->taking->snapshot_id, &err);
	else if (begun != SNAPSHOT_BEGUN)
		answer_again(create, vm);
	else
		begin(create, vm);
}

void runtime_create_snapshot(Runtime *runtime, const SnapshotCall *call, SnapshotReply *reply,
			     void *user)
{
	Create *create = new0(Create);
	Error err = { 0 };

	create->runtime = runtime;
	create->vm = call->vm;
	text_copy(create->vm_id, sizeof create->vm_id, call->vm.vm_id);
	if (call->vm.expected_uid)
		text_copy(create->expected_uid, sizeof create->expected_uid, call->vm.expected_uid);
	create->vm.vm_id = create->vm_id;
	create->vm.expected_uid = create->expected_uid;
	create->principal = text_dup(call->vm.principal);
	create->vm.principal = create->principal;
	create->taking = new0(Taking);
	create->taking->then = call->then;
	text_copy(create->taking->parent, sizeof create->taking->parent, call->parent);
	fields_copy(&snapshot_labels_table, &create->taking->labels, call->labels);
	text_copy(create->taking->snapshot_id, sizeof create->taking->snapshot_id,
		  call->snapshot_id);
	digest_of(create->taking->request, call);
	create->reply = reply;
	create->user = user;
	if (runtime_run_blocking(runtime, PATIENCE_SHORT, run_create, create))
		return;
	(void)error_set(&err, ERROR_QUEUE_FULL, "too many requests wait for the host");
	reply(user, NULL, &err);
	create_free(create);
}
