/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Snapshots of the node's VMs: what the API's handlers call, beside the catalog (snapshots.h). */

#include "runtime/runtime.h"
#include "runtime/snapshots/snapshots.h"

typedef enum SnapshotThen { /* the proto's numbers */
	SNAPSHOT_THEN_UNSET,
	SNAPSHOT_THEN_RESUME,
	SNAPSHOT_THEN_PAUSE,
	SNAPSHOT_THEN_STOP,
	SNAPSHOT_THEN_COUNT_,
} SnapshotThen;

/* Labels of a snapshot, and their field table. */
typedef struct SnapshotLabels {
	FieldMap labels;
} SnapshotLabels;
extern const FieldTable snapshot_labels_table;

typedef struct SnapshotCall {
	VmCall vm;               /* its vm_id, what is expected of the VM, and how to answer */
	const char *snapshot_id; /* a valid id */
	SnapshotThen then;
	const char *parent; /* that it is to be laid over; "": none, it is a full one */
	const SnapshotLabels *labels;
} SnapshotCall;

/* The spec of the VM that @manifest is of, a reference; NULL: it has none that can be read. */
VmSpec *snapshot_spec(const SnapshotManifest *manifest);

/* @snapshot is borrowed; NULL on failure, when @err says why. May block. */
typedef void SnapshotReply(void *user, const SnapshotInfo *snapshot, const Error *err);

/* As runtime_run_vm(). What CreateSnapshot says of failures. */
void runtime_create_snapshot(Runtime *runtime, const SnapshotCall *call, SnapshotReply *reply,
			     void *user);

/* As snapshots_flatten(), one at a time. Blocks. */
int runtime_flatten_snapshot(Runtime *runtime, const char *vm_id, const char *snapshot_id,
			     const DiskProgress *progress, Error *err) must_check;

Snapshots *runtime_snapshots(Runtime *runtime);
