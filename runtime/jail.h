/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The jail of one VM's VMM: Firecracker's jailer, told what to do.
 *
 * A jail is a directory of its own as root (<dir>/<program>/<instance>/root),
 * a user and group of its own leased to the VM, its own mount and pid
 * namespace, and control groups with its limits. Files of the host are
 * bind-mounted into it by the keeper (runtime/keeper/jail.c), in a mount
 * namespace that ends with it. All that is left on the host is found by the
 * instance id: jail_remove() needs no other memory.
 *
 * Its files in the jail have names that follow from the spec, so that a later
 * agent knows them too. Safe from any thread.
 */

#include "runtime/backend.h"
#include "runtime/cgroup.h"
#include "runtime/firecracker_boot.h"
#include "runtime/keeper_link.h"

enum {
	JAIL_FILES = 2 * SPEC_DRIVES_MAX + 2, /* a restored drive may go by two names */
	JAIL_GROUP_MAX = 128,
};

typedef struct Jail {
	const JailConfig *config;
	char *program; /* the VMM's, a real path */
	char *dir;     /* config's, a real path */
	char *root;
	char instance[17];
	char group[JAIL_GROUP_MAX];
	uint32_t uid;
	CgroupHost cgroups;
	VmLimits limits;
	KeeperJailFile files[JAIL_FILES];
	size_t count;
} Jail;

/**
 * jail_new() - the jail that @job's VMM is to be started in; touches nothing
 * @program:	the VMM's, as configured
 * @err:	JAILER; INVALID_REQUEST: a file of the spec that may not be used, or no more
 *
 * Every path of the spec is resolved here, and looked at again.
 */
int jail_new(Jail **ret, const BackendConfig *config, const char *program, const Job *job,
	     Error *err) must_check;
void jail_free(Jail *jail);
DEFINE_CLEANUP(Jail *, jail_free);

/* For runtime/jail*.c: what every jail has, a VM's or not; JAILER. */
int jail_begin(Jail **ret, const JailConfig *config, const char *program, const char *instance,
	       Error *err) must_check;

/* Makes its root directory; JAILER. */
int jail_make(const Jail *jail, Error *err) must_check;

/* The jailer's command line, @vmm_args for the VMM behind it; for words_free(). */
char **jail_argv(const Jail *jail, const char *const *vmm_args, size_t count);

/* Where things are in the eyes of the VMM inside. */
void jail_paths(FirecrackerPaths *ret, const VmSpec *spec);
/* The name of a drive in its jail: of another path another one. To free. */
char *jail_drive_name(const VmDrive *drive);

/* What a snapshot's files are called in the jail of a VMM that writes or reads them. */
#define JAIL_SNAPSHOT_MEMORY "snapshot-memory"
#define JAIL_SNAPSHOT_STATE "snapshot-state"
/* The socket of the pager that serves it, there. */
#define JAIL_PAGER "pager.sock"

/* Does the VMM, @pid, run as it should: its user, its limits? JAILER. */
int jail_verify(const Jail *jail, pid_t pid, Error *err) must_check;

/**
 * jail_remove() - end and remove what there is of @instance's jail
 *
 * Ends every process in its control groups. Absent is success. JAILER, VMM_FAILED.
 */
int jail_remove(const BackendConfig *config, const char *instance, Error *err) must_check;

/* Calls @each with the instance id of every jail that there is something of, older than @grace
 * usec. */
void jail_list(const BackendConfig *config, int64_t grace,
	       void (*each)(void *user, const char *instance), void *user);

/**
 * jail_probe() - does the jailer work here? Runs a Firecracker's --version in a jail
 * @ret:	available, and message if it is not; the rest stays
 *
 * Return: 0; -errno of a shortage, as a ProbeFn's.
 */
int jail_probe(BackendInfo *ret, const BackendConfig *config) must_check;
