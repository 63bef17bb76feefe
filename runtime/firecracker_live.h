/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What Firecracker is told while its guest is there: the requests that lead
 * from one spec to another. Texts only: nothing here looks at the host; safe
 * from any thread.
 */

#include "runtime/spec.h"

#include <jansson.h>

typedef struct FirecrackerChange {
	const char *method;
	char *path;
	json_t *body;
} FirecrackerChange;

typedef struct FirecrackerLive {
	FirecrackerChange *changes;
	size_t count;
} FirecrackerLive;

/**
 * firecracker_live_new() - the requests that lead from @from to @to, in their order
 * @from:	NULL: from nobody knows where; then all of @to is told
 * @drive_paths:	where the VMM finds each drive of @to
 *
 * @to differs from @from in what spec_update_check_live() allows. Then the same number of requests
 * leads back, each undoing the one in its place.
 */
FirecrackerLive *firecracker_live_new(const VmSpec *from, const VmSpec *to,
				      const char *const *drive_paths);
void firecracker_live_free(FirecrackerLive *live);
DEFINE_CLEANUP(FirecrackerLive *, firecracker_live_free);

/*
 * Leaves out what @config, the answer to GET /vm/config, has already: a disk need not be there to
 * be opened again, and a guest without a driver has no balloon to be told of.
 */
void firecracker_live_spare(FirecrackerLive *live, const json_t *config);
