/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a snapshot says of itself: manifest.json in its directory. It has the digest of every other
 * file there, and one of its own, so that a bit that flips anywhere is found. Safe from any thread.
 */

#include "runtime/images/disk_hash.h"
#include "runtime/spec.h"

enum {
	SNAPSHOT_FORMAT = 1, /* raised when a member changes its meaning; others are only added */
	SNAPSHOT_LABELS_MAX = 64,
};

typedef struct SnapshotFile {
	char *name;
	uint64_t size;
	char *sha256;
} SnapshotFile;

typedef struct SnapshotDrive {
	char *drive_id;
	char *vmm_name; /* where the VMM had it; empty: it does not matter */
	char *file;     /* of the snapshot's */
} SnapshotDrive;

typedef struct SnapshotManifest {
	char *vm_id;
	char *snapshot_id;
	char *uid; /* the VM's */
	char *tenant;
	char *request; /* digest of the call that made it */
	FieldMap labels;
	int64_t create_time; /* wall usec */
	VmBackend backend;
	char *vmm_version;
	char *accelerator;
	char *cpu_model;  /* of the host */
	char *kernel;     /* of the host: its release */
	FieldList files;  /* SnapshotFile: all but the manifest */
	FieldList drives; /* SnapshotDrive: one for each of the spec's, in that order */
	VmSpec *spec;     /* the VM's */
} SnapshotManifest;

extern const FieldTable snapshot_manifest_table; /* all but the spec */
extern const FieldTable snapshot_labels_table;   /* of it, the labels alone */
extern const FieldTable snapshot_file_table, snapshot_drive_table;

SnapshotManifest *snapshot_manifest_new(void);
void snapshot_manifest_free(SnapshotManifest *manifest); /* accepts NULL */
DEFINE_CLEANUP(SnapshotManifest *, snapshot_manifest_free);
SnapshotManifest *snapshot_manifest_copy(const SnapshotManifest *manifest); /* the spec is shared */

/* Its text; to free. */
char *snapshot_manifest_to_text(const SnapshotManifest *manifest);
/* 0; -EINVAL: it is none, of a later format, or not as it was written. */
int snapshot_manifest_from_text(SnapshotManifest **ret, const char *text) must_check;

/* What a host is, as far as a snapshot depends on it. */
typedef struct SnapshotHost {
	const char *vmm_version, *accelerator, *cpu_model;
} SnapshotHost;

/**
 * snapshot_manifest_check() - can @host go on from it?
 *
 * The same accelerator. Of QEMU the same major and minor version; of Firecracker the same major
 * one, and none that is older. With KVM the same model of CPU, whose features the guest has seen.
 * The host's kernel may be another. UNSUPPORTED, with all that stands against it.
 */
int snapshot_manifest_check(const SnapshotManifest *manifest, const SnapshotHost *host, Error *err)
	must_check;
