/* SPDX-License-Identifier: Apache-2.0 */

/*
 * SnapshotService. To take one is an operation on its VM; the rest is the catalog's, asked on a
 * thread that may block.
 */

#include "agent/handlers.h"
#include "agent/request.h"
#include "agent/wire_snapshot.h"
#include "base/text.h"
#include "runtime/snapshot.h"

static void reply_snapshot(Call *call, const SnapshotInfo *info)
{
	cleanup_(arena_clear) Arena arena;
	cleanup_(spec_unrefp) VmSpec *spec = info->manifest ? snapshot_spec(info->manifest) : NULL;

	arena_init(&arena, SIZE_MAX);
	call_reply(call, &wire_snapshot(&arena, info, spec)->base);
}

static void check_ids(const char *vm_id, const char *snapshot_id, Error *err)
{
	request_check_vm_id(vm_id, err);
	request_check_id("snapshot_id", snapshot_id, err);
}

static void reply_created(void *user, const SnapshotInfo *snapshot, const Error *err)
{
	Call *call = user;

	if (snapshot)
		reply_snapshot(call, snapshot);
	else
		call_fail(call, err);
	call_unref(call);
}

/* As a FieldMap; fields_clear() it with snapshot_labels_table. */
static void take_labels(SnapshotLabels *to, const Hearth__V1__CreateSnapshotRequest *request,
			Error *err)
{
	size_t count = request->n_labels;

	to->labels.pairs = new0_array(struct FieldPair, count);
	to->labels.count = count;
	for (size_t i = 0; i < count; i++) {
		to->labels.pairs[i].key = text_dup(request->labels[i]->key);
		to->labels.pairs[i].value = text_dup(request->labels[i]->value);
	}
	fields_check(&snapshot_labels_table, to, "", err);
}

static void create_snapshot(Call *call, Runtime *runtime,
			    const Hearth__V1__CreateSnapshotRequest *request)
{
	SnapshotLabels labels = { .labels = { 0 } };
	SnapshotCall asked = {
		.vm = REQUEST_VM_CALL(request),
		.snapshot_id = request->snapshot_id,
		.then = (SnapshotThen)request->then,
		.parent = request->parent_snapshot_id,
	};
	Error err = { 0 };

	check_ids(request->vm_id, request->snapshot_id, &err);
	if (*request->parent_snapshot_id)
		request_check_id("parent_snapshot_id", request->parent_snapshot_id, &err);
	take_labels(&labels, request, &err);
	asked.vm.return_when = (ReturnWhen)request->return_when;
	asked.vm.principal = call_principal(call);
	asked.labels = &labels;
	if (!request_fail(call, request->vm_id, &err))
		runtime_create_snapshot(runtime, &asked, reply_created, call_ref(call));
	fields_clear(&snapshot_labels_table, &labels);
}

/* A request on its way to a thread that may block. */
typedef struct SnapshotJob {
	Call *call;
	Runtime *runtime;
	char vm_id[ERROR_ID_MAX], snapshot_id[ERROR_ID_MAX], tenant[ERROR_ID_MAX];
	bool allow_missing, if_changed;
} SnapshotJob;

static void job_free(SnapshotJob *job)
{
	call_unref(job->call);
	free(job);
}
DEFINE_CLEANUP(SnapshotJob *, job_free);

static SnapshotJob *job_new(Call *call, Runtime *runtime, const char *vm_id,
			    const char *snapshot_id)
{
	SnapshotJob *job = new0(SnapshotJob);

	job->call = call_ref(call);
	job->runtime = runtime;
	text_copy(job->vm_id, sizeof job->vm_id, vm_id);
	text_copy(job->snapshot_id, sizeof job->snapshot_id, snapshot_id);
	return job;
}

/* For what asks about one snapshot; NULL: it was refused. */
static SnapshotJob *job_for(Call *call, Runtime *runtime, const char *vm_id,
			    const char *snapshot_id)
{
	Error err = { 0 };

	check_ids(vm_id, snapshot_id, &err);
	return request_fail(call, vm_id, &err) ? NULL : job_new(call, runtime, vm_id, snapshot_id);
}

static void job_run(SnapshotJob *job, Patience patience, void (*work)(void *user))
{
	if (!agent_run_blocking(job->call, job->runtime, patience, work, job))
		job_free(job);
}

static void reply_one(SnapshotJob *job)
{
	SnapshotInfo info = { .manifest = NULL };
	Error err = { 0 };

	if (snapshots_get(runtime_snapshots(job->runtime), job->vm_id, job->snapshot_id, &info,
			  &err) < 0) {
		call_fail(job->call, &err);
		return;
	}
	reply_snapshot(job->call, &info);
	snapshot_info_clear(&info);
}

static void work_get(void *user)
{
	cleanup_(job_freep) SnapshotJob *job = user;

	reply_one(job);
}

static void get_snapshot(Call *call, Runtime *runtime,
			 const Hearth__V1__GetSnapshotRequest *request)
{
	SnapshotJob *job = job_for(call, runtime, request->vm_id, request->snapshot_id);

	if (job)
		job_run(job, PATIENCE_SHORT, work_get);
}

static void work_list(void *user)
{
	cleanup_(job_freep) SnapshotJob *job = user;
	cleanup_(arena_clear) Arena arena;
	Hearth__V1__ListSnapshotsResponse answer = HEARTH__V1__LIST_SNAPSHOTS_RESPONSE__INIT;
	cleanup_free Hearth__V1__Snapshot **refs = NULL;
	cleanup_free VmSpec **specs = NULL;
	SnapshotInfo *infos;
	size_t count;

	snapshots_list(runtime_snapshots(job->runtime), *job->vm_id ? job->vm_id : NULL,
		       *job->tenant ? job->tenant : NULL, &infos, &count);
	arena_init(&arena, SIZE_MAX);
	refs = new0_array(Hearth__V1__Snapshot *, count);
	specs = new0_array(VmSpec *, count);
	answer.snapshots = refs;
	answer.n_snapshots = count;
	for (size_t i = 0; i < count; i++) {
		specs[i] = infos[i].manifest ? snapshot_spec(infos[i].manifest) : NULL;
		refs[i] = wire_snapshot(&arena, &infos[i], specs[i]);
	}
	call_reply(job->call, &answer.base);
	for (size_t i = 0; i < count; i++)
		spec_unref(specs[i]);
	snapshot_infos_free(infos, count);
}

static void list_snapshots(Call *call, Runtime *runtime,
			   const Hearth__V1__ListSnapshotsRequest *request)
{
	SnapshotJob *job;
	Error err = { 0 };

	if (*request->vm_id)
		request_check_vm_id(request->vm_id, &err);
	request_check_tenant(request->tenant, &err);
	if (request_fail(call, request->vm_id, &err))
		return;
	job = job_new(call, runtime, request->vm_id, "");
	text_copy(job->tenant, sizeof job->tenant, request->tenant);
	job_run(job, PATIENCE_SHORT, work_list);
}

static void work_delete(void *user)
{
	cleanup_(job_freep) SnapshotJob *job = user;
	Hearth__V1__DeleteSnapshotResponse answer = HEARTH__V1__DELETE_SNAPSHOT_RESPONSE__INIT;
	Error err = { 0 };
	int r = snapshots_delete(runtime_snapshots(job->runtime), job->vm_id, job->snapshot_id,
				 &err);

	if (r < 0 && !(job->allow_missing && err.kind == ERROR_SNAPSHOT_NOT_FOUND))
		call_fail(job->call, &err);
	else
		call_reply(job->call, &answer.base);
}

static void delete_snapshot(Call *call, Runtime *runtime,
			    const Hearth__V1__DeleteSnapshotRequest *request)
{
	SnapshotJob *job = job_for(call, runtime, request->vm_id, request->snapshot_id);

	if (!job)
		return;
	job->allow_missing = request->allow_missing;
	job_run(job, PATIENCE_SHORT, work_delete);
}

static void work_verify(void *user)
{
	cleanup_(job_freep) SnapshotJob *job = user;
	Error err = { 0 };

	if (snapshots_verify(runtime_snapshots(job->runtime), job->vm_id, job->snapshot_id,
			     !job->if_changed, NULL, &err) < 0)
		call_fail(job->call, &err);
	else
		reply_one(job);
}

static void verify_snapshot(Call *call, Runtime *runtime,
			    const Hearth__V1__VerifySnapshotRequest *request)
{
	SnapshotJob *job = job_for(call, runtime, request->vm_id, request->snapshot_id);

	if (!job)
		return;
	job->if_changed = request->if_changed;
	job_run(job, PATIENCE_LONG, work_verify);
}

static void work_flatten(void *user)
{
	cleanup_(job_freep) SnapshotJob *job = user;
	Error err = { 0 };

	if (runtime_flatten_snapshot(job->runtime, job->vm_id, job->snapshot_id, NULL, &err) < 0)
		call_fail(job->call, &err);
	else
		reply_one(job);
}

static void flatten_snapshot(Call *call, Runtime *runtime,
			     const Hearth__V1__FlattenSnapshotRequest *request)
{
	SnapshotJob *job = job_for(call, runtime, request->vm_id, request->snapshot_id);

	if (job)
		job_run(job, PATIENCE_LONG, work_flatten);
}

static DEFINE_HANDLER(SnapshotService, create_snapshot, CreateSnapshot, Snapshot);
static DEFINE_HANDLER(SnapshotService, get_snapshot, GetSnapshot, Snapshot);
static DEFINE_HANDLER(SnapshotService, list_snapshots, ListSnapshots, ListSnapshotsResponse);
static DEFINE_HANDLER(SnapshotService, delete_snapshot, DeleteSnapshot, DeleteSnapshotResponse);
static DEFINE_HANDLER(SnapshotService, flatten_snapshot, FlattenSnapshot, Snapshot);
static DEFINE_HANDLER(SnapshotService, verify_snapshot, VerifySnapshot, Snapshot);

Hearth__V1__SnapshotService_Service snapshot_service = HEARTH__V1__SNAPSHOT_SERVICE__INIT(handle_);
