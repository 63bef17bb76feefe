/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/snapshot.h"
#include "runtime/vm_snapshot.h"

#include <errno.h>
#include <jansson.h>

/* What the manifest of a snapshot says of its VM, and what is read of that. */

static void add_drives(SnapshotManifest *manifest, const VmSpec *spec, const FieldTexts *names)
{
	for (size_t i = 0; i < spec->drives.count; i++)
		snapshot_manifest_add_drive(manifest, spec_drive(spec, i)->drive_id,
					    i < names->count ? names->items[i] : "");
}

/* What the guest has of its network: whoever restores it has to know. */
static void add_interfaces(SnapshotManifest *manifest, const VmResolved *resolved)
{
	for (size_t i = 0; i < resolved->network_interfaces.count; i++) {
		const VmResolvedInterface *from =
			(const VmResolvedInterface *)resolved->network_interfaces.items + i;
		const SnapshotInterface given = {
			.interface_id = from->interface_id,
			.guest_mac = from->inner_mac ? from->inner_mac : from->guest_mac,
			.ipv4_address = from->inner_ipv4_address ? from->inner_ipv4_address
								 : from->ipv4_address,
			.ipv6_address = from->ipv6_address,
		};

		snapshot_manifest_add_interface(manifest, &given);
	}
}

static void add_host(SnapshotManifest *manifest, SnapshotHost host, const VmResolved *resolved)
{
	text_copy(host.backend, sizeof host.backend, vm_backend_name(resolved->backend));
	if (resolved->vmm_version)
		text_copy(host.vmm_version, sizeof host.vmm_version, resolved->vmm_version);
	if (resolved->accelerator)
		text_copy(host.accelerator, sizeof host.accelerator, resolved->accelerator);
	snapshot_host_describe(&host, manifest);
}

static char *spec_text(const VmSpec *spec)
{
	json_t *json = fields_to_json(&vm_spec_table, spec);
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(json);
	return text;
}

VmSpec *snapshot_spec(const SnapshotManifest *manifest)
{
	json_t *json = manifest->spec ? json_loads(manifest->spec, 0, NULL) : NULL;
	VmSpec *spec = spec_new();
	int r = json ? fields_from_json(&vm_spec_table, spec, json) : -EINVAL;

	json_decref(json);
	if (r == 0)
		return spec;
	spec_unref(spec);
	return NULL;
}

SnapshotManifest *snapshot_describe(const Operation *operation, const SnapshotLabels *given,
				    const FieldTexts *names)
{
	Vm *vm = operation->vm;
	const VmResolved *resolved = &operation->resolved;
	const FieldMap *labels = &given->labels;
	SnapshotManifest *manifest = snapshot_manifest_new();
	cleanup_(spec_unrefp) VmSpec *spec = NULL;

	lock_take(&vm->lock);
	spec = spec_ref(vm->latest->spec);
	lock_drop(&vm->lock);
	manifest->spec = spec_text(spec);
	snapshot_set(&manifest->vm_uid, vm->uid);
	for (size_t i = 0; i < labels->count; i++)
		snapshot_manifest_add_label(manifest, labels->pairs[i].key, labels->pairs[i].value);
	add_host(manifest, vm->runtime->host, resolved);
	manifest->vcpus = resolved->vcpus;
	manifest->memory_mib = resolved->memory_mib;
	if (vm->backend->ops->capabilities & BACKEND_PROCESS)
		add_drives(manifest, spec, names);
	add_interfaces(manifest, resolved);
	return manifest;
}
