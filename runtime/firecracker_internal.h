/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the Firecracker backend share; for runtime/firecracker*.c and
 * their tests.
 */

#include "base/clock.h"
#include "runtime/firecracker_api.h"
#include "runtime/firecracker_features.h"
#include "runtime/probe_cache.h"

enum {
	FIRECRACKER_LISTEN_TIMEOUT = 30 * USEC_PER_SEC, /* a busy host starts slowly */
};

typedef struct Firecracker {
	Backend backend;
	BackendConfig config;
	/* what config points to */
	char *keeper_path, *pager_path, *firecracker_path, *jailer_path, *jail_dir, *jail_group,
		*image_dirs;
	ProbeCache probes;
} Firecracker;

/* Is it available, with all that @spec needs? UNSUPPORTED. */
int firecracker_can(const BackendInfo *info, const VmSpec *spec, Error *err) must_check;

/* The backend's check(). */
int firecracker_check(Backend *backend, const VmSpec *spec, Error *err) must_check;

/* The backend's start(). */
int firecracker_start(Backend *backend, Job *job, Error *err) must_check;

/* The backend's snapshot(). */
int firecracker_snapshot(Backend *backend, Job *job, const char *dir, bool diff,
			 FieldTexts *drive_names, Error *err) must_check;
/* Can VMs be taken snapshots of, and be restored from them? UNSUPPORTED. */
int firecracker_check_snapshot(const Firecracker *firecracker, Error *err) must_check;

/* Ends and removes what @instance_id has on the host beside its run directory, whatever made it:
 * its jail, its taps. JAILER, NETWORK_SETUP. */
int firecracker_clear(const Firecracker *firecracker, const char *instance_id, Error *err)
	must_check;

/* Removes the sockets and FIFOs, and what a pager has left, in the run directory of a VM whose VMM
 * has ended. */
void firecracker_clear_run_dir(const Job *job);

/* The backend's metrics(). */
int firecracker_metrics(Backend *backend, Job *job, bool cached, VmMetrics *ret, Error *err)
	must_check;

/* The backend's stop(). */
int firecracker_stop(Backend *backend, Job *job, const StopLadder *ladder, Error *err) must_check;

/* The backend's update(). */
int firecracker_update(Backend *backend, Job *job, const VmSpec *to, Error *err) must_check;

/* Where the VM's Firecracker listens, to free. */
char *firecracker_socket_path(const Job *job);

/* A handle to it. @cancel_fd may be -1; @patience: for each request, 0: its own time. */
int firecracker_connect(FirecrackerApi **ret, const Job *job, int vmm_pidfd, int cancel_fd,
			int64_t patience, Error *err) must_check;
