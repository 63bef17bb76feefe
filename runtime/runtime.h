/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The node's VMs: what the API's handlers call.
 *
 * Mutations never block: they claim the VM or say why not, and their reply
 * function is called exactly once, from any thread, possibly before the call
 * returns. Work goes on whether or not anybody still listens.
 */

#include "runtime/backend.h"
#include "runtime/console.h"
#include "runtime/egress_watch.h"
#include "runtime/network.h"
#include "runtime/registry.h"
#include "runtime/selector.h"
#include "runtime/spec_update.h"
#include "runtime/store.h"
#include "runtime/vm_state.h"

typedef struct Runtime Runtime;

typedef struct RuntimeConfig {
	const char *state_dir; /* absolute; made if missing */
	const char *node_id;
	VmBackend default_backend;
	BackendConfig backend;
	uint32_t max_vms;
	uint32_t max_operations; /* at once; more wait */
	uint32_t history;        /* changes kept for watchers and ListVmEvents */
	/* Users that jailed VMMs run as, one for each VM. */
	uint32_t first_uid, uid_count;
	bool routed; /* VMs with processes have a network, else none */
	NetworkConfig network;
} RuntimeConfig;

typedef enum ReturnWhen { /* the proto's numbers */
	RETURN_WHEN_UNSET,
	RETURN_WHEN_ACCEPTED,
	RETURN_WHEN_DONE,
	RETURN_WHEN_READY,
	RETURN_WHEN_COUNT_,
} ReturnWhen;

/* @record is borrowed; NULL on failure, when @err says why, and for DestroyVm of an absent VM
 * with allow_missing. */
typedef void VmReply(void *user, const VmRecord *record, const Error *err);

/* What all mutations carry. Texts are copied where they are kept. */
typedef struct VmCall {
	const char *vm_id; /* a valid id */
	const char *expected_uid;
	uint64_t expected_revision;
	uint64_t expected_generation;
	bool validate_only;
	ReturnWhen return_when;
	const char *principal;
	StopLadder ladder;    /* STOP */
	bool allow_missing;   /* DESTROY */
	VmSpec *update;       /* UPDATE: the new values; borrowed */
	unsigned update_mask; /* UPDATE: of RUNTIME_UPDATE_* */
} VmCall;

typedef struct CreateCall {
	const char *vm_id; /* a valid id */
	const char *uid;   /* valid, or empty */
	const char *tenant;
	VmSpec *spec; /* checked by spec_check(); borrowed, not changed */
	bool validate_only;
	ReturnWhen return_when;
	const char *principal;
} CreateCall;

/**
 * runtime_open() - open the store, take up what an earlier agent left
 * @err:	STORE, INVALID_REQUEST
 *
 * Returns as soon as the store is read; VMs are re-adopted and interrupted
 * operations finished on threads of their own (see runtime_adopted()).
 */
int runtime_open(Runtime **ret, const RuntimeConfig *config, Error *err) must_check;
/*
 * Ends all threads and frees @runtime; VMs go on. Operations still running after @grace usec:
 * false, nothing is freed, and the process had better exit at once; the next agent carries them on.
 */
bool runtime_close(Runtime *runtime, int64_t grace) must_check;

Registry *runtime_registry(Runtime *runtime);
Store *runtime_store(Runtime *runtime);
ConsoleWatch *runtime_console_watch(Runtime *runtime);
const RuntimeConfig *runtime_config(const Runtime *runtime);
const char *runtime_boot_id(const Runtime *runtime);
/* Have all VMs of the earlier agent been looked after? */
bool runtime_adopted(Runtime *runtime);

void runtime_create_vm(Runtime *runtime, const CreateCall *call, VmReply *reply, void *user);
/*
 * Refuses a CreateVm with @found, its violations, after adding those that only a look at the host
 * can tell (a kernel that is missing): every bad field is named at once. @spec need not be sound.
 */
void runtime_inspect_spec(Runtime *runtime, VmSpec *spec, const Error *found, VmReply *reply,
			  void *user);
void runtime_run_vm(Runtime *runtime, VmOp op, const VmCall *call, VmReply *reply, void *user);

/* The published record; VM_NOT_FOUND, CONFLICT (uid). */
int runtime_get_vm(Runtime *runtime, const char *vm_id, const char *expected_uid, VmRecord **ret,
		   Error *err) must_check;
/* The run directory of @record's VM; to free. */
char *runtime_run_dir(Runtime *runtime, const VmRecord *record);

/**
 * runtime_get_metrics() - what @vm_id's VMM counts and uses; blocks
 * @ret:	zeroed; vmm_metrics_clear() it, after failure too
 * @err:	VM_NOT_FOUND, CONFLICT (uid), METRICS, UNSUPPORTED
 */
int runtime_get_metrics(Runtime *runtime, const char *vm_id, const char *expected_uid, bool cached,
			VmMetrics *ret, Error *err) must_check;

/* What is known of a VM's egress. */
typedef struct EgressState {
	VmRecord *record; /* a reference */
	bool has_counters;
	NetworkCounters counters;
} EgressState;

void egress_state_clear(EgressState *state);

/**
 * runtime_get_egress() - the policy of @vm_id, and what has become of packets; blocks
 * @ret:	zeroed; egress_state_clear() it, after failure too
 * @err:	VM_NOT_FOUND, CONFLICT (uid), FIREWALL
 */
int runtime_get_egress(Runtime *runtime, const char *vm_id, const char *expected_uid,
		       EgressState *ret, Error *err) must_check;

/* What would become of a packet. */
typedef struct EgressExplanation {
	int verdict;   /* FILTER_* */
	bool enforced; /* what enforces the policy was asked; else only the policy */
	int rule;      /* that allows it, or -1 */
} EgressExplanation;

/* The same, for a packet; blocks. */
int runtime_explain_egress(Runtime *runtime, const char *vm_id, const char *expected_uid,
			   const NetworkProbe *probe, EgressExplanation *ret, Error *err)
	must_check;

/* Where denied packets are told of. */
EgressHub *runtime_egress_hub(Runtime *runtime);

/* Cordons; STORE. */
int runtime_cordon(Runtime *runtime, const char *owner, const char *reason, Error *err) must_check;
int runtime_uncordon(Runtime *runtime, const char *owner, Error *err) must_check;

/* What each backend said when it was last probed; @ret has VM_BACKEND_COUNT_ places; the count is
 * returned. */
size_t runtime_backends(Runtime *runtime, BackendInfo *ret);

typedef enum CheckStatus { /* the proto's numbers */
	CHECK_UNSET,
	CHECK_OK,
	CHECK_DEGRADED,
	CHECK_MISSING,
} CheckStatus;

typedef struct DoctorCheck {
	char name[32];
	CheckStatus status;
	char message[256];
	char remedy[256];
} DoctorCheck;

/* Looks at the host now; may take seconds. Up to @max checks; the count is returned. */
size_t runtime_doctor(Runtime *runtime, DoctorCheck *ret, size_t max);

/* Runs @work on a thread that may block; false when too much waits already. */
bool runtime_run_blocking(Runtime *runtime, void (*work)(void *user), void *user);
