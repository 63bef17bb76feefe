/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The agent's side of hearth-keeper: starting one, finding it again, reading
 * what it left.
 *
 * A keeper and the agent meet in the VM's run directory only: keeper.json
 * (written when the VMM has been started, and again with each pager that takes over), console.log
 * and console.1, vmm.log, exit.json (written atomically when the VMM has ended; the keeper then
 * ends too). The keeper is no child of the agent, so that its end is noticed the same way by the
 * agent that started it and by the next one: through a pidfd.
 */

#include "base/error.h"
#include "base/process.h"
#include "runtime/record.h"

/* A file or block device of the host that a jailed VMM is to have. */
typedef struct KeeperJailFile {
	char *name; /* in the jail's root */
	char *path; /* absolute, without symbolic links */
	bool read_only;
} KeeperJailFile;

typedef struct KeeperJailConfig {
	const char *root; /* exists */
	uint32_t uid;     /* and gid */
	const KeeperJailFile *files;
	size_t count;
	const char *own_group; /* directory of the agent's own control group; NULL: not known */
} KeeperJailConfig;

/*
 * The VMM's memory comes from a file, page by page (runtime/pager/). All strings are the caller's;
 * paths are absolute, and as the keeper sees them, not a jail.
 *
 * When keeper_start() has returned, the pager listens at @socket, in the VMM's control groups: the
 * VMM is told to connect there, by whoever drives it, once (Firecracker: "mem_backend": {
 * "backend_type": "Uffd", "backend_path": ... }, the path as the VMM sees it). Whether the
 * working set is there, to resume after it, pager_metrics_installed() says. Pagers that die are
 * replaced, KeeperState.pager being the present one as of the file; one that cannot serve, and the
 * third that dies within a minute, is the VMM's end: exit.json's evidence is "pager",
 * keeper_exit_reason() says EXIT_PAGER_FAILED, and KeeperExit.message why. The same is said of a
 * VMM that ended badly after a page could not be read.
 */
typedef struct KeeperPagerConfig {
	const char *path;        /* hearth-pager */
	const char *memory_file; /* the pager's alone: a jailed VMM need not be able to read it */
	/* To be made, instead of what is there, and given to the VMM's user; at most 107 bytes. A
	 * jailed VMM's is in its root and goes with that; firecracker_clear_run_dir() removes
	 * pager.sock and pager.state of the run directory. */
	const char *socket;
	const char *working_set; /* to install, if it is there and of this memory; NULL: none */
	const char *record; /* where that of this run is saved, replaced at once; NULL: nowhere */
	uint32_t record_seconds; /* what is used so soon is recorded; 0: as the pager thinks */
	uint32_t window_kib;     /* 4 to 256: read ahead at most; 0: as the pager thinks */
} KeeperPagerConfig;

typedef struct KeeperConfig {
	const char *keeper_path;
	const char *run_dir;        /* exists */
	uint64_t console_max_bytes; /* over both files; at least 8 KiB */
	uint64_t console_rate;      /* bytes a second; 0: no limit */
	char *const *vmm_argv;      /* argv[0] a path or looked up on PATH; NULL-terminated */
	/* The VMM inherits: fd 3, the writing end of the console pipe; fd 4, one end of a stream
	 * socket on which it speaks QMP to the keeper, if qmp is set. Standard output and error go
	 * to vmm.log. */
	bool qmp;
	/* A FIFO to be made, which the VMM opens itself, instead of fd 3; NULL: none. */
	const char *console_fifo;
	/* A FIFO to be made, which the VMM writes its metrics to; NULL: it does not. */
	const char *metrics_fifo;
	/* The VMM runs in a jail, and vmm_argv is the jailer's; NULL: it does not. */
	const KeeperJailConfig *jail;
	/* NULL: the VMM has its memory by itself. */
	const KeeperPagerConfig *pager;
	/* More of its options, about control groups; NULL-terminated. NULL: none. */
	char *const *groups;
} KeeperConfig;

/* keeper.json */
typedef struct KeeperState {
	uint32_t version; /* of the files' format: KEEPER_FORMAT */
	ProcessId keeper;
	ProcessId vmm;
	ProcessId pager; /* pid 0: none */
	char boot_id[37];
} KeeperState;

enum {
	KEEPER_FORMAT = 1
};

/**
 * keeper_start() - start a keeper and, under it, the VMM
 * @ret:	as in the keeper.json now on disk
 * @err:	VMM_FAILED: the keeper or VMM could not be executed, in its own words; JAILER;
 *		UFFD: the pager does not come to listen, in its own words
 *
 * Returns when the VMM has been executed. Removes an older run's exit.json and keeper.json
 * first; the console goes on. Nothing is left running on failure.
 */
int keeper_start(KeeperState *ret, const KeeperConfig *config, Error *err) must_check;

/**
 * keeper_attach() - put @jail's files into the jail of @run_dir's running VMM
 * @gone:	name in the jail that is to go; NULL: none
 * @err:	VMM_FAILED, JAILER
 */
int keeper_attach(const char *keeper_path, const char *run_dir, const KeeperJailConfig *jail,
		  const char *gone, Error *err) must_check;

/* Reads @run_dir's keeper.json: 0; -ENOENT; -EINVAL when it is no such file. */
int keeper_load(KeeperState *ret, const char *run_dir) must_check;

/*
 * A pidfd of the keeper or VMM that @state tells of: 0; -ESRCH if it is gone, its pid another's,
 * or the host has been booted since.
 */
int keeper_open(int *ret, const KeeperState *state) must_check;
int keeper_open_vmm(int *ret, const KeeperState *state) must_check;

/* exit.json */
typedef struct KeeperExit {
	int code;          /* of the VMM; -1 if a signal ended it */
	int signal;        /* 0: none */
	int64_t time;      /* wall usec */
	char evidence[32]; /* the VMM's own word over QMP: "guest-shutdown", "guest-reset",
			      "guest-panic", "host-signal"; "memory": the kernel
			      ended it for lack of memory in its group; "pager":
			      its memory could not be served; or "" */
	char message[256]; /* for people; may be "" */
} KeeperExit;

int keeper_read_exit(KeeperExit *ret, const char *run_dir) must_check; /* 0, -ENOENT, -EINVAL */

/**
 * keeper_kill() - end VMM and keeper that @run_dir tells of, if they live
 *
 * SIGKILL to the VMM, so that the keeper writes exit.json; SIGKILL to the keeper if it has not
 * ended within 2 s. 0 also when there is nothing; -ETIMEDOUT if one did not die within @timeout.
 */
int keeper_kill(const char *run_dir, int64_t timeout) must_check;

/* What exit.json and the console say together; EXIT_UNKNOWN or EXIT_KEEPER_LOST without exit.json,
 * EXIT_HOST_REBOOT if keeper.json is of another boot. @tail is the console's. */
ExitReason keeper_exit_reason(const char *run_dir, const KeeperExit *exit, const char *tail);
