/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a caller asks a VM to be: VmSpec of the API, as a C structure.
 *
 * A VmSpec is immutable once it has been shared; it is shared by reference
 * between the records of one VM. Enumerators have the proto's numbers.
 */

#include "runtime/fields.h"

#include <stdatomic.h>

typedef enum VmBackend {
	VM_BACKEND_UNSET,
	VM_BACKEND_IN_MEMORY,
	VM_BACKEND_QEMU,
	VM_BACKEND_FIRECRACKER,
	VM_BACKEND_COUNT_,
} VmBackend;

typedef enum VmDesired {
	VM_DESIRED_UNSET,
	VM_DESIRED_STOPPED,
	VM_DESIRED_RUNNING,
	VM_DESIRED_PAUSED,
	VM_DESIRED_COUNT_,
} VmDesired;

typedef enum VmRestartMode {
	VM_RESTART_UNSET,
	VM_RESTART_NEVER,
	VM_RESTART_ON_FAILURE,
	VM_RESTART_ALWAYS,
	VM_RESTART_COUNT_,
} VmRestartMode;

typedef enum VmExpireAction {
	VM_EXPIRE_UNSET,
	VM_EXPIRE_STOP,
	VM_EXPIRE_DESTROY,
	VM_EXPIRE_COUNT_,
} VmExpireAction;

typedef struct VmMachine {
	uint32_t vcpus;
	uint64_t memory_mib;
} VmMachine;

typedef struct VmBoot {
	char *kernel_path;
	char *initrd_path;
	char *boot_args;
} VmBoot;

typedef struct VmDrive {
	char *drive_id;
	char *path;
	bool read_only;
	bool is_root;
} VmDrive;

typedef struct VmRestartPolicy {
	VmRestartMode mode;
	uint32_t max_restarts;
	int64_t initial_backoff; /* usec */
	int64_t max_backoff;     /* usec */
} VmRestartPolicy;

typedef struct VmSpec {
	atomic_uint refs;
	VmBackend backend;
	VmDesired desired_state;
	FieldMap labels;
	VmMachine *machine;
	VmBoot *boot;
	FieldList drives; /* VmDrive */
	VmRestartPolicy *restart_policy;
	int64_t expires_at;
	VmExpireAction expire_action;
} VmSpec;

extern const FieldTable vm_spec_table, vm_drive_table;

VmSpec *spec_new(void); /* one reference, all unset */
VmSpec *spec_ref(VmSpec *spec);
void spec_unref(VmSpec *spec);
DEFINE_CLEANUP(VmSpec *, spec_unref);
VmSpec *spec_copy(const VmSpec *spec); /* deep, one reference */

/**
 * spec_check() - what can be said about @spec without looking at the host
 * @err:	INVALID_REQUEST with every bad field
 *
 * The table's rules, and those between fields: root drive first and only one,
 * expire_action only with expires_at, max_backoff at least initial_backoff.
 */
int spec_check(VmSpec *spec, Error *err) must_check;

/* The SHA-256 of @spec's canonical JSON with @vm_id, @uid and @tenant, in hexadecimal. */
void spec_digest(char ret[static 65], const VmSpec *spec, const char *vm_id, const char *uid,
		 const char *tenant);

/* What unset fields mean. */
enum {
	SPEC_DEFAULT_VCPUS = 1,
	SPEC_DEFAULT_MEMORY_MIB = 128,
	SPEC_DRIVES_MAX = 16,
	SPEC_LABELS_MAX = 64,
};
uint32_t spec_vcpus(const VmSpec *spec);
uint64_t spec_memory_mib(const VmSpec *spec);
VmDesired spec_desired(const VmSpec *spec); /* never UNSET */
static inline const VmDrive *spec_drive(const VmSpec *spec, size_t i)
{
	return &((const VmDrive *)spec->drives.items)[i];
}

/* Lower-case names, as in the store: "qemu", "in_memory". */
extern const char *const vm_backend_names[VM_BACKEND_COUNT_];
const char *vm_backend_name(VmBackend backend);
VmBackend vm_backend_from_name(const char *name); /* UNSET if unknown */
