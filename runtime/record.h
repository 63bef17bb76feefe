/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is known of one VM at one revision: Vm of the API, as a C structure.
 *
 * A record is built by whoever changes the VM, numbered by the store's writer,
 * and immutable from then on: readers share it by reference and need no lock.
 * Enumerators have the proto's numbers.
 */

#include "runtime/spec.h"

typedef enum VmState {
	VM_STATE_UNSET,
	VM_CREATED,
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSING,
	VM_PAUSED,
	VM_RESUMING,
	VM_STOPPING,
	VM_STOPPED,
	VM_FAILED,
	VM_BACKOFF,
	VM_POISONED,
	VM_DESTROYING,
	VM_DESTROYED,
	VM_SNAPSHOTTING,
	VM_STATE_COUNT_,
} VmState;

typedef enum ConditionStatus {
	CONDITION_UNSET,
	CONDITION_TRUE,
	CONDITION_FALSE,
	CONDITION_UNKNOWN,
	CONDITION_STATUS_COUNT_,
} ConditionStatus;

typedef enum OperationOutcome {
	OPERATION_RUNNING,
	OPERATION_SUCCEEDED,
	OPERATION_FAILED,
	OPERATION_PREEMPTED,
	OPERATION_OUTCOME_COUNT_,
} OperationOutcome;

typedef enum ExitReason {
	EXIT_UNSET,
	EXIT_REQUESTED,
	EXIT_GUEST_SHUTDOWN,
	EXIT_GUEST_REBOOT,
	EXIT_GUEST_PANIC,
	EXIT_GUEST_EXITED,
	EXIT_VMM_ERROR,
	EXIT_VMM_SIGNAL,
	EXIT_KEEPER_LOST,
	EXIT_HOST_REBOOT,
	EXIT_UNKNOWN,
	EXIT_VMM_OOM,
	EXIT_PAGER_FAILED,
	EXIT_REASON_COUNT_,
} ExitReason;

typedef enum RungOutcome {
	RUNG_UNSET,
	RUNG_ENDED,
	RUNG_TIMED_OUT,
	RUNG_FAILED,
	RUNG_SKIPPED,
	RUNG_OUTCOME_COUNT_,
} RungOutcome;

typedef struct VmCondition {
	char *type;
	ConditionStatus status;
	char *reason;
	char *message;
	int64_t transition_time;
} VmCondition;

typedef struct VmStep {
	char *name;
	int64_t start_time;
	int64_t end_time;
} VmStep;

/* Why an operation failed; becomes google.rpc.Status. */
typedef struct VmFailure {
	char *kind;    /* error_kind_name() */
	char *cause;   /* error_cause_name() */
	char *message; /* error_message() */
} VmFailure;

typedef struct VmOperation {
	char *operation_id;
	char *verb;
	char *stage;
	int64_t start_time;
	int64_t end_time;
	OperationOutcome outcome;
	VmFailure *error;
	char *principal;
	FieldList steps; /* VmStep */
} VmOperation;

typedef struct VmRung {
	char *name;
	RungOutcome outcome;
	char *message;
	int64_t start_time;
	int64_t end_time;
} VmRung;

typedef struct VmExit {
	ExitReason reason;
	bool requested;
	int32_t exit_code;
	int32_t signal;
	int64_t time;
	char *console_tail;
	FieldList rungs; /* VmRung */
} VmExit;

typedef enum VmEnforcement {
	VM_ENFORCEMENT_UNSET,
	VM_ENFORCEMENT_NONE,
	VM_ENFORCEMENT_BPF,
	VM_ENFORCEMENT_IPTABLES,
	VM_ENFORCEMENT_COUNT_,
} VmEnforcement;

typedef struct VmResolvedInterface {
	char *interface_id;
	char *host_device; /* of the present run */
	char *guest_mac;   /* leased, as the addresses */
	char *ipv4_address;
	char *ipv6_address;
	char *ipv4_gateway;
	char *ipv6_gateway;
	VmEnforcement enforcement; /* of the present run */
	char *inner_mac;           /* what a restored guest has instead */
	char *inner_ipv4_address;
} VmResolvedInterface;

typedef struct VmResolved {
	VmBackend backend;
	char *instance_id;
	uint32_t vcpus;
	uint64_t memory_mib;
	char *boot_args;
	char *accelerator;
	char *vmm_version;
	uint32_t vmm_pid;
	uint32_t keeper_pid;
	int64_t start_time;
	uint32_t jail_uid; /* leased to the VM for its life; 0: none */
	char *jail_path;   /* of the present run, as the rest */
	char *cgroup;
	VmLimits *limits;
	char *vsock_path;
	FieldList network_interfaces; /* VmResolvedInterface */
	uint32_t network_slot;        /* leased, from 1; 0: none */
	bool restored;                /* spec.restore_from has been carried out */
	char *diff_base;      /* the snapshot that a diff can be laid over; of the present run */
	bool identity_shared; /* and its guest has no identity of its own yet */
	FieldTexts disks;     /* files in the run directory that drives have been made as */
} VmResolved;

/* What the daemon in the guest of the present run has told. */
typedef struct VmGuestStatus {
	bool connected;
	bool ready;
	char *agent_version;
	char *boot_id;
	FieldTexts secrets; /* that it has, of the spec's */
} VmGuestStatus;

typedef struct VmStatus {
	VmState state;
	uint64_t observed_generation;
	FieldList conditions; /* VmCondition */
	VmOperation *operation;
	VmOperation *last_operation;
	VmExit *last_exit;
	uint32_t restart_count;
	int64_t next_restart_time;
	VmResolved *resolved;
	VmGuestStatus *guest;
} VmStatus;

enum {
	RECORD_INSTANCE_DIGITS = 16 /* of an instance id, hexadecimal */
};

typedef struct VmRecord {
	atomic_uint refs;
	uint64_t revision; /* the writer's to set; not copied by record_copy() */
	char *vm_id;
	char *uid;
	char *tenant;
	uint64_t generation;
	int64_t create_time;
	int64_t delete_time;
	char *digest; /* of the request that created it; in the store, not in the API */
	VmSpec *spec; /* shared */
	VmStatus status;
} VmRecord;

extern const FieldTable
	vm_record_table; /* its own members; spec and status have tables of their own */
extern const FieldTable vm_status_table, vm_operation_table, vm_exit_table, vm_resolved_table,
	vm_resolved_interface_table, vm_guest_status_table, vm_condition_table, vm_step_table,
	vm_rung_table, vm_failure_table;

VmRecord *record_new(void);
VmRecord *record_ref(VmRecord *record);
void record_unref(VmRecord *record);
DEFINE_CLEANUP(VmRecord *, record_unref);
/* The next record of the same VM, to be changed: one reference, revision 0, spec shared. */
VmRecord *record_copy(const VmRecord *record);

/* The store's form: {"vm": {...}, "spec": {...}, "status": {...}}; the caller's to free. */
char *record_to_text(const VmRecord *record);
int record_from_text(VmRecord **ret, const char *text, uint64_t revision) must_check; /* -EINVAL */
/* Has it the ids that name a VM to clients and on the host, in their form? */
bool record_is_whole(const VmRecord *record);

/* Sets or adds a condition; transition_time moves only with the status. */
void record_set_condition(VmRecord *record, const char *type, ConditionStatus status,
			  const char *reason, const char *message);
const VmCondition *record_condition(const VmRecord *record, const char *type);

/* What was of the run that has ended goes. */
void record_end_run(VmResolved *resolved);
/* The entry of the interface called @interface_id, made if it is missing. */
VmResolvedInterface *record_interface(VmResolved *resolved, const char *interface_id);

/* "running", "failed"; the goal of an operation as error messages name it. */
const char *vm_state_name(VmState state);
const char *exit_reason_name(ExitReason reason); /* "guest_panic" */
/* "GuestPanic": how events name it. */
const char *exit_reason_word(ExitReason reason);
