/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One microVM as its operations see it, inside runtime/ only. (Readers see
 * records, through the registry.)
 *
 * An operation claims the VM: under its lock, the next record, in a busy state, is
 * made and submitted to the store as an intent. Once that is durable the
 * operation works, on a thread of its own and without a lock. Settling makes
 * the record of the outcome and lets the next operation in. Records of one VM
 * form a chain: each is a copy of vm->latest, made under the lock, and the
 * store keeps their order.
 *
 * Lock order: one Vm's, then any other (the table's, the store's queue). Under
 * a Vm's lock records are copied and queued, nothing else.
 */

#include "base/lock.h"
#include "base/loop.h"
#include "base/workers.h"
#include "runtime/address_book.h"
#include "runtime/budget.h"
#include "runtime/guest_link.h"
#include "runtime/lease.h"
#include "runtime/runtime.h"
#include "runtime/snapshots/snapshots.h"

#include <uthash.h>

typedef struct Vm Vm;
typedef struct Operation Operation;
typedef struct Waiter Waiter;
typedef struct DriveClaim DriveClaim;
typedef struct Taking Taking;
typedef struct Restoring Restoring;

/* Somebody who wants to hear how an operation ends. */
struct Waiter {
	Waiter *next;
	VmReply *reply;
	void *user;
	ReturnWhen when;
};

/* Operations nobody asked for by name; they own a VM without a busy state of their own. */
typedef enum Errand {
	ERRAND_NONE,
	ERRAND_EXIT,    /* the VMM has ended: find out how, apply the restart policy */
	ERRAND_RECOVER, /* the agent is new: see what became of a VM that ran */
	ERRAND_CREATE,  /* until the new VM is durable */
} Errand;

struct Operation {
	Work work;
	Runtime *runtime;
	Vm *vm; /* a reference */
	VmOp op;
	Errand errand;
	const char *verb;
	char id[17];
	char *principal;
	StopLadder ladder;
	bool by_policy;    /* a restart, with a turn: its failure is followed by the policy again */
	bool keep_desired; /* the spec says already what the VM should be */
	bool then_pause;   /* that is: paused */
	bool creating;     /* the VM is not durable before this intent is */
	bool resumed;      /* an earlier agent began it */
	bool adopts;       /* the agent is not ready before this has ended */
	bool satisfied;    /* the VM is what is asked for, only the spec does not say so */
	int64_t start_time;

	/* UPDATE: the values, which of them, and the claim on the drives they name, or NULL; after
	 * success the claim on those of before. */
	VmSpec *update;
	unsigned update_mask;
	DriveClaim *drives;
	Restoring *restoring; /* START from a snapshot: what job.restore refers to */
	Taking *taking; /* SNAPSHOT: which, and what then; NULL of one that an earlier agent began
			 */

	VmState from; /* claimed from */
	VmStepRule rule;
	VmRecord *before;  /* vm->latest when claimed: where a refused intent goes back to */
	VmRecord *claimed; /* the intent's record */

	/* Under the VM's lock. */
	Waiter *waiters;
	bool accepted;   /* the intent is durable */
	bool gives_way;  /* to vm->next, which pre-empts it */
	FieldList steps; /* VmStep */

	/* Of the thread that works. */
	Job job;
	VmSpec *spec;
	VmResolved resolved;
	char *run_dir;
	Error error;
	VmmExit exit;
	bool has_exit;
	bool unseen;  /* RECOVER: it could not tell; the VM is what it was, as far as is known */
	VmState seen; /* RECOVER: what the backend saw */

	/* The outcome, for those who wait. */
	VmRecord *outcome;
};

struct Vm {
	atomic_uint refs;
	atomic_uint asking; /* calls that wait for its VMM's metrics */
	Runtime *runtime;
	char id[64];
	char uid[64];
	char instance_id[17];
	Backend *backend;
	UT_hash_handle hh, hh_uid; /* under the table's lock */
	/* Theirs who create, update or destroy it: of no two at once. */
	DriveClaim *drives;
	DriveClaim *doubtful_drives;   /* POISONED by an update: its VMM may have these instead */
	uint32_t jail_uid;             /* leased; 0: none */
	_Atomic uint32_t network_slot; /* as in the record */

	Lock lock;
	VmRecord *latest;   /* under lock: the newest submitted */
	Operation *running; /* under lock */
	Operation *next;    /* under lock: goes when running has ended */
	Need place;         /* under lock: its part of the node */
	Need room;          /* under lock: its part of what those have that run, if: */
	bool has_room;      /* under lock */
	bool gone;          /* under lock: destroyed, out of the table */
	bool exit_pending;  /* under lock: the VMM ended while an operation ran */
	GuestLink *guest;   /* under lock: to the guest of the VMM with guest_pid; or NULL */
	uint32_t guest_pid; /* under lock */
	bool guest_watched; /* under lock: what it tells goes into the record */
	bool rebooted;      /* claimed: what ran ended with an earlier boot of the host */
	bool awaits_turn;   /* under the runtime's lock: in its queue of restarts, before: */
	Vm *restart_next;   /* under the runtime's lock */
	uint64_t run; /* under lock: of the VMM whose end is watched; an earlier one's is news no
			 more */
	LoopSource *exit_source, *restart_source, *expire_source; /* under lock */
	_Atomic int64_t turn_for; /* the moment for which it was put into that queue last */
};

struct Runtime {
	RuntimeConfig config;
	char *state_dir, *node_id;
	char boot_id[37];
	bool host_rebooted; /* since the store was last served */
	Store *store;
	GuestHub *guests;
	Registry *registry;
	ConsoleWatch *console_watch;
	Loop *loop;
	Budget *budget;
	Workers *operations; /* starts, pauses, resumes: as many at once as configured */
	Workers *urgent;     /* stops, destroys, exits: never behind the others */
	Workers *desk;       /* short blocking work, and replies */
	Workers *asking;     /* what may take long and nobody's operation waits for */
	Backend *backends[VM_BACKEND_COUNT_];

	Lock table_lock;
	Vm *table; /* uthash by id, under table_lock, as all below */
	Vm *uids;  /* the same by uid */
	size_t vm_count;
	struct DriveUse *drive_uses; /* uthash by path */
	LeasePool *uids_to_lease;    /* of jailed VMMs */
	Templates *templates;
	Snapshots *snapshots;
	SnapshotHost host;        /* what it is, whatever runs on it; constant */
	Network *network;         /* of VMs that have processes */
	NetworkInfo network_info; /* under lock */
	Network *software;        /* of those that have none */
	LeasePool *slots;         /* of networks */
	AddressBook *addresses;
	EgressHub *egress_hub;

	Lock flat_lock;
	Cond flattened;  /* with flat_lock */
	bool flattening; /* under flat_lock: a snapshot is being made full */
	Lock works_lock;
	struct TemplateWork *template_works; /* under works_lock */

	Lock lock;
	BackendInfo infos[VM_BACKEND_COUNT_]; /* under lock */
	size_t to_adopt;                      /* under lock: recoveries still running */
	uint64_t memory_mib, disk_mib;        /* under lock: as NodeCapacity */
	char *cordon;                     /* under lock: "owner: reason" of one cordon, or NULL */
	LoopSource *sweep_source;         /* under lock */
	bool store_failed;                /* under lock: when it was last looked at */
	size_t restarting;                /* under lock: restarts that have a turn */
	Vm *restart_first, *restart_last; /* under lock: wait for one, each a reference */
	bool lets_in;                     /* under lock: some thread gives turns */
	bool closing;                     /* under lock: no more turns */
	atomic_uint_least64_t swept;      /* leftovers removed */
	RuntimeCounts counts;
	atomic_size_t live_operations; /* and creates, updates, work from outside: all that uses the
					  rest */
	atomic_size_t live_guests;     /* of those the work from outside; never more */
};

/* runtime.c: runtime_open() with other backends, and another network for those of them that have
 * processes, for tests that inject faults. Takes them over. */
int runtime_open_with(Runtime **ret, const RuntimeConfig *config, Backend *backends[],
		      Network *network, Error *err) must_check;

/* vm.c */
Vm *vm_new(Runtime *runtime, VmRecord *record, Backend *backend); /* takes @record over */
Vm *vm_ref(Vm *vm);
void vm_unref(Vm *vm);
DEFINE_CLEANUP(Vm *, vm_unref);
Vm *vm_find(Runtime *runtime, const char *id); /* a reference, or NULL */
/* Into the table: 0, -EEXIST (the id), -EADDRINUSE (the uid). */
int vm_enter(Runtime *runtime, Vm *vm) must_check;
int vm_may_enter(Runtime *runtime, const Vm *vm) must_check; /* the same, without doing it */
void vm_load(Runtime *runtime, Vm *vm); /* however many may be made: unknown ones are swept */
/* Out of it; its place is another's. Under lock. */
void vm_leave(Runtime *runtime, Vm *vm) lock_requires(vm->lock);
/* Its creation could not be made durable. On the store's thread, so that what was built on it, and
 * is refused next, knows. */
void vm_never_was(Vm *vm);
char *vm_run_dir(const Vm *vm);       /* to free */
VmRecord *vm_published(const Vm *vm); /* its newest durable record, a reference; NULL for none */
/* Every VM in the table, each with a reference; array to free. */
Vm **vm_all(Runtime *runtime, size_t *count);

/* Puts @record into @state; conditions follow. */
void vm_set_state(VmRecord *record, VmState state);
/* What the conditions of a VM are that an earlier agent ran, and this one has not looked at yet. */
void vm_set_not_adopted(VmRecord *record);
/* What @record's interface says of NetworkReady and EgressEnforced; @failure: what the operation
 * that just ended says against it, or NULL. */
void vm_set_network_conditions(VmRecord *record, const Error *failure);
/* vm_guest.c: Ready, of a VM that is @running for @reason, and what its guest has told, as
 * conditions. Part of vm_set_state(). */
void vm_set_ready(VmRecord *record, ConditionStatus running, const char *reason);
/* @record is @vm's latest: its guest is listened to while its VMM runs, if the spec says so. */
void vm_follow_guest(Vm *vm, const VmRecord *record);
/* The guest of the run with @vmm_pid has been given the secret @name, or it was taken away. */
void vm_note_secret(Vm *vm, uint32_t vmm_pid, const char *name, bool has);
/* Can what @spec expects of its guest be had on @backend? */
int vm_check_guest(const Backend *backend, const VmSpec *spec, Error *err) must_check;
/* guest.c: the link to the guest of @record's run, a reference; NULL: nothing leads there. */
GuestLink *vm_guest_link(Vm *vm, const VmRecord *record);

/* vm->latest's successor, in @state. Under lock. */
VmRecord *vm_next_record(Vm *vm, VmState state) lock_requires(vm->lock);
/* Puts @change's record at the end of the chain and queues it. Under lock. Takes over. */
void vm_submit(Vm *vm, Change *change) lock_requires(vm->lock);

/* vm_room.c: the VM's part of the node */

/* What a run of @spec on @backend takes, and what a VM takes that is only there. */
Need vm_room_of(const Backend *backend, const VmSpec *spec);
Need vm_place_of(const Runtime *runtime, const Backend *backend);
/* Takes the new VM's place, and its room as well if it is to run; both or none. Under lock.
 * CAPACITY. */
int vm_take_place(Vm *vm, bool with_room, Error *err) lock_requires(vm->lock) must_check;
/* The same of a VM that an earlier agent left, whether it fits or not; and the room, of one that
 * may have a VMM. Under lock. */
void vm_force_place(Vm *vm) lock_requires(vm->lock);
void vm_give_place(Vm *vm) lock_requires(vm->lock);
/* Takes room for a run that is about to begin, unless it has it; @dry: only whether it could. Under
 * lock. CAPACITY. */
int vm_take_room(Vm *vm, bool dry, Error *err) lock_requires(vm->lock) must_check;
/* Takes room that it was admitted with before, unless it has it. Under lock. */
void vm_force_room(Vm *vm) lock_requires(vm->lock);
void vm_give_room(Vm *vm) lock_requires(vm->lock);
/* Are there descriptors for one more start on @backend, beside all that runs? CAPACITY. */
int vm_check_descriptors(Runtime *runtime, const Backend *backend, Error *err) must_check;
/* As the state of vm->latest says. Under lock. */
void vm_settle_room(Vm *vm) lock_requires(vm->lock);

/* operation.c */
Operation *operation_new(Vm *vm, VmOp op, const char *verb, const char *principal);
void operation_free(Operation *operation);
/* What has begun is undone, whatever it was given up for: from the one to the other, which gets
 * what the first has answered, it does not notice that. */
int operation_hold(Operation *operation) must_check;
void operation_let_go(Operation *operation, int cancel_fd);
/* Of work on disks that is given up when @job is. */
DiskProgress job_progress(Job *job);
/* Ends the last of @steps (VmStep), @now or, if the clock has been put back, when it began; answers
 * when. */
int64_t steps_end(FieldList *steps, int64_t now);
/* One that is over, as @shown says, is counted: not what no client has asked for, creations without
 * a start and errands. */
void operation_count(const Operation *operation, const VmOperation *shown);
void operation_add_waiter(Operation *operation, VmReply *reply, void *user, ReturnWhen when);
/* Answers all of @waiters with @record or @err, and frees them. Never under a lock. */
void operation_answer(Waiter *waiters, const VmRecord *record, const Error *err);
/* Answers all who wait for @operation, which has not run, and frees it. Never under a lock. */
void operation_dismiss(Operation *operation, const VmRecord *record, const Error *err);

/* What follows once @operation has succeeded: a VM that was started is to be paused, one whose
 * snapshot was taken is to be stopped; or NULL. */
Operation *operation_following(const Operation *operation);
/* @operation goes on as @next, unless another verb waits: then @next is handed back. Under lock. */
Operation *operation_chain(Vm *vm, Operation *operation, Operation *next) lock_requires(vm->lock);

/* claim.c */
/**
 * vm_request() - ask for @operation (taken over) on its VM
 * @call:	preconditions to check; NULL for the agent's own operations
 *
 * Claims, joins, queues or pre-empts as the step table says, or answers the waiters at once.
 */
void vm_request(Operation *operation, const VmCall *call);
/* The agent's own errands: go if nothing else runs (an exit is looked into after it). Under no
 * lock.
 * @adopts: counts for runtime_recovered_one(). */
void vm_run_errand(Vm *vm, Errand errand, bool adopts);
/* The VMM of @run has ended by itself. */
void vm_look_into_exit(Vm *vm, uint64_t run);
/* Checks @call against @vm. Under lock. */
int vm_check_call(Vm *vm, const VmCall *call, Error *err) lock_requires(vm->lock) must_check;

/* Checks @call's expected revision. Under no lock. */
int vm_check_revision(Vm *vm, const VmCall *call, Error *err) must_check;

/* Is there room for @operation to wait? QUEUE_FULL. */
int vm_check_queue(const Operation *operation, Error *err) must_check;

/* update.c */
void vm_update(Vm *vm, const VmCall *call, VmReply *reply, void *user);
/* May @call update @vm at this moment, beside all that goes on? Under lock. */
int vm_may_update(Vm *vm, const VmCall *call, Error *err) lock_requires(vm->lock) must_check;

/* update_live.c: changes that a VMM has to be told of. */
/* All that can stand against going from @spec to @next; may block. Claims @next's drives if other
 * disks are among them; @drives NULL: only looks. */
int vm_check_live(Vm *vm, const VmSpec *spec, const VmSpec *next, DriveClaim **drives, Error *err)
	must_check;
/* Claims the VM for @operation, an update that was checked against @spec: 0, -1, or -EAGAIN when
 * that is what the VM has no longer. */
int vm_claim_update(Operation *operation, const VmCall *call, const VmSpec *spec, Error *err)
	must_check;
/* May @op, which waited, begin in @state? An update that waited is for a VMM. */
bool vm_may_begin(VmState state, VmOp op);
int vm_work_update(Operation *operation, Error *err) must_check;
/* @record, once @operation has succeeded. */
void vm_apply_update(VmRecord *record, const Operation *operation);
/* A RECOVER has seen what became of the VM: undoes an update that was not done when the earlier
 * agent ended. operation->error tells of it. */
void vm_end_interrupted_update(Operation *operation);

/* guest.c: the link to the guest of @job's run, a reference; NULL: nothing leads there. */
GuestLink *vm_job_link(Vm *vm, const Job *job);

/* work.c: an operation that an earlier agent began finds no exit watched, or the host booted
 * since. */
int vm_watch_if_resumed(Operation *operation, Error *err) must_check;
/* The guest runs, and has an identity of its own, or neither. */
int vm_resume(Operation *operation, Error *err) must_check;
/* What could not be undone: does it matter, is there still a VMM? */
bool vm_has_vmm(Operation *operation);
/* The guest's clock stood still. It goes on all the same if that cannot be told it. */
void vm_step_clock(Operation *operation);

/* settle.c */
/* Ends @operation's hold on its VM, answers whoever waited with @record or its error, lets the next
 * one in. Frees it. */
void operation_release(Operation *operation, const VmRecord *record);
/* Ends the running @operation: error.kind says how. Submits the outcome, lets the next one in. */
void vm_settle(Operation *operation);
/* Is @vm what @operation asks for, and does its spec say so? If only the latter is missing,
 * @operation becomes the running one, to write it down. Under lock. Nothing may be running. */
bool vm_is_satisfied(Vm *vm, Operation *operation) lock_requires(vm->lock);
/* Makes @operation the running one: intent submitted. Under lock. Nothing may be running. */
void vm_begin(Vm *vm, Operation *operation, const VmStepRule *rule) lock_requires(vm->lock);

/* work.c: what each operation does, on a worker's thread. */
void operation_run(Work *work);
/* The threads @operation's work belongs on. */
Workers *operation_lane(const Operation *operation);

/* restarts.c: so many at a time, max_restarts. */
/* The moment of @vm's restart has come: it gets a turn, or waits for one. */
void vm_restart(Vm *vm);
/* An operation by policy has a turn from now on, whether or not there is one left; over: its turn
 * is the next one's. */
void runtime_restart_begins(Runtime *runtime);
void runtime_restart_over(Runtime *runtime);
void runtime_end_restarts(Runtime *runtime); /* nobody gets a turn any more */

/* watchdog.c: exits, the moments of restarts, expiry. */
void vm_watch_exit(Vm *vm, int fd); /* takes @fd over */
void vm_unwatch_exit(Vm *vm);
void vm_arm_restart(Vm *vm, int64_t when); /* wall usec */
void vm_arm_expiry(Vm *vm);                /* from the latest spec; disarms too */
void vm_disarm(Vm *vm);                    /* the restart */
/* @operation was refused: if it was the agent's own, its moment comes again soon. */
void vm_try_again(Vm *vm, const Operation *operation);
/* What a timer should have done long ago, had there been a descriptor or room for the intent. */
void vm_catch_up(Vm *vm);
void vm_forget(Vm *vm); /* all of it: the VM is gone */
/* The restart policy's word on an exit or a failed restart: fills state, count and time of
 * @record (a copy of the latest). False: no restart. */
bool vm_apply_restart_policy(VmRecord *record, bool failure, int64_t run_started);

/* load.c: opens the store, and puts what it has into the table and the registry. STORE. */
int runtime_load(Runtime *runtime, Error *err) must_check;
/* runtime.c: reads again which cordons there are. STORE. */
int runtime_refresh_cordon(Runtime *runtime, Error *err) must_check;

/* recover.c: what an earlier agent left; every VM is in the table, nobody is served yet. */
void runtime_recover(Runtime *runtime);
void runtime_recovered_one(Runtime *runtime);

/* drives.c: who uses which disk. */
typedef enum ClaimFor {
	CLAIM_FOR_CREATE, /* a VM of that name has none */
	CLAIM_FOR_LOAD,   /* likewise; what it needs was there once */
	CLAIM_FOR_REST,   /* it has; what it held so far may be any drive's from now on */
	CLAIM_FOR_LIVE,   /* and its VMM has that open: it stays the same drive's */
} ClaimFor;

/* Claims @spec's drives for @vm_id, and pins their templates (@ret NULL: only looks);
 * INVALID_REQUEST naming each that is taken; -EAGAIN, for CREATE: by a VM of that very name, which
 * is just being created; ROOTFS. */
int drives_claim(Runtime *runtime, const char *vm_id, const VmSpec *spec, ClaimFor purpose,
		 DriveClaim **ret, Error *err) must_check;
void drives_release(Runtime *runtime, DriveClaim *claim); /* frees it; NULL is fine */
void drives_forget(DriveClaim *claim); /* frees it alone, when all else goes; NULL is fine */
void drives_free(Runtime *runtime);

int runtime_open_catalogs(Runtime *runtime, Error *err)
	must_check; /* catalogs.c; ROOTFS and others */
void runtime_close_catalogs(Runtime *runtime);

/* disks.c: drives that are made of templates. */

/* @spec with the path of each such drive, for whoever deals with the host; a reference. */
VmSpec *disks_host_spec(VmSpec *spec, const char *run_dir);
/* Are the templates that @spec names there, and small enough? ROOTFS, INVALID_REQUEST. */
int disks_check(const Runtime *runtime, const VmSpec *spec, Error *err) must_check;
/* May a VM at rest go from @spec to @next? INVALID_REQUEST. */
int disks_check_update(const VmSpec *spec, const VmSpec *next, Error *err) must_check;
/* Makes what is missing of job->spec's, which is a host's, in the run directory, and removes what
 * no drive has any more; resolved's disks follow. ROOTFS. */
int disks_make(Runtime *runtime, Job *job, Error *err) must_check;
/* What @record's resolved disks say of ImageReady; @failure: as above. */
void disks_set_condition(VmRecord *record, const Error *failure);

/* vm.c: a user for the VM of @record to run as, where its backend jails: 0, also where none is
 * needed; CAPACITY. */
int vm_lease_uid(Runtime *runtime, const Backend *backend, VmRecord *record, Error *err) must_check;
void vm_return_uid(Runtime *runtime, uint32_t uid); /* 0 is fine */

/* network_lease.c: what VMs have of their networks. */
void runtime_open_leases(Runtime *runtime);
/* Addresses asked for that are not to be had on this node are violations. */
void vm_check_addresses(const Runtime *runtime, const VmSpec *spec, Error *err);
/* CAPACITY for each kind that @spec's VM needs one of, any, when there is none left now. */
void vm_check_address_room(Runtime *runtime, const Backend *backend, const VmSpec *spec,
			   Error *err);
/* Into @ret, which may be a copy of @before, what @spec's VM is to have of its backend's network;
 * of @before it keeps what it can. NETWORK_CONFIG: taken; CAPACITY: @ret has nothing then. */
int vm_lease_network(Runtime *runtime, const Backend *backend, const VmSpec *spec,
		     const VmResolved *before, VmResolved *ret, Error *err) must_check;
/* Gives back what @had has and @has (NULL: nothing) has not. */
void vm_return_network(Runtime *runtime, const VmResolved *had, const VmResolved *has);
/* @to shows what @from has, instead of what it showed. */
void vm_copy_network(VmResolved *to, const VmResolved *from);
/* That of a record of the store. */
void vm_claim_network(Runtime *runtime, const VmResolved *resolved);

/* vm.c: all that can be said against @spec for a VM of @backend on this host, without touching
 * anything; may block. */
int vm_check_spec(const Runtime *runtime, Backend *backend, const VmSpec *spec, Error *err)
	must_check;

/* The network's part of it alone. */
int vm_check_network(const Runtime *runtime, Backend *backend, const VmSpec *spec, Error *err)
	must_check;

/* egress_calls.c: a network's sink; @user is the runtime. */
void runtime_take_event(void *user, const NetworkEvent *packet);

/* doctor.c */
void runtime_list_backends(Runtime *runtime); /* before any thread: what needs no probe */
void runtime_probe(Runtime *runtime);         /* fills runtime->infos; may take seconds */

/* doctor.c: for runtime_network(); blocks. */
void runtime_look_at_network(Runtime *runtime);

/* capacity.c: what @config says of it, and what the host has of disk and huge pages now. The latter
 * blocks for two short looks. */
Budget *runtime_budget_new(const RuntimeConfig *config);
void runtime_look_at_capacity(Runtime *runtime);

/* sweep.c: removes what belongs to no VM and is older than @grace usec, and tells config.swept. */
void runtime_sweep(Runtime *runtime, int64_t grace);
