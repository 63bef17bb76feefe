/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The node's VMs: what the API's handlers call.
 *
 * Mutations never block: they claim the VM or say why not, and their reply
 * function is called exactly once, from any thread, possibly before the call
 * returns. Work goes on whether or not anybody still listens.
 */

#include "base/histogram.h"
#include "runtime/address_book.h"
#include "runtime/backend.h"
#include "runtime/budget.h"
#include "runtime/console.h"
#include "runtime/egress_watch.h"
#include "runtime/images/templates.h"
#include "runtime/launcher.h"
#include "runtime/network.h"
#include "runtime/registry.h"
#include "runtime/selector.h"
#include "runtime/spec_update.h"
#include "runtime/store.h"
#include "runtime/vm_state.h"

typedef struct Runtime Runtime;

/* Something that belonged to no VM. */
typedef struct Leftover {
	const char *instance; /* its instance id, or as much of it as there is in a name */
	const Error *err;     /* why it could not be removed; NULL: it was */
} Leftover;

typedef struct RuntimeConfig {
	const char *state_dir; /* absolute; made if missing */
	const char *node_id;
	VmBackend default_backend;
	BackendConfig backend;
	Launcher *launcher; /* the same as backend.launcher, to be tried; may be NULL */
	uint32_t max_vms;
	/* What VMs that run may have together, of what the host has, that of memory being all but
	 * huge pages and what is reserved; 0: no limit. */
	uint64_t cpus, cpu_percent;
	uint64_t memory_percent, reserved_memory_mib;
	/* Where the host tells of those (runtime/huge_pages.h), for tests; NULL: where it does. */
	const char *meminfo, *huge_pages;
	uint64_t reserved_disk_mib; /* of the state directory's disk, not for VMs */
	/* What all templates, and one of them, may have; 0: no limit. */
	uint64_t templates_mib, template_mib;
	uint32_t max_operations; /* at once; more wait */
	uint32_t max_restarts;   /* of them, by policy, half at most; more wait */
	uint32_t history;        /* changes kept for watchers and ListVmEvents */
	/* Users that jailed VMMs run as, one for each VM. */
	uint32_t first_uid, uid_count;
	bool has_network; /* VMs with processes have one, else none */
	NetworkConfig network;
	/* Hears of each, on any thread; NULL: nobody does. */
	void (*swept)(void *user, const Leftover *leftover);
	void *user;
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

/* StopVm's if it asks for no other, and that of stops which the agent itself carries out. */
extern const StopLadder vm_default_ladder;

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
/* How much that belonged to no VM has been removed since the runtime was opened. */
uint64_t runtime_leftovers_removed(const Runtime *runtime);
/* Have all VMs of the earlier agent been looked after? */
bool runtime_adopted(Runtime *runtime);

/* What must be left out of a spec that is to go on from a snapshot; INVALID_REQUEST. */
int restore_check_asked(const VmSpec *spec, Error *err) must_check;

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
	NetworkLead *leads; /* its own */
	size_t lead_count;
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

/* What has been done since the runtime was opened; counted up by whoever does it. */
typedef struct RuntimeCounts {
	Histogram operations[VM_OP_COUNT_]; /* how long they took, whatever came of them */
	atomic_uint_fast64_t outcomes[VM_OP_COUNT_][OPERATION_OUTCOME_COUNT_];
} RuntimeCounts;
const RuntimeCounts *runtime_counts(const Runtime *runtime);

/* How much waits for a thread. */
typedef struct RuntimeQueues {
	size_t operations, urgent, desk, asking;
} RuntimeQueues;
void runtime_queues(Runtime *runtime, RuntimeQueues *ret);

/* What there is for VMs, as last looked at, and what they have of it: budget.h, and addresses of
 * the pools. */
typedef struct NodeCapacity {
	Need allocatable, taken;
	uint64_t addresses[2], addresses_taken[2]; /* ADDRESS_IPV4, ADDRESS_IPV6 */
	uint64_t memory_mib;                       /* the host's, but for huge pages */
	uint64_t disk_mib;                         /* size of the state directory's disk */
} NodeCapacity;

void runtime_capacity(Runtime *runtime, NodeCapacity *ret);

/* The node's templates (runtime/images/templates.h); long work on them: runtime/template_works.h.
 */
Templates *runtime_templates(Runtime *runtime);

/* Cordons; STORE. */
int runtime_cordon(Runtime *runtime, const char *owner, const char *reason, Error *err) must_check;
int runtime_uncordon(Runtime *runtime, const char *owner, Error *err) must_check;

/* What each backend said when it was last probed; @ret has VM_BACKEND_COUNT_ places; the count is
 * returned. */
size_t runtime_backends(Runtime *runtime, BackendInfo *ret);

/* What VMs with processes are connected to, as it was last looked at. */
typedef struct NetworkInfo {
	bool on, bridged, ready, degraded;
	VmEnforcement enforcement;
	char pool4[PREFIX_TEXT_MAX], pool6[PREFIX_TEXT_MAX]; /* "": none */
	char message[ERROR_WHAT_MAX];
} NetworkInfo;

void runtime_network(Runtime *runtime, NetworkInfo *ret);

typedef enum CheckStatus { /* the proto's numbers */
	CHECK_UNSET,
	CHECK_OK,
	CHECK_DEGRADED,
	CHECK_MISSING,
} CheckStatus;

typedef struct DoctorCheck {
	char name[32];
	CheckStatus status;
	char message[ERROR_WHAT_MAX];
	char remedy[256];
} DoctorCheck;

/* Looks at the host now; may take seconds. Up to @max checks; the count is returned. */
size_t runtime_doctor(Runtime *runtime, DoctorCheck *ret, size_t max);

typedef struct RebuildSink {
	/* What became of @vm_id, or "" where none is known. */
	void (*say)(void *user, const char *vm_id, const char *what);
	void *user;
} RebuildSink;

/**
 * runtime_rebuild() - make the store of @state_dir again; nothing runs it meanwhile
 * @err:	STORE: held by an agent, cannot be moved or written
 *
 * The old one is moved aside (hearth.db.corrupt-<time>). The new one, with an id of its own and no
 * events, has of it what can be read, and of the run directories what it lacked.
 */
int runtime_rebuild(const char *state_dir, const RebuildSink *sink, Error *err) must_check;

typedef enum Patience {
	PATIENCE_SHORT, /* for what this host does at once */
	PATIENCE_LONG,  /* for what asks a VMM, or runs programs: no operation ever waits behind it
			 */
} Patience;

/* Runs @work on a thread that may block; false when too much waits already. */
bool runtime_run_blocking(Runtime *runtime, Patience patience, void (*work)(void *user), void *user)
	must_check;
