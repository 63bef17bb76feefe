/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the two parts of a draft share; for runtime/snapshots/snapshots_draft.c and _finish.c alone.
 */

#include "runtime/snapshots/snapshots_internal.h"

struct SnapshotDraft {
	Snapshots *snapshots;
	SnapshotEntry *entry; /* the draft's until it is ended: nobody else takes it away */
	char *dir;
	uint64_t taken; /* of the room */
	char parent_uid[37];
	bool is_over; /* finished or failed */
};
