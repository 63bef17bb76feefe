/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/snapshots/snapshots_internal.h"

#include <inttypes.h>

/* The memory files of what is laid over one another. */

void snapshot_layers_clear(SnapshotLayers *layers)
{
	for (size_t i = 0; i < layers->count; i++) {
		free(layers->items[i].path);
		snapshot_runs_clear(&layers->items[i].runs);
	}
	*layers = (SnapshotLayers){ 0 };
}

static int add(const SnapshotUse *use, size_t i, SnapshotLayers *layers, Error *err)
{
	const Snapshots *snapshots = use->snapshots;
	const SnapshotKey *key = &use->entries[i]->key;
	const SnapshotFile *file = snapshot_manifest_file(use->manifests[i], SNAPSHOT_MEMORY_FILE);
	SnapshotLayer *layer = &layers->items[layers->count];
	cleanup_close int fd = -1;

	if (!file && use->count == 1)
		return 0;
	if (!file || (layers->count && file->size != layers->items[0].size))
		return snapshot_refuse(err, key, CAUSE_CORRUPT,
				       "its memory does not fit those it is laid over");
	layer->path = snapshot_path(snapshots, key, SNAPSHOT_MEMORY_FILE);
	layer->size = file->size;
	layers->count++;
	if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, layer->path), err) < 0 ||
	    snapshot_runs_read(&layer->runs, fd, layer->path, err) < 0)
		return snapshot_error(err, key);
	return 0;
}

int snapshot_use_layers(const SnapshotUse *use, SnapshotLayers *ret, Error *err)
{
	cleanup_(snapshot_layers_clear) SnapshotLayers layers = { 0 };

	for (size_t i = use->count; i-- > 0;)
		if (add(use, i, &layers, err) < 0)
			return -1;
	*ret = layers;
	layers.count = 0;
	return 0;
}
