/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the backends with a VMM process per VM have in common.
 *
 * Nothing of a VM is held in memory: its processes are found by the run
 * directory, which works the same after an agent's restart. Each function is
 * told the VMM's name for its messages; all are safe from any thread.
 */

#include "base/clock.h"
#include "runtime/backend.h"
#include "runtime/keeper_link.h"
#include "runtime/launcher.h"

#include <sys/types.h>

enum {
	VMM_KILL_TIMEOUT = 10 * USEC_PER_SEC,
};

/**
 * vmm_process_clear_socket() - make way for a VMM that will listen at @path
 * @err:	VMM_FAILED: too long for a socket, or what is there cannot be removed
 */
int vmm_process_clear_socket(const char *path, Error *err) must_check;

/*
 * What the keeper is told of control groups, for KeeperConfig.groups and words_free().
 * @jailers:	where the jailer made resolved's group, which the VMM enters by it; NULL: not jailed
 */
char **vmm_process_groups(const Launcher *launcher, const Job *job, const CgroupHost *jailers);

/**
 * vmm_process_launch() - start keeper and VMM, and fill in resolved's pids
 * @err:	VMM_FAILED
 */
int vmm_process_launch(const KeeperConfig *config, Job *job, Error *err) must_check;

/* Has the VMM with pidfd @vmm ended, or will it in a moment? One that ends closes its sockets
 * before that can be seen. */
bool vmm_process_ends(int vmm);

/* A pidfd of the VM's VMM; VMM_FAILED if it has ended. */
int vmm_process_open(int *ret, const Job *job, const char *name, Error *err) must_check;

/* The bytes in vmm.log now: where what a VMM yet to be started says will begin. */
off_t vmm_process_log_size(const Job *job);

/*
 * Ends what was started, removes @socket, and adds to the filled @err what the VMM itself said
 * since vmm.log had @log_from bytes (negative: nothing). Poisons the job when the VMM does not end.
 */
void vmm_process_undo_start(Job *job, const char *socket, off_t log_from, Error *err);

/* Is the VMM with pidfd @vmm running or paused (or VM_STOPPED: ended meanwhile)? */
typedef int VmmLookFn(Job *job, int vmm, VmState *ret, Error *err);

/* A backend's look(): asks @look_at if keeper and VMM live, and ends what has lost the other. */
int vmm_process_look(Job *job, const char *name, VmmLookFn *look_at, VmState *ret, Error *err)
	must_check;

/* A backend's exit_fd(). */
int vmm_process_exit_fd(Job *job, int *ret, Error *err) must_check;

/* Is there a record of a VMM in @run_dir, and the VMM no longer? Its keeper is about to notice, or
 * hangs. */
bool vmm_process_has_ended(const char *run_dir);

/* A backend's read_exit(); removes @socket. */
void vmm_process_read_exit(Job *job, const char *socket, VmmExit *ret);
