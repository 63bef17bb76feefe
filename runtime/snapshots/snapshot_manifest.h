/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a snapshot is: manifest.json in its directory.
 *
 * The file is {"sha256":"<of what follows>","manifest":{...}} and a newline, byte for byte: the
 * digest is of the bytes of the inner object as they lie there, and the inner object has the size
 * and the digest of every other file. So one bit that is another, anywhere in the directory, is
 * found. This keeps no one out who can write there: it finds what disks and people do by mistake.
 *
 * It has a format and a minor format. Of a newer minor one the members unknown here are passed
 * over; of a known one they are damage. A newer format is not read.
 *
 * A manifest is filled in by whoever makes the snapshot, and is constant from
 * snapshot_draft_finish() on; then it is shared by reference, safe from any thread. Texts and
 * lists are its own; NULL and "" are both unset.
 */

#include "runtime/images/disk_hash.h"

#include <stdatomic.h>
#include <stddef.h>

#define SNAPSHOT_MANIFEST "manifest.json"
/* Of guest memory; of a diff the holes are what its parent has. */
#define SNAPSHOT_MEMORY_FILE "memory"
#define SNAPSHOT_DISK_PREFIX "disk-" /* and the drive's id */

enum {
	SNAPSHOT_FORMAT = 1, /* raised when a member changes its meaning */
	SNAPSHOT_MINOR = 0,  /* raised when members are added */
	SNAPSHOT_FILES_MAX = 64,
	SNAPSHOT_LABELS_MAX = 64,
	SNAPSHOT_TEXT_MAX = 255,
	SNAPSHOT_PATH_MAX = 4095,
	SNAPSHOT_SPEC_MAX = 1 << 20,
	SNAPSHOT_MANIFEST_MAX = 16 << 20, /* bytes of the file: in JSON one may become six */
};

typedef enum SnapshotKind {
	SNAPSHOT_FULL,
	SNAPSHOT_DIFF, /* its memory is to be laid over its parent's */
	SNAPSHOT_KIND_COUNT_,
} SnapshotKind;

typedef struct SnapshotLabel {
	char *key, *value;
} SnapshotLabel;

typedef struct SnapshotDrive {
	char *drive_id;
	char *name; /* where the VMM had it (RestoreFrom.drive_names) */
	char *file;
	uint64_t size;
} SnapshotDrive;

typedef struct SnapshotInterface {
	char *interface_id;
	char *guest_mac;
	char *ipv4_address, *ipv6_address;
} SnapshotInterface;

typedef struct SnapshotFile {
	char *name;
	uint64_t size;
	char *sha256;
} SnapshotFile;

typedef struct SnapshotList {
	void *items;
	size_t count;
} SnapshotList;

typedef struct SnapshotManifest {
	atomic_uint refs;

	/* Set by the catalog. */
	uint64_t format, minor;
	char *snapshot_id, *vm_id, *tenant;
	char *uid;        /* of this one and no other of its name */
	char *request;    /* the digest of the request that made it, hexadecimal */
	uint64_t created; /* wall usec */
	SnapshotKind kind;
	char *parent, *parent_uid; /* of a diff */
	char *memory_runs;         /* of a diff: the digest of where its memory has data
				      (runtime/snapshots/snapshot_runs.h) */
	SnapshotList files;        /* SnapshotFile, by name; all but the manifest */

	/* Set by whoever makes it. */
	char *vm_uid;
	SnapshotList labels; /* SnapshotLabel */
	char *backend, *vmm_version;
	char *vmm_format; /* of the state file, if the VMM numbers it apart from itself */
	char *accelerator;
	char *cpu_vendor, *cpu_model, *kernel; /* of the host (runtime/snapshots/snapshot_host.h) */
	uint64_t vcpus, memory_mib;
	char *spec;              /* JSON, to the catalog a text */
	SnapshotList drives;     /* SnapshotDrive; file and size are the catalog's */
	SnapshotList interfaces; /* SnapshotInterface */
	bool guest_connected;    /* the daemon in the guest was */

	char seal[DISK_DIGEST_SIZE]; /* the file's, once it was written or read */
} SnapshotManifest;

/* Empty, with one reference. */
SnapshotManifest *snapshot_manifest_new(void);
SnapshotManifest *snapshot_manifest_ref(SnapshotManifest *manifest); /* accepts NULL */
void snapshot_manifest_unref(SnapshotManifest *manifest);            /* accepts NULL */
DEFINE_CLEANUP(SnapshotManifest *, snapshot_manifest_unref);

/* Replaces a text of a manifest being filled in: snapshot_set(&manifest->kernel, release). */
void snapshot_set(char **text, const char *value);

/* Texts are copied; those of the addresses may be NULL. */
void snapshot_manifest_add_label(SnapshotManifest *manifest, const char *key, const char *value);
void snapshot_manifest_add_drive(SnapshotManifest *manifest, const char *drive_id,
				 const char *name);
void snapshot_manifest_add_interface(SnapshotManifest *manifest, const SnapshotInterface *given);
SnapshotFile *snapshot_manifest_add_file(SnapshotManifest *manifest, const char *name,
					 uint64_t size);

static inline size_t snapshot_file_count(const SnapshotManifest *manifest)
{
	return manifest->files.count;
}

static inline SnapshotFile *snapshot_file_at(const SnapshotManifest *manifest, size_t i)
{
	return (SnapshotFile *)manifest->files.items + i;
}

static inline SnapshotDrive *snapshot_drive_at(const SnapshotManifest *manifest, size_t i)
{
	return (SnapshotDrive *)manifest->drives.items + i;
}

static inline SnapshotInterface *snapshot_interface_at(const SnapshotManifest *manifest, size_t i)
{
	return (SnapshotInterface *)manifest->interfaces.items + i;
}

static inline SnapshotLabel *snapshot_label_at(const SnapshotManifest *manifest, size_t i)
{
	return (SnapshotLabel *)manifest->labels.items + i;
}

/* NULL: there is none. */
SnapshotFile *snapshot_manifest_file(const SnapshotManifest *manifest, const char *name);
SnapshotDrive *snapshot_manifest_drive(const SnapshotManifest *manifest, const char *drive_id);

/* 1 to 64 of A-Z, a-z, 0-9, ".", "_" and "-", without a dot at the beginning, not the manifest's?
 */
bool snapshot_is_file_name(const char *name);

/**
 * snapshot_manifest_to_text() - the file
 * @ret:	to free; @manifest's seal is set
 *
 * SNAPSHOT_FAILED/INPUT if it is none that could be read again, with the first reason.
 */
int snapshot_manifest_to_text(SnapshotManifest *manifest, char **ret, Error *err) must_check;

/**
 * snapshot_manifest_from_text() - the reverse
 * @length:	at most SNAPSHOT_MANIFEST_MAX, else it is not looked at
 *
 * SNAPSHOT_FAILED/CORRUPT; UNSUPPORTED: a newer format.
 */
int snapshot_manifest_from_text(SnapshotManifest **ret, const char *text, size_t length, Error *err)
	must_check;
