/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/guest_ask.h"
#include "runtime/network.h"
#include "runtime/vm.h"

#include <string.h>

/*
 * VMs that go on from a snapshot. What the snapshot says of the machine becomes part of the VM's
 * spec when it is created; its first start restores, any later one boots the disks it has by then.
 *
 * The guest is a copy of another: until its daemon has drawn new random numbers, set the clock and
 * taken the address that the VM was leased, the start has not succeeded.
 */

enum {
	IDENTITY_TIMEOUT = 30 * USEC_PER_SEC,
};

static SnapshotKey key_of(const VmSpec *spec)
{
	return (SnapshotKey){ spec->restore_from->vm_id, spec->restore_from->snapshot_id };
}

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

static void clear(char **text)
{
	free(take_ptr(*text));
}

/* Disks are copies of the snapshot's; addresses are leased anew. */
static void make_own(VmSpec *spec)
{
	for (size_t i = 0; i < spec->drives.count; i++) {
		VmDrive *drive = (VmDrive *)spec->drives.items + i;

		clear(&drive->path);
		clear(&drive->template_id);
		drive->size_mib = 0;
		drive->from_snapshot = true;
	}
	for (size_t i = 0; i < spec->network_interfaces.count; i++) {
		VmInterface *interface = (VmInterface *)spec->network_interfaces.items + i;

		clear(&interface->guest_mac);
		clear(&interface->ipv4_address);
		clear(&interface->ipv6_address);
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
	return spec;
}

/* What the guest has of its network, until it is told otherwise. */
static void note_inner(VmResolved *resolved, const VmSpec *snapshot)
{
	for (size_t i = 0; i < snapshot->network_interfaces.count; i++) {
		const VmInterface *from = spec_interface(snapshot, i);
		VmResolvedInterface *to = record_interface(resolved, from->interface_id);

		to->inner_mac = text_dup(from->guest_mac);
		to->inner_ipv4_address = text_dup(from->ipv4_address);
	}
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

static int check_host(Runtime *runtime, const SnapshotManifest *manifest, Error *err)
{
	SnapshotHost host = { .cpu_model = runtime->config.cpu_model };
	BackendInfo info = info_of(runtime, manifest->backend);

	if (!info.available)
		return error_set(err, ERROR_UNSUPPORTED, "%s: %s",
				 vm_backend_name(manifest->backend), info.message);
	host.vmm_version = info.version;
	host.accelerator = info.accelerator;
	return snapshot_manifest_check(manifest, &host, err);
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

static int check_memory(const Runtime *runtime, const VmSpec *spec,
			const SnapshotManifest *manifest, Error *err)
{
	VmMemoryBackend asked = spec->restore_from->memory_backend;
	const Backend *backend = runtime->backends[manifest->backend];

	if (asked == VM_MEMORY_USERFAULTFD &&
	    !(backend && backend->ops->capabilities & BACKEND_PAGER))
		return error_set(err, ERROR_UNSUPPORTED, "memory by userfaultfd (%s)",
				 vm_backend_name(manifest->backend));
	if (asked == VM_MEMORY_FILE && spec_huge_pages(spec))
		return error_add_violation(err, "spec.restore_from.memory_backend",
					   "memory of huge pages comes by userfaultfd");
	return 0;
}

static int check_asked(const VmSpec *asked, const SnapshotManifest *manifest, const char *tenant,
		       Error *err)
{
	if (asked->backend && asked->backend != manifest->backend)
		(void)error_add_violation(err, "spec.backend", "the snapshot is %s's",
					  vm_backend_name(manifest->backend));
	if (!text_equal(manifest->tenant, "") && !text_equal(manifest->tenant, tenant))
		(void)error_add_violation(err, "spec.restore_from", "is another tenant's");
	return error_is_set(err) ? -1 : 0;
}

/* Of @record, whose spec is as asked. */
static int fill(Runtime *runtime, VmRecord *record, const SnapshotInfo *info, Error *err)
{
	const SnapshotManifest *manifest = info->manifest;
	VmResolved *resolved = record->status.resolved;
	VmSpec *spec;

	if (info->state == SNAPSHOT_CREATING)
		return error_set(err, ERROR_SNAPSHOT_FAILED, "it is being made");
	if (info->state == SNAPSHOT_DAMAGED) {
		*err = info->problem;
		return -1;
	}
	if (check_asked(record->spec, manifest, record->tenant, err) < 0 ||
	    check_host(runtime, manifest, err) < 0)
		return -1;
	spec = merge(record->spec, manifest->spec);
	spec_unref(record->spec);
	record->spec = spec;
	resolved->backend = manifest->backend;
	resolved->vcpus = spec_vcpus(spec);
	resolved->memory_mib = spec_memory_mib(spec);
	note_inner(resolved, manifest->spec);
	if (check_memory(runtime, spec, manifest, err) < 0)
		return -1;
	disks_set_condition(record, NULL);
	restore_set_condition(record);
	return check_identity(spec, err) < 0 || spec_check(spec, err) < 0 ? -1 : 0;
}

int restore_fill(Runtime *runtime, VmRecord *record, Error *err)
{
	SnapshotInfo info = { 0 };
	SnapshotKey key;
	int r;

	if (!record->spec->restore_from)
		return 0;
	key = key_of(record->spec);
	r = snapshots_get(runtime->snapshots, &key, &info, err);
	if (r == 0)
		r = fill(runtime, record, &info, err);
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

static bool go_on(void *user, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	return !job_cancelled(user);
}

/* Where the VMM that was snapshot had its drives. */
static void list_names(FieldTexts *names, const SnapshotManifest *manifest)
{
	for (size_t i = 0; i < manifest->drives.count; i++) {
		const SnapshotDrive *drive = (const SnapshotDrive *)manifest->drives.items + i;

		field_texts_add(names, drive->vmm_name ? drive->vmm_name : "");
	}
}

static bool is_paged(const VmSpec *spec)
{
	VmMemoryBackend asked = spec->restore_from->memory_backend;

	return asked == VM_MEMORY_USERFAULTFD || (!asked && spec_huge_pages(spec));
}

int restore_prepare(Operation *operation, Error *err)
{
	Job *job = &operation->job;
	Snapshots *snapshots = operation->runtime->snapshots;
	const SnapshotKey key = key_of(job->spec);
	const DiskProgress progress = { .step = go_on, .user = job };
	Restoring *restoring = new0(Restoring);
	SnapshotInfo info = { 0 };

	operation->restoring = restoring;
	job_step(job, "verify");
	if (snapshots_get(snapshots, &key, &info, err) < 0)
		return -1;
	list_names(&restoring->names, info.manifest);
	if (check_host(operation->runtime, info.manifest, err) < 0 ||
	    snapshots_verify(snapshots, &key, false, &progress, err) < 0) {
		snapshot_info_clear(&info);
		return -1;
	}
	snapshot_info_clear(&info);
	restoring->dir = snapshots_path(snapshots, &key, NULL);
	restoring->working_set = snapshots_path(snapshots, &key, SNAPSHOT_WORKING_SET);
	restoring->from = (RestoreFrom){
		.dir = restoring->dir,
		.drive_names = &restoring->names,
		.paused = operation->then_pause,
		.paged = is_paged(job->spec),
		.working_set = restoring->working_set,
	};
	job->restore = &restoring->from;
	return 0;
}

void restoring_free(Restoring *restoring)
{
	if (!restoring)
		return;
	field_texts_clear(&restoring->names);
	free(restoring->dir);
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
	clear(&interface->inner_ipv4_address);
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
