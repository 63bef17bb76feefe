/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Snapshots as messages, which live in an Arena and borrow from what they tell of. */

#include "agent/arena.h"
#include "runtime/snapshots.h"

#include <hearth/v1/snapshot.pb-c.h>

Hearth__V1__Snapshot *wire_snapshot(Arena *arena, const SnapshotInfo *info);
