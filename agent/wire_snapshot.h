/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Snapshots as messages, which live in an Arena and borrow from what they tell of. */

#include "agent/arena.h"
#include "runtime/snapshot.h"

#include <hearth/v1/snapshot.pb-c.h>

/* @spec: of the VM, as snapshot_spec() has it; or NULL. */
Hearth__V1__Snapshot *wire_snapshot(Arena *arena, const SnapshotInfo *info, const VmSpec *spec);
