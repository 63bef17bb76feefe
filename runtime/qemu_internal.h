/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the parts of the QEMU backend share; for runtime/qemu*.c and their tests.
 */

#include "base/clock.h"
#include "runtime/launcher.h"
#include "runtime/probe_cache.h"
#include "runtime/qmp.h"

enum {
	QEMU_CONNECT_TIMEOUT = 30 * USEC_PER_SEC, /* a busy host starts slowly */
	QEMU_COMMAND_TIMEOUT = 10 * USEC_PER_SEC,
};

typedef struct Qemu {
	Backend backend;
	BackendConfig config;
	char *keeper_path, *qemu_path, *accelerator; /* what config points to */
	ProbeCache probes;
} Qemu;

/* The backend's check(). */
int qemu_check(Backend *backend, const VmSpec *spec, Error *err) must_check;

/* The backend's stop(). */
int qemu_stop(Backend *backend, Job *job, const StopLadder *ladder, Error *err) must_check;

/* The backend's snapshot(). */
int qemu_snapshot(Backend *backend, Job *job, const char *dir, bool diff, FieldTexts *drive_names,
		  Error *err) must_check;
/* QEMU, which waits for it, gets job->restore's state; its processors stand still. */
int qemu_read_snapshot(Qmp *qmp, const Job *job, Error *err) must_check;
/* Ends what an agent that died has left of writing one, if it goes on. */
int qemu_end_snapshot(Qmp *qmp, Error *err) must_check;

/* Removes what an ended QEMU may have left: its control group, its taps. */
int qemu_clear(const Qemu *qemu, const char *instance_id, Error *err) must_check;

/* Where QEMU listens, to free. */
char *qemu_socket_path(const Job *job);

/* Connects to the VM's QEMU; @timeout to connect. @cancel_fd may be -1. */
int qemu_connect(Qmp **ret, const Job *job, int vmm_pidfd, int cancel_fd, int64_t timeout,
		 Error *err) must_check;
