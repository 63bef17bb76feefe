/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Snapshots of VMs, and VMs that go on from them, as their operations see them; inside runtime/
 * only. */

#include "runtime/snapshot.h"
#include "runtime/vm.h"

/* snapshot_describe.c: all of a manifest that is not the catalog's, to unref. @names: as the
 * backend's snapshot() gave them. */
SnapshotManifest *snapshot_describe(const Operation *operation, const SnapshotLabels *given,
				    const FieldTexts *names);

/* snapshot.c */
void taking_free(Taking *taking); /* and what there is of the snapshot; NULL is fine */
int vm_work_snapshot(Operation *operation, Error *err) must_check;
/* Is @operation about the snapshot of that name? */
bool vm_is_taking(const Operation *operation, const char *snapshot_id);
/* What it makes of its VM when it succeeds: its state and spec, and whether a stop is to follow. */
VmState vm_state_after_snapshot(const Operation *operation);
VmDesired vm_desired_after_snapshot(const Operation *operation);
bool vm_stops_after_snapshot(const Operation *operation);

/* snapshot_diff.c */
/* Can a snapshot of @record's VM be laid over @parent now? INVALID_REQUEST, UNSUPPORTED. */
int diff_check_asked(const VmRecord *record, const BackendOps *ops, const char *parent, Error *err)
	must_check;
/* The VMM is about to write; from now on nothing can be laid over what there is. @parent: "" of a
 * full one. */
int diff_begin(Job *job, const char *parent, Error *err) must_check;
/* @snapshot_id is there, and the next one can be laid over it. */
void diff_end(Job *job, const BackendOps *ops, const char *snapshot_id);
/* What @job is to restore is full when it returns. */
int diff_make_full(Runtime *runtime, Job *job, Error *err) must_check;

/* restore.c */
struct Restoring {
	RestoreFrom from;
	SnapshotUse *use;
	char *working_set;
	FieldTexts names;
};
void restoring_free(Restoring *restoring); /* NULL is fine */
/* Makes @record's spec, as asked, what it and the snapshot it names are together.
 * SNAPSHOT_NOT_FOUND, SNAPSHOT_FAILED, UNSUPPORTED, INVALID_REQUEST. */
int restore_fill(Runtime *runtime, VmRecord *record, Error *err) must_check;
void restore_set_condition(VmRecord *record);
/* Is the next start to restore? */
bool restore_is_due(const VmSpec *spec, const VmResolved *resolved);
/* Looks at the snapshot, all of it that was changed, and sets job->restore. */
int restore_prepare(Operation *operation, Error *err) must_check;
/* Of a run that boots: what an earlier one's guest had of its snapshot. */
void restore_forget(VmResolved *resolved);
/* A copy of the disk of that drive, where none is. ROOTFS, SNAPSHOT_FAILED. */
int restore_disk(Job *job, const VmDrive *drive, Error *err) must_check;
/* The guest that runs gets an identity of its own, unless it has one. GUEST_METADATA and what
 * network_attach() says. */
int restore_make_fresh(Operation *operation, Error *err) must_check;
