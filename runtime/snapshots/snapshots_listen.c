/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshots_internal.h"

#include <utlist.h>

/* Those who are told that the catalog has changed. */

void snapshot_changed(Snapshots *snapshots, SnapshotEntry *entry)
{
	SnapshotsListener *listener;

	entry->version = ++snapshots->version;
	DL_FOREACH(snapshots->listeners, listener)
	listener->wake(listener);
}

/* NOLINTBEGIN(readability-function-*): the insides of utlist's macros */

void snapshots_listen(Snapshots *snapshots, SnapshotsListener *listener)
{
	lock_take(&snapshots->lock);
	DL_APPEND(snapshots->listeners, listener);
	lock_drop(&snapshots->lock);
}

void snapshots_unlisten(Snapshots *snapshots, SnapshotsListener *listener)
{
	lock_take(&snapshots->lock);
	DL_DELETE(snapshots->listeners, listener);
	lock_drop(&snapshots->lock);
}
/* NOLINTEND(readability-function-*) */
