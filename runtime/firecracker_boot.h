/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What Firecracker is told before a boot. Texts only: nothing here looks at
 * the host; safe from any thread.
 */

#include "runtime/firecracker_api.h"
#include "runtime/firecracker_features.h"
#include "runtime/record.h"

/*
 * The guest kernel's command line, to free: the spec's arguments (default: a serial console, reboot
 * on panic), before them where the root drive is unless they say it. Firecracker would write its
 * own root= behind all, which the caller's would lose against; so it is told of no root device.
 */
char *firecracker_boot_args(const VmSpec *spec);

typedef struct FirecrackerPut {
	char *path;
	json_t *body;
} FirecrackerPut;

/* Where things are in the VMM's own eyes, which is not where they are on the host when it is
 * jailed. */
typedef struct FirecrackerPaths {
	char *kernel, *initrd;         /* initrd NULL: none */
	char *drives[SPEC_DRIVES_MAX]; /* as many as the spec has */
	char *console;                 /* file or FIFO that the serial port writes to */
	char *metrics;                 /* FIFO; NULL: none */
	char *vsock;                   /* socket to be made, if the spec wants it */
} FirecrackerPaths;

void firecracker_paths_clear(FirecrackerPaths *paths);
/* As they are on the host, for a VMM that is not jailed; sockets and FIFOs are in @run_dir. */
void firecracker_paths_plain(FirecrackerPaths *ret, const VmSpec *spec, const char *run_dir);

typedef struct FirecrackerPlan {
	const VmSpec *spec;
	const char *boot_args;
	const FirecrackerPaths *paths;
	const VmResolvedInterface *taps; /* of each interface, in the spec's order */
	FirecrackerVersion version;      /* extras are sent where the VMM knows them */
	uint64_t console_rate;           /* bytes a second the serial port may write; 0: no limit */
	bool paged;                      /* its memory comes by userfaultfd */
	bool restores; /* the machine is a snapshot's: only what is the VMM's own */
} FirecrackerPlan;

/* The requests in their order, without the last, InstanceStart. */
typedef struct FirecrackerBoot {
	FirecrackerPut *puts;
	size_t count;
} FirecrackerBoot;

FirecrackerBoot *firecracker_boot_new(const FirecrackerPlan *plan);
void firecracker_boot_free(FirecrackerBoot *boot);
DEFINE_CLEANUP(FirecrackerBoot *, firecracker_boot_free);

/* For runtime/firecracker_boot.c: what the guest's devices are made of, in their order. */
void firecracker_devices(FirecrackerBoot *boot, const FirecrackerPlan *plan);
/* Adds a request and takes what is in it. */
void firecracker_boot_add(FirecrackerBoot *boot, char *path, json_t *body);

/* The body of PUT /snapshot/load, for a jailed VMM; the guest stands still afterwards. To release.
 */
json_t *firecracker_load_new(const FirecrackerPlan *plan);

/* The body of a PUT to /actions: { "action_type": @action }. */
json_t *firecracker_action_new(const char *action);
