/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include "base/text.h"
#include "runtime/snapshot.h"
#include "runtime/vm.h"

#include <unistd.h>

/* What the node has of images and snapshots, below its state directory. */

enum {
	MIB = 1 << 20
};

static int open_templates(Runtime *runtime, Error *err)
{
	cleanup_free char *dir = text_printf("%s/templates", runtime->state_dir);
	cleanup_free char *unpacker =
		process_beside(runtime->config.backend.keeper_path, "hearth-unpack");
	const TemplatesConfig config = {
		.dir = dir,
		.unpacker = unpacker,
		.tool_uid = geteuid() == 0 ? runtime->config.backend.jail.probe_uid : 0,
		.max_bytes = runtime->config.templates_mib * MIB,
		.max_image_bytes = runtime->config.template_mib * MIB,
		.spare_bytes = runtime->config.reserved_disk_mib * MIB,
	};

	return templates_open(&runtime->templates, &config, err);
}

static int open_snapshots(Runtime *runtime, Error *err)
{
	cleanup_free char *dir = text_printf("%s/snapshots", runtime->state_dir);
	const SnapshotsConfig config = {
		.dir = dir,
		.spare_bytes = runtime->config.reserved_disk_mib * MIB,
	};

	snapshot_host_read(&runtime->host, SNAPSHOT_CPUINFO);
	return snapshots_open(&runtime->snapshots, &config, err);
}

int runtime_open_catalogs(Runtime *runtime, Error *err)
{
	return open_templates(runtime, err) < 0 ? -1 : open_snapshots(runtime, err);
}

void runtime_close_catalogs(Runtime *runtime)
{
	templates_close(runtime->templates);
	snapshots_close(runtime->snapshots);
}

Templates *runtime_templates(Runtime *runtime)
{
	return runtime->templates;
}

Snapshots *runtime_snapshots(Runtime *runtime)
{
	return runtime->snapshots;
}
