/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One keeper: starts its VMM, and the VMM's pager if it is to have one, writes
 * what it says into the run directory, and how it ended.
 *
 * Single-threaded: one poll() over the children's pipes and SIGCHLD. Nothing the
 * VMM or guest does blocks it: pipes are read a buffer at a time, whatever
 * cannot be written is dropped. Signals that ask it to end are ignored, since
 * VMs outlive agents; SIGKILL ends it and, by PR_SET_PDEATHSIG, the VMM. (Not a
 * jailed one: the kernel forgets that signal with a change of user. Agents end it.)
 */

#include "base/error.h"
#include "runtime/keeper/groups.h"
#include "runtime/keeper/jail.h"
#include "runtime/keeper/pager.h"

typedef struct KeeperOptions {
	char *run_dir; /* absolute */
	uint64_t console_max;
	uint64_t console_rate;
	bool qmp;
	char *console_fifo;        /* instead of the VMM's fd 3; NULL: not so */
	char *metrics_fifo;        /* the VMM writes its metrics to it; NULL: it does not */
	Groups groups;             /* that the keeper enters */
	Groups vmm_groups;         /* and its VMM, where the jailer does not see to that */
	const char *memory_events; /* of the VMM's group; NULL: it has none */
	PagerOptions pager;
	KeeperJail jail; /* then vmm_argv is the jailer's */
	char *const *vmm_argv;
} KeeperOptions;

typedef struct Keeper Keeper;

/**
 * keeper_new() - become the keeper: start the VMM and write keeper.json
 * @err:	VMM_FAILED, JAILER, UFFD; nothing is left running then
 */
int keeper_new(Keeper **ret, const KeeperOptions *options, Error *err) must_check;
/* Serves until the VMM has ended and exit.json is written. */
void keeper_serve(Keeper *keeper);
/* Ends the VMM if it runs. */
void keeper_free(Keeper *keeper);
DEFINE_CLEANUP(Keeper *, keeper_free);
