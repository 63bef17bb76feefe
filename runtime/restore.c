/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/guest_ask.h"
#include "runtime/network.h"
#include "runtime/snapshot.h"
#include "runtime/vm_snapshot.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/*
 * VMs that go on from a snapshot. What the snapshot says of the machine becomes part of the VM's
 * spec when it is created; its first start restores, any later one boots the disks it has by then.
 *
 * The guest is a copy of another: until its daemon has drawn new random numbers, set the clock and
 * taken the address that the VM was leased, the start has not succeeded.
 */

/* Beside a snapshot's own files: pages that VMs restored from it used first. */
static const char working_set_name[] = ".working-set";

enum {
	IDENTITY_TIMEOUT = 30 * USEC_PER_SEC,
	OVERRIDE_FIELD_BYTES = 80,
};

int restore_check_asked(const VmSpec *spec, Error *err)
{
	static const char why[] = "not together with restore_from: the snapshot has it";

	if (!spec->restore_from)
		return 0;
	if (spec->machine)
		(void)error_add_violation(err, "spec.machine", why);
	if (spec->boot)
		(void)error_add_violation(err, "spec.boot", why);
	if (spec->drives.count)
		(void)error_add_violation(err, "spec.drives", why);
	if (spec->network_interfaces.count)
		(void)error_add_violation(err, "spec.network_interfaces", why);
	if (spec->devices)
		(void)error_add_violation(err, "spec.devices", why);
	return error_is_set(err) ? -1 : 0;
}

/* The part of a spec that @from has and @to is to have. */
static void copy_members(VmSpec *to, const VmSpec *from, const char *const *names, size_t count)
{
	for (size_t i = 0; i < vm_spec_table.count; i++) {
		const FieldTable one = { "VmSpec", sizeof(VmSpec), &vm_spec_table.fields[i], 1 };

		for (size_t k = 0; k < count; k++)
			if (strcmp(vm_spec_table.fields[i].name, names[k]) == 0)
				fields_copy(&one, to, from);
	}
}

/* Disks are copies of the snapshot's; addresses are leased anew. */
static void make_own(VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		VmDrive *drive = (VmDrive *)spec->drives.items + i;

		field_set_text(&drive->path, NULL);
		field_set_text(&drive->template_id, NULL);
		drive->size_mib = 0;
		drive->from_snapshot = true;
	}
	for (size_t i = 0; i < spec->network_interfaces.count; i++) {
		VmInterface *interface = (VmInterface *)spec->network_interfaces.items + i;

		field_set_text(&interface->guest_mac, NULL);
		field_set_text(&interface->ipv4_address, NULL);
		field_set_text(&interface->ipv6_address, NULL);
	}
}

static const VmNetworkOverride *override_at(const VmRestoreFrom *from, size_t i)
{
	return (const VmNetworkOverride *)from->network_overrides.items + i;
}

static VmInterface *interface_of(const VmSpec *spec, const char *interface_id)
{
	for (size_t i = 0; i < spec->network_interfaces.count; i++) {
		VmInterface *interface = (VmInterface *)spec->network_interfaces.items + i;

		if (text_equal(interface->interface_id, interface_id))
			return interface;
	}
	return NULL;
}

static void check_overrides(const VmRestoreFrom *from, const VmSpec *snapshot, Error *err)
{
	char field[OVERRIDE_FIELD_BYTES];

	for (size_t i = 0; i < from->network_overrides.count; i++) {
		const char *id = override_at(from, i)->interface_id;

		(void)snprintf(field, sizeof field,
			       "spec.restore_from.network_overrides[%zu].interface_id", i);
		if (!interface_of(snapshot, id))
			(void)error_add_violation(err, field, "the snapshot has no interface '%s'",
						  id);
	}
}

static void override(VmSpec *spec)
{
	for (size_t i = 0; i < spec->restore_from->network_overrides.count; i++) {
		const VmNetworkOverride *from = override_at(spec->restore_from, i);
		VmInterface *to = interface_of(spec, from->interface_id);

		field_set_text(&to->ipv4_address, from->ipv4_address);
		field_set_text(&to->ipv6_address, from->ipv6_address);
	}
}

static VmSpec *merge(const VmSpec *asked, const VmSpec *snapshot)
{
	static const char *const theirs[] = { "machine", "boot", "drives", "network_interfaces",
					      "devices" };
	VmSpec *spec = spec_copy(asked);

	copy_members(spec, snapshot, theirs, array_size(theirs));
	if (!spec->guest_agent)
		spec->guest_agent = snapshot->guest_agent;
	make_own(spec);
	override(spec);
	return spec;
}

/* As it was last looked at; a new agent may not have yet. */
static BackendInfo info_of(Runtime *runtime, VmBackend id)
{
	Backend *backend = runtime->backends[id];
	BackendInfo info;

	lock_take(&runtime->lock);
	info = runtime->infos[id];
	lock_drop(&runtime->lock);
	if (!info.available && backend)
		backend->ops->probe(backend, &info);
	return info;
}

static SnapshotHost host_for(Runtime *runtime, VmBackend id)
{
	BackendInfo info = info_of(runtime, id);
	SnapshotHost host = runtime->host;

	host.available = info.available;
	text_copy(host.backend, sizeof host.backend, vm_backend_name(id));
	text_copy(host.message, sizeof host.message, info.message);
	if (!(info.capabilities & BACKEND_PROCESS)) /* no VMM: any will do */
		return host;
	text_copy(host.vmm_version, sizeof host.vmm_version, info.version);
	text_copy(host.accelerator, sizeof host.accelerator, info.accelerator);
	return host;
}

/* Two guests must not take each other's secrets, numbers and addresses for their own. */
static int check_identity(const VmSpec *spec, Error *err)
{
	if (spec->restore_from->allow_shared_identity ||
	    spec->guest_agent == VM_GUEST_AGENT_OPTIONAL ||
	    spec->guest_agent == VM_GUEST_AGENT_REQUIRED)
		return 0;
	return error_add_violation(
		err, "spec.restore_from.allow_shared_identity",
		"must be set, for nothing in the guest (spec.guest_agent) can give "
		"it random numbers, a clock and addresses of its own");
}

static int check_memory(const Runtime *runtime, const VmSpec *spec, VmBackend id, Error *err)
{
	VmMemoryBackend asked = spec->restore_from->memory_backend;
	const Backend *backend = runtime->backends[id];

	if (asked == VM_MEMORY_USERFAULTFD &&
	    !(backend && backend->ops->capabilities & BACKEND_PAGER))
		return error_set(err, ERROR_UNSUPPORTED, "memory by userfaultfd (%s)",
				 vm_backend_name(id));
	if (asked == VM_MEMORY_FILE && spec_huge_pages(spec))
		return error_add_violation(err, "spec.restore_from.memory_backend",
					   "memory of huge pages comes by userfaultfd");
	return 0;
}

static int check_asked(const VmRecord *record, const SnapshotManifest *manifest,
		       const VmSpec *snapshot, Error *err)
{
	const VmSpec *asked = record->spec;

	if (asked->backend && !text_equal(vm_backend_name(asked->backend), manifest->backend))
		(void)error_add_violation(err, "spec.backend", "the snapshot is %s's",
					  manifest->backend);
	if (!text_equal(manifest->tenant, "") && !text_equal(manifest->tenant, record->tenant))
		(void)error_add_violation(err, "spec.restore_from", "is another tenant's");
	check_overrides(asked->restore_from, snapshot, err);
	return error_is_set(err) ? -1 : 0;
}

/* Of @record, whose spec is as asked; @snapshot: the VM's that was snapshot. */
static int fill(Runtime *runtime, VmRecord *record, const SnapshotManifest *manifest,
		const VmSpec *snapshot, Error *err)
{
	VmBackend id = vm_backend_from_name(manifest->backend);
	VmResolved *resolved = record->status.resolved;
	SnapshotHost host = host_for(runtime, id);
	VmSpec *spec;

	if (check_asked(record, manifest, snapshot, err) < 0 ||
	    snapshot_check_host(manifest, &host, err) < 0)
		return -1;
	spec = merge(record->spec, snapshot);
	spec_unref(record->spec);
	record->spec = spec;
	resolved->backend = id;
	resolved->vcpus = spec_vcpus(spec);
	resolved->memory_mib = spec_memory_mib(spec);
	disks_set_condition(record, NULL);
	restore_set_condition(record);
	if (check_memory(runtime, spec, id, err) < 0 || check_identity(spec, err) < 0)
		return -1;
	return spec_check(spec, err);
}

static int fill_from(Runtime *runtime, VmRecord *record, const SnapshotInfo *info, Error *err)
{
	cleanup_(spec_unrefp) VmSpec *snapshot = NULL;

	if (info->state == SNAPSHOT_CREATING)
		return error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is being made",
				 info->snapshot_id, info->vm_id);
	if (info->state == SNAPSHOT_FAILED || !info->manifest) {
		*err = info->problem;
		return -1;
	}
	snapshot = snapshot_spec(info->manifest);
	if (!snapshot)
		return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_CORRUPT,
				       "the spec in its manifest is none");
	return fill(runtime, record, info->manifest, snapshot, err);
}

int restore_fill(Runtime *runtime, VmRecord *record, Error *err)
{
	const VmRestoreFrom *from = record->spec->restore_from;
	SnapshotInfo info = { .manifest = NULL };
	int r;

	if (!from)
		return 0;
	r = snapshots_get(runtime->snapshots, from->vm_id, from->snapshot_id, &info, err);
	if (r == 0)
		r = fill_from(runtime, record, &info, err);
	snapshot_info_clear(&info);
	return r;
}

void restore_set_condition(VmRecord *record)
{
	const VmRestoreFrom *from = record->spec->restore_from;
	const VmResolved *resolved = record->status.resolved;
	bool fresh = resolved->restored && !resolved->identity_shared;

	if (from)
		record_set_condition(record, "IdentityFresh",
				     fresh ? CONDITION_TRUE : CONDITION_FALSE,
				     fresh                         ? "Fresh"
				     : !resolved->restored         ? "NotRestoredYet"
				     : from->allow_shared_identity ? "Shared"
								   : "NotResumedYet",
				     NULL);
}

bool restore_is_due(const VmSpec *spec, const VmResolved *resolved)
{
	return spec->restore_from && !resolved->restored;
}

static bool is_paged(const VmSpec *spec)
{
	VmMemoryBackend asked = spec->restore_from->memory_backend;

	return asked == VM_MEMORY_USERFAULTFD || (!asked && spec_huge_pages(spec));
}

/* What the guest has of its network, until it is told otherwise. */
static void note_inner(VmResolved *resolved, const SnapshotManifest *manifest)
{
	for (size_t i = 0; i < manifest->interfaces.count; i++) {
		const SnapshotInterface *from = snapshot_interface_at(manifest, i);
		VmResolvedInterface *to = record_interface(resolved, from->interface_id);

		field_set_text(&to->inner_mac, from->guest_mac);
		field_set_text(&to->inner_ipv4_address, from->ipv4_address);
	}
}

void restore_forget(VmResolved *resolved)
{
	for (size_t i = 0; i < resolved->network_interfaces.count; i++) {
		VmResolvedInterface *interface =
			(VmResolvedInterface *)resolved->network_interfaces.items + i;

		field_set_text(&interface->inner_mac, NULL);
		field_set_text(&interface->inner_ipv4_address, NULL);
	}
	resolved->identity_shared = false;
}

int restore_prepare(Operation *operation, Error *err)
{
	Job *job = &operation->job;
	Restoring *restoring = operation->restoring = new0(Restoring);
	const DiskProgress progress = job_progress(job);
	const SnapshotHost host = host_for(operation->runtime, job->resolved->backend);
	const SnapshotAsk ask = {
		.vm_id = job->spec->restore_from->vm_id,
		.snapshot_id = job->spec->restore_from->snapshot_id,
		.host = &host,
		.progress = &progress,
	};
	const SnapshotManifest *manifest;
	const char *dir;

	if (diff_make_full(operation->runtime, job, err) < 0)
		return -1;
	job_step(job, "verify");
	if (snapshots_use(operation->runtime->snapshots, &ask, &restoring->use, err) < 0)
		return -1;
	manifest = snapshot_use_manifest(restoring->use);
	dir = snapshot_use_dir(restoring->use);
	for (size_t i = 0; i < manifest->drives.count; i++) {
		const char *name = snapshot_drive_at(manifest, i)->name;

		field_texts_add(&restoring->names, name ? name : "");
	}
	note_inner(job->resolved, manifest);
	restoring->working_set = text_printf("%s/%s", dir, working_set_name);
	restoring->from = (RestoreFrom){
		.dir = dir,
		.drive_names = &restoring->names,
		.paused = operation->then_pause,
		.paged = is_paged(job->spec),
		.working_set = restoring->working_set,
	};
	job->restore = &restoring->from;
	return 0;
}

int restore_disk(Job *job, const VmDrive *drive, Error *err)
{
	const DiskProgress progress = job_progress(job);
	const Restoring *restoring = container_of(job->restore, Restoring, from);
	const SnapshotClone clone = {
		.drive_id = drive->drive_id,
		.to = drive->path,
		.durable = true,
		.progress = &progress,
	};
	DiskCloneWay way;

	/* Whatever a start that failed has left of it. */
	if (unlink(drive->path) < 0 && errno != ENOENT)
		return disk_error(err, errno, "remove %s", drive->path);
	return snapshot_use_clone_disk(restoring->use, &clone, &way, err);
}

void restoring_free(Restoring *restoring)
{
	if (!restoring)
		return;
	field_texts_clear(&restoring->names);
	snapshot_use_end(restoring->use);
	free(restoring->working_set);
	free(restoring);
}

/* Of the interface that is part of a network: what it was leased takes the place of what it has. */
static int set_network(GuestLink *link, const GuestQuery *query, VmResolvedInterface *interface,
		       Error *err)
{
	cleanup_free char *ipv4 =
		interface->ipv4_address ? text_printf("%s/32", interface->ipv4_address) : NULL;
	cleanup_free char *ipv6 =
		interface->ipv6_address ? text_printf("%s/128", interface->ipv6_address) : NULL;
	const GuestInterface wanted = {
		.name = "eth0",
		.ipv4 = ipv4,
		.ipv6 = ipv6,
		.gateway4 = interface->ipv4_gateway,
		.gateway6 = interface->ipv6_gateway,
	};

	return ipv4 || ipv6 ? guest_set_network(link, query, &wanted, err) : 0;
}

static int make_fresh(Operation *operation, GuestLink *link, Error *err)
{
	Job *job = &operation->job;
	VmResolvedInterface *interface = network_interface(job->resolved);
	const GuestQuery query = {
		.timeout = IDENTITY_TIMEOUT,
		.cancel_fd = job->cancel_fd,
		.vmm = -1,
	};

	if (guest_reseed(link, &query, err) < 0 || guest_set_clock(link, &query, err) < 0)
		return -1;
	if (!interface)
		return 0;
	if (set_network(link, &query, interface, err) < 0)
		return -1;
	/* From now on it is what it says it is. */
	field_set_text(&interface->inner_ipv4_address, NULL);
	return network_attach(operation->vm->backend->network, job, err);
}

int restore_make_fresh(Operation *operation, Error *err)
{
	Job *job = &operation->job;
	const VmRestoreFrom *from = job->spec->restore_from;
	cleanup_(guest_link_unrefp) GuestLink *link = NULL;

	if (!from || !job->resolved->identity_shared || from->allow_shared_identity)
		return 0;
	job_step(job, "identity");
	link = vm_job_link(operation->vm, job);
	if (!link)
		return error_set(err, ERROR_GUEST_METADATA, "nothing leads to the guest's daemon");
	if (make_fresh(operation, link, err) < 0)
		return -1;
	job->resolved->identity_shared = false;
	return 0;
}
