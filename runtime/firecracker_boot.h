/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What Firecracker is told before a boot. Texts only: nothing here looks at
 * the host; safe from any thread.
 */

#include "runtime/firecracker_api.h"
#include "runtime/spec.h"

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

/* The requests in their order, without the last, InstanceStart. */
typedef struct FirecrackerBoot {
	FirecrackerPut *puts;
	size_t count;
} FirecrackerBoot;

FirecrackerBoot *firecracker_boot_new(const VmSpec *spec, const char *boot_args);
void firecracker_boot_free(FirecrackerBoot *boot);
DEFINE_CLEANUP(FirecrackerBoot *, firecracker_boot_free);

/* The body of a PUT to /actions: { "action_type": @action }. */
json_t *firecracker_action_new(const char *action);
