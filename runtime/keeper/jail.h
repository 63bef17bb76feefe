/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The keeper's part in a VMM's jail: its files and its FIFOs, before the
 * jailer closes it off, and the VMM itself, after the jailer has gone.
 *
 * The keeper has a mount namespace of its own, which ends with it and the VMM:
 * no mount of a jail is ever seen on the host, or left there.
 */

#include "runtime/keeper/jail_file.h"

enum {
	JAIL_FILES_MAX = 40
};

typedef struct KeeperJail {
	char *root;            /* directory that will be the VMM's root; NULL: no jail */
	uid_t uid;             /* and gid */
	const char *own_group; /* directory of the agent's control group; NULL: unknown */
	JailFile files[JAIL_FILES_MAX];
	size_t count;
} KeeperJail;

/* "NAME=PATH" as one more file: 0 or -1. */
int jail_add_file(KeeperJail *jail, const char *text, bool read_only) must_check;
void jail_clear(KeeperJail *jail);

/**
 * jail_hasten() - make it quick to move processes to other control groups, for some milliseconds
 * @own_group:	directory of the group this process is in
 *
 * The first to be moved waits for a grace period of RCU (10 ms and more), those that follow soon
 * do not. So a process that has nothing else to do moves itself to where it is already, while the
 * keeper prepares what comes before the jailer's moves. If it does not work nothing is lost.
 */
void jail_hasten(const char *own_group);

/**
 * jail_furnish() - a mount namespace of this process's own, with the jail's files in place
 * @err:	JAILER
 */
int jail_furnish(const KeeperJail *jail, Error *err) must_check;

/**
 * jail_find_vmm() - after @jailer, a child, has started the VMM and ended
 * @ret:	the VMM, a child of this subreaper now
 * @output:	what the jailer says: its words, if it fails, are in @err
 * @err:	JAILER
 */
int jail_find_vmm(pid_t *ret, pid_t jailer, int output, Error *err) must_check;

/**
 * jail_attach() - put @jail's files into the jail of a running VMM
 * @gone:	names in the jail that are to go; @gone_count of them
 * @err:	JAILER; files put there already stay until the VMM ends
 *
 * For a process of its own: it stays in the VMM's mount namespace.
 */
int jail_attach(const KeeperJail *jail, int vmm_pidfd, const char *const *gone, size_t gone_count,
		Error *err) must_check;
