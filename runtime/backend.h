/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What runs VMs: one table of functions a backend, one list of capabilities.
 *
 * Functions that work on a VM get a Job: they run on an operation's thread,
 * the VM claimed, no lock held, and may block; they look at job_cancelled()
 * (or poll job->cancel_fd) wherever they wait, and give up with any error when
 * it is true. A function that fails undoes what it did; when the undoing fails
 * it sets job->poisoned.
 */

#include "runtime/record.h"
#include "runtime/vmm_metrics.h"

typedef struct Job Job;
typedef struct Backend Backend;
typedef struct GuestLink GuestLink;
typedef struct Launcher Launcher;
typedef struct Network Network;

enum {
	BACKEND_PAUSE = 1,        /* pause and resume */
	BACKEND_POWER_BUTTON = 2, /* a rung of the stop ladder */
	BACKEND_CONSOLE = 4,
	BACKEND_PROCESS = 8,   /* a keeper and a VMM exist while a VM runs */
	BACKEND_JAIL = 16,     /* its VMMs can run in a jail, as a user of their own */
	BACKEND_GUEST = 32,    /* a daemon in the guest can be talked to */
	BACKEND_SNAPSHOT = 64, /* snapshot(), and a start from what it wrote */
	BACKEND_DIFF = 128,    /* snapshots of what has changed since the last one alone */
	BACKEND_PAGER = 256,   /* memory of a snapshot page by page */
};

/* The files of a snapshot's directory that a backend writes and reads; it may have only one. */
#define SNAPSHOT_MEMORY "memory"
#define SNAPSHOT_STATE "state"

/* What start() begins with instead of a boot: what snapshot() has written, verified by now. */
typedef struct RestoreFrom {
	const char *dir; /* absolute; nothing in it is changed */
	/* Where the VMM that was snapshot had each drive of job->spec, as snapshot() said it; the
	 * files themselves are job->spec's. */
	const FieldTexts *drive_names;
	bool paused; /* the virtual CPUs stand still when it returns, and never ran */
	bool paged;  /* by userfaultfd; for those with BACKEND_PAGER */
	/* Paged: what is worth having before the guest goes on; made by the first run, if it is not
	 * there. */
	const char *working_set;
} RestoreFrom;

/* How StopVm goes about it, in usec; a negative time-out skips the rung. */
typedef struct StopLadder {
	int64_t guest_timeout;
	int64_t power_button_timeout;
	int64_t terminate_timeout;
} StopLadder;

#define STOP_AT_ONCE ((StopLadder){ -1, -1, -1 })

/* The work of one operation on one VM, as a backend sees it. */
struct Job {
	const char *vm_id;
	const char *run_dir; /* absolute; made before start, removed after destroy */
	const VmSpec *spec;
	VmResolved *resolved; /* of the record being made: fill in what was chosen */
	int cancel_fd;        /* readable once the operation is to be given up; -1: never */
	bool poisoned;        /* an undo failed: set with the error that tells of it */
	bool whole;           /* update: nobody knows which of @spec the VMM has */
	FieldList rungs;      /* VmRung: stop adds the rungs it tried */
	void *steps;          /* runtime's; see job_step() */
	GuestLink *guest; /* stop: to the daemon in its guest, if the connection stands; or NULL */
	RestoreFrom *restore; /* start: or NULL, to boot */
	const Backend *backend;
};

/* Begins the step called @name, ending the one before; shown in status.operation. */
void job_step(Job *job, const char *name);
bool job_cancelled(const Job *job);

/* How a VMM ended, from whatever evidence is left. */
typedef struct VmmExit {
	ExitReason reason; /* never REQUESTED: whoever asked for it knows */
	int code;          /* -1 if a signal ended it */
	int signal;
	int64_t time;       /* wall usec */
	char *console_tail; /* to free; may be NULL */
} VmmExit;

typedef struct BackendInfo {
	VmBackend backend;
	bool available;
	char message[256]; /* why not */
	char version[64];
	char accelerator[16];
	unsigned capabilities;
	bool is_default;
} BackendInfo;

typedef struct BackendOps {
	VmBackend id;
	unsigned capabilities;

	/* Looks at the host: @ret's available, message, version, accelerator. May take seconds. */
	void (*probe)(Backend *backend, BackendInfo *ret);
	/* Ends a look that is under way, and any later one, at once. NULL: none takes long. */
	void (*give_up)(Backend *backend);

	/* Can this backend run @spec on this host? Every bad field at once: INVALID_REQUEST (a
	 * file that is missing or no regular file), UNSUPPORTED. Touches nothing. */
	int (*check)(Backend *backend, const VmSpec *spec, Error *err);

	/* Boots; the virtual CPUs run when it returns. VMM_FAILED and others. */
	int (*start)(Backend *backend, Job *job, Error *err);
	int (*pause)(Backend *backend, Job *job, Error *err);
	int (*resume)(Backend *backend, Job *job, Error *err);

	/* Carries over to the running or paused VMM what differs between job->spec and @to, of what
	 * UpdateVm can change live (spec_update_check_live() has allowed it); undoes all of it when
	 * one part fails. With job->whole it brings the VMM to @to whatever it has now; a failure
	 * of that is one of undoing, unless the VMM has ended. NULL: nothing can be changed. */
	int (*update)(Backend *backend, Job *job, const VmSpec *to, Error *err);

	/* Writes memory and state of the VM, which is paused, into the empty directory @dir:
	 * complete and synced when it returns. @diff: of the memory only what was written since the
	 * last snapshot of this run (BACKEND_DIFF, machine.track_dirty_pages); what was not is
	 * holes.
	 * @drive_names, empty, gets where the VMM has each drive of job->spec. The VM stays as it
	 * was; on failure too, or job->poisoned. SNAPSHOT_FAILED. NULL: it cannot. */
	int (*snapshot)(Backend *backend, Job *job, const char *dir, bool diff,
			FieldTexts *drive_names, Error *err);

	/* What the VMM counts, into a zeroed @ret: told now, or, @cached, last. Of a VM that nobody
	 * has claimed, whose VMM may end meanwhile. METRICS. NULL: it counts nothing. */
	int (*metrics)(Backend *backend, Job *job, bool cached, VmMetrics *ret, Error *err);

	/* The socket that leads to the guest's daemon (runtime/guest_link.h), to free; @vsock:
	 * through Firecracker's vsock. NULL: @job's VM has none. NULL as well: none ever has. */
	char *(*guest_path)(const Job *job, bool *vsock);

	/* Climbs the ladder until the VMM has ended; SHUTDOWN if even SIGKILL did not do it. With
	 * no VMM left it is success at once. Not cancelled by job->cancel_fd alone: a cancelled
	 * stop goes to its last rung. */
	int (*stop)(Backend *backend, Job *job, const StopLadder *ladder, Error *err);

	/* After an agent's restart: is the VMM there, and is it running or paused? @ret is
	 * VM_RUNNING, VM_PAUSED, or VM_STOPPED when there is none. Fills resolved's pids. */
	int (*look)(Backend *backend, Job *job, VmState *ret, Error *err);

	/* A descriptor, the caller's to close, that becomes readable when @job's VMM has ended
	 * and its record is written; -1 in *@ret for backends without processes. */
	int (*exit_fd)(Backend *backend, Job *job, int *ret, Error *err);

	/* Reads how it ended, and removes what the ended VMM left (sockets). Never fails:
	 * EXIT_UNKNOWN without evidence. */
	void (*read_exit)(Backend *backend, Job *job, VmmExit *ret);

	/* What instances have something on the host beside a run directory, older than @grace usec?
	 * NULL: none ever. */
	void (*find_leftovers)(Backend *backend, int64_t grace,
			       void (*each)(void *user, const char *instance_id), void *user);
	/* Removes all that @instance_id may have beside its run directory, processes too. */
	int (*remove_leftovers)(Backend *backend, const char *instance_id, Error *err);

	void (*free)(Backend *backend);
} BackendOps;

struct Backend {
	const BackendOps *ops;
	Network *network; /* the runtime's: what interfaces become part of (runtime/network.h);
			     NULL: nothing */
};

/* How VMMs are jailed on this node. */
typedef struct JailConfig {
	const char *jailer_path; /* jailer, or a path; NULL: they are not */
	const char *dir;         /* made if missing; jails are below it, and nothing else */
	const char *group;       /* control group that those of VMs are made in; below the roots */
	uint32_t probe_uid;      /* that probes use; no VM's */
} JailConfig;

/* What the process backends need to know of the node. */
typedef struct BackendConfig {
	const char *keeper_path;      /* hearth-keeper; hearth-pager lies beside it */
	const char *qemu_path;        /* qemu-system-x86_64, or a path */
	const char *firecracker_path; /* firecracker, or a path */
	const char *accelerator;      /* "auto", "kvm" or "tcg" */
	uint64_t console_max_bytes;   /* kept per VM, over both files */
	uint64_t console_rate;        /* bytes a second; 0: no limit */
	JailConfig jail;              /* firecracker's */
	const Launcher *launcher;     /* of keepers; outlives the backend. NULL: a child */
	const char *image_dirs;       /* see runtime/image_path.h; NULL: anywhere */
} BackendConfig;

Backend *in_memory_new(void);
Backend *qemu_new(const BackendConfig *config);        /* copies what it keeps */
Backend *firecracker_new(const BackendConfig *config); /* the same */
