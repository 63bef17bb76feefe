/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptors.h"
#include "base/text.h"
#include "runtime/images/image_tools.h"
#include "runtime/vm.h"

#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

enum {
	DISK_LOW_MIB = 1024,
	FILES_WANTED = 65536
};

/* What can be said of a backend without looking at the host. */
static BackendInfo known_of(const Runtime *runtime, VmBackend id)
{
	return (BackendInfo){
		.backend = id,
		.capabilities = runtime->backends[id]->ops->capabilities,
		.is_default = id == runtime->config.default_backend,
	};
}

void runtime_list_backends(Runtime *runtime)
{
	for (VmBackend id = VM_BACKEND_UNSET + 1; id < VM_BACKEND_COUNT_; id++) {
		if (!runtime->backends[id])
			continue;
		runtime->infos[id] = known_of(runtime, id);
		text_copy(runtime->infos[id].message, sizeof runtime->infos[id].message,
			  "not yet looked at");
	}
}

void runtime_probe(Runtime *runtime)
{
	for (VmBackend id = VM_BACKEND_UNSET + 1; id < VM_BACKEND_COUNT_; id++) {
		Backend *backend = runtime->backends[id];
		BackendInfo info;

		if (!backend)
			continue;
		info = known_of(runtime, id);
		backend->ops->probe(backend, &info);

		lock_take(&runtime->lock);
		runtime->infos[id] = info;
		lock_drop(&runtime->lock);
	}
	registry_touch_node(runtime->registry);
}

size_t runtime_backends(Runtime *runtime, BackendInfo *ret)
{
	size_t count = 0;

	lock_take(&runtime->lock);
	for (VmBackend id = VM_BACKEND_UNSET + 1; id < VM_BACKEND_COUNT_; id++)
		if (runtime->infos[id].backend)
			ret[count++] = runtime->infos[id];
	lock_drop(&runtime->lock);
	return count;
}

/* Each check looks at one thing and says what it saw. */
typedef void CheckFn(Runtime *runtime, DoctorCheck *ret);

static void check_store(Runtime *runtime, DoctorCheck *ret)
{
	static const char *const remedies[CAUSE_COUNT_] = {
		[CAUSE_EXHAUSTED] = "free space on the state directory's disk, or move its VMs "
				    "away: stop and destroy work; all else works again by itself "
				    "once there is room",
		[CAUSE_CORRUPT] = "stop hearthd and run it once with --rebuild, which keeps what "
				  "can be read and adopts what runs",
	};
	const char *remedy = "look at the health of the state directory's disk, and whether it is "
			     "mounted read-only; writes are tried again by themselves";
	char message[ERROR_MESSAGE_MAX];
	Error err = { 0 };

	if (!store_failing(runtime->store, &err)) {
		ret->status = CHECK_OK;
		text_copy(ret->message, sizeof ret->message, "the last write succeeded");
		return;
	}
	ret->status = err.cause == CAUSE_EXHAUSTED ? CHECK_DEGRADED : CHECK_MISSING;
	text_copy(ret->message, sizeof ret->message, error_message(&err, message));
	text_copy(ret->remedy, sizeof ret->remedy,
		  remedies[err.cause] ? remedies[err.cause] : remedy);
}

static void check_state_dir(Runtime *runtime, DoctorCheck *ret)
{
	struct statvfs fs;
	unsigned long long mib;

	if (statvfs(runtime->state_dir, &fs) < 0) {
		ret->status = CHECK_MISSING;
		(void)snprintf(ret->message, sizeof ret->message, "%s: %s", runtime->state_dir,
			       strerrordesc_np(errno));
		text_copy(ret->remedy, sizeof ret->remedy, "restore the state directory");
		return;
	}
	mib = (unsigned long long)fs.f_bavail * fs.f_frsize / (1024ULL * 1024);
	ret->status = mib >= DISK_LOW_MIB ? CHECK_OK : CHECK_DEGRADED;
	(void)snprintf(ret->message, sizeof ret->message, "%s has %llu MiB free",
		       runtime->state_dir, mib);
	if (ret->status != CHECK_OK)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "free space there, or move state_dir to a larger disk");
}

static void check_open_files(Runtime *runtime, DoctorCheck *ret)
{
	Error lacking = { 0 };
	size_t used, limit;

	descriptors_count(&used, &limit);
	ret->status = limit >= FILES_WANTED ? CHECK_OK : CHECK_DEGRADED;
	(void)snprintf(ret->message, sizeof ret->message, "%zu of %zu descriptors are in use", used,
		       limit);
	if (vm_check_descriptors(runtime, runtime->backends[VM_BACKEND_QEMU], &lacking) < 0) {
		ret->status = CHECK_MISSING;
		(void)snprintf(ret->message, sizeof ret->message,
			       "%zu of %zu descriptors are in use: no VM is started, no client "
			       "let in",
			       used, limit);
	}
	if (ret->status != CHECK_OK)
		(void)snprintf(
			ret->remedy, sizeof ret->remedy,
			"raise hearthd's limit of open files (LimitNOFILE) to %d for many VMs",
			FILES_WANTED);
}

static void check_keeper(Runtime *runtime, DoctorCheck *ret)
{
	const char *path = runtime->config.backend.keeper_path;

	ret->status = access(path, X_OK) == 0 ? CHECK_OK : CHECK_MISSING;
	(void)snprintf(ret->message, sizeof ret->message, "%s%s", path,
		       ret->status == CHECK_OK ? "" : " cannot be executed");
	if (ret->status != CHECK_OK)
		text_copy(
			ret->remedy, sizeof ret->remedy,
			"install hearth-keeper beside hearthd, or set keeper in the configuration");
}

static void check_launcher(Runtime *runtime, DoctorCheck *ret)
{
	Launcher *launcher = runtime->config.launcher;
	bool works;

	launcher_test(launcher);
	works = launcher_look(launcher, ret->message, sizeof ret->message);
	ret->status = !works                          ? CHECK_MISSING
		      : launcher_has_limits(launcher) ? CHECK_OK
						      : CHECK_DEGRADED;
	if (!works)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "give hearthd the host's control groups, writable, its pid namespace, "
			  "and systemd-run where systemd launches; or set launcher to child where "
			  "VMs may end with hearthd");
	else if (ret->status != CHECK_OK)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "VMs end with hearthd's control group, and have limits only in a jail: "
			  "set launcher to systemd or cgroup, with control groups of cpu, memory "
			  "and pids");
}

static void check_qemu(Runtime *runtime, DoctorCheck *ret)
{
	const BackendInfo *info = &runtime->infos[VM_BACKEND_QEMU];

	lock_take(&runtime->lock);
	ret->status = info->available ? CHECK_OK : CHECK_MISSING;
	text_copy(ret->message, sizeof ret->message,
		  info->available ? info->version : info->message);
	lock_drop(&runtime->lock);
	if (ret->status != CHECK_OK)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "install qemu-system-x86, or set qemu.binary in the configuration");
}

static void check_firecracker(Runtime *runtime, DoctorCheck *ret)
{
	const BackendInfo *info = &runtime->infos[VM_BACKEND_FIRECRACKER];

	lock_take(&runtime->lock);
	/* It is in no distribution: most nodes that do not run it do not want it. */
	ret->status = info->available    ? CHECK_OK
		      : info->is_default ? CHECK_MISSING
					 : CHECK_DEGRADED;
	text_copy(ret->message, sizeof ret->message,
		  info->available ? info->version : info->message);
	lock_drop(&runtime->lock);
	if (ret->status != CHECK_OK)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "for VMs on Firecracker: install 1.14.0 or newer, or set "
			  "firecracker.binary in the configuration, and give hearthd /dev/kvm");
}

static void check_jailer(Runtime *runtime, DoctorCheck *ret)
{
	const JailConfig *jail = &runtime->config.backend.jail;
	const BackendInfo *info = &runtime->infos[VM_BACKEND_FIRECRACKER];
	bool wanted, works;

	lock_take(&runtime->lock);
	wanted = info->is_default;
	works = info->available;
	text_copy(ret->message, sizeof ret->message, info->message);
	lock_drop(&runtime->lock);
	if (!jail->jailer_path) {
		ret->status = CHECK_DEGRADED;
		text_copy(ret->message, sizeof ret->message, "jailer.mode is off");
		text_copy(ret->remedy, sizeof ret->remedy,
			  "set jailer.mode to on: VMs of strangers are no safer than their VMM's "
			  "user");
		return;
	}
	ret->status = works ? CHECK_OK : wanted ? CHECK_MISSING : CHECK_DEGRADED;
	if (works)
		(void)snprintf(ret->message, sizeof ret->message, "%s ran Firecracker in %s",
			       jail->jailer_path, jail->dir);
	else
		text_copy(ret->remedy, sizeof ret->remedy,
			  "for VMs on Firecracker: install the jailer of the same release, run "
			  "hearthd as root, with control groups of cpu, memory and pids mounted");
}

static void check_kvm(Runtime *runtime, DoctorCheck *ret)
{
	const BackendInfo *info = &runtime->infos[VM_BACKEND_QEMU];

	lock_take(&runtime->lock);
	ret->status = strcmp(info->accelerator, "kvm") == 0 ? CHECK_OK : CHECK_DEGRADED;
	(void)snprintf(ret->message, sizeof ret->message, "%s",
		       ret->status == CHECK_OK ? "a guest ran under KVM" : info->message);
	lock_drop(&runtime->lock);
	if (ret->status != CHECK_OK)
		text_copy(
			ret->remedy, sizeof ret->remedy,
			"VMs on QEMU run emulated (TCG), several times slower: use a machine with "
			"hardware virtualisation that guests can use, and give hearthd /dev/kvm");
}

/* Looks at the network now. */
static NetworkInfo look_at_network(Runtime *runtime)
{
	Network *network = runtime->network;
	NetworkInfo info = {
		.on = network->ops->look,
		.bridged = runtime->config.network.bridge,
		.ready = true,
		.enforcement = network->ops->enforcement,
	};
	Error err = { 0 };
	int r;

	if (!info.on) {
		text_copy(info.message, sizeof info.message,
			  "off: what VMs have of interfaces stays down");
		return info;
	}
	if (runtime->config.network.pool4.family)
		(void)prefix_format(&runtime->config.network.pool4, info.pool4);
	if (runtime->config.network.pool6.family)
		(void)prefix_format(&runtime->config.network.pool6, info.pool6);
	r = network->ops->look(network, info.message, sizeof info.message, &err);
	info.ready = r >= 0;
	info.degraded = r > 0;
	if (r < 0)
		text_copy(info.message, sizeof info.message, err.what);
	return info;
}

void runtime_look_at_network(Runtime *runtime)
{
	NetworkInfo info = look_at_network(runtime);
	bool changed;

	lock_take(&runtime->lock);
	changed = info.ready != runtime->network_info.ready;
	runtime->network_info = info;
	lock_drop(&runtime->lock);
	if (changed)
		registry_touch_node(runtime->registry);
}

void runtime_network(Runtime *runtime, NetworkInfo *ret)
{
	lock_take(&runtime->lock);
	*ret = runtime->network_info;
	lock_drop(&runtime->lock);
}

/* After a change of the configuration, or of the host, VMs may have more than there is. */
static void check_capacity(Runtime *runtime, DoctorCheck *ret)
{
	const char *end = ret->message + sizeof ret->message;
	char *at = ret->message;
	NodeCapacity now;

	runtime_look_at_capacity(runtime);
	runtime_capacity(runtime, &now);
	for (Resource i = 0; i < RESOURCE_COUNT_; i++)
		if (now.taken.of[i] > now.allocatable.of[i])
			at = text_append(at, end, "%s%s: VMs have %llu of %llu",
					 at > ret->message ? "; " : "", resource_name(i),
					 (unsigned long long)now.taken.of[i],
					 (unsigned long long)now.allocatable.of[i]);
	ret->status = at > ret->message ? CHECK_DEGRADED : CHECK_OK;
	if (ret->status == CHECK_OK)
		text_copy(ret->message, sizeof ret->message,
			  "VMs have no more than there is for them");
	else
		text_copy(ret->remedy, sizeof ret->remedy,
			  "stop or destroy VMs, or see capacity.* of the configuration; none is "
			  "admitted that needs more");
}

/* Of which it is not known whether their VMM runs: poisoned, or silent since this agent began. */
static void check_vms(Runtime *runtime, DoctorCheck *ret)
{
	const char *end = ret->message + sizeof ret->message;
	char *at = ret->message;
	size_t count;
	cleanup_free Vm **all = vm_all(runtime, &count);

	for (size_t i = 0; i < count; i++) {
		cleanup_(record_unrefp) VmRecord *record = vm_published(all[i]);
		const VmCondition *runs = record ? record_condition(record, "VmmRunning") : NULL;

		if (runs && runs->status == CONDITION_UNKNOWN)
			at = text_append(at, end, "%s%s: %s", at > ret->message ? "; " : "",
					 record->vm_id, runs->reason);
		vm_unref(all[i]);
	}
	ret->status = at > ret->message ? CHECK_DEGRADED : CHECK_OK;
	if (ret->status == CHECK_OK)
		text_copy(ret->message, sizeof ret->message, "what each does is known");
	else
		text_copy(ret->remedy, sizeof ret->remedy,
			  "hearthctl diagnose VM says what went wrong; a poisoned one is to be "
			  "destroyed, once the cause is gone");
}

static void check_network(Runtime *runtime, DoctorCheck *ret)
{
	NetworkInfo info;

	runtime_look_at_network(runtime);
	runtime_network(runtime, &info);
	text_copy(ret->message, sizeof ret->message, info.message);
	ret->status = !info.ready ? CHECK_MISSING : info.degraded ? CHECK_DEGRADED : CHECK_OK;
	if (info.degraded)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "a kernel with BPF (tc, LPM tries, ring buffers), and "
			  "network.enforcement auto or bpf");
	if (!info.ready)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "start hearthd again: it puts back what others have taken away");
}

/* The first template of which no copy can be made; NULL: there is none. */
static const TemplateInfo *find_damaged(const TemplateInfo *infos, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (error_is_set(&infos[i].problem))
			return &infos[i];
	return NULL;
}

static void check_templates(Runtime *runtime, DoctorCheck *ret)
{
	cleanup_free char *vms = text_printf("%s/vms", runtime->state_dir);
	cleanup_free char *origins = text_printf("%s/templates", runtime->state_dir);
	cleanup_free TemplateInfo *infos = NULL;
	char message[ERROR_MESSAGE_MAX];
	const TemplateInfo *damaged;
	Error err = { 0 };
	size_t count;

	if (templates_list(runtime->templates, &infos, &count, &err) < 0) {
		ret->status = CHECK_MISSING;
		text_copy(ret->message, sizeof ret->message, error_message(&err, message));
		return;
	}
	if (image_tools_missing(ret->message, sizeof ret->message)) {
		ret->status = CHECK_DEGRADED;
		text_copy(ret->remedy, sizeof ret->remedy,
			  "install these programs: without them no image is grown or made of an "
			  "OCI image");
		return;
	}
	damaged = find_damaged(infos, count);
	if (damaged) {
		ret->status = CHECK_DEGRADED;
		text_copy(ret->message, sizeof ret->message,
			  error_message(&damaged->problem, message));
		(void)snprintf(ret->remedy, sizeof ret->remedy,
			       "delete template '%s' and import it again", damaged->name);
		return;
	}
	ret->status = disk_can_reflink(vms, origins) ? CHECK_OK : CHECK_DEGRADED;
	(void)snprintf(ret->message, sizeof ret->message, "%zu, of which drives are %s", count,
		       ret->status == CHECK_OK ? "reflinks" : "whole copies");
	if (ret->status != CHECK_OK)
		text_copy(ret->remedy, sizeof ret->remedy,
			  "XFS or btrfs for the state directory: a copy then takes no time and no "
			  "room");
}

size_t runtime_doctor(Runtime *runtime, DoctorCheck *ret, size_t max)
{
	static const struct {
		const char *name;
		CheckFn *check;
	} checks[] = {
		{ "store", check_store },
		{ "state_dir", check_state_dir },
		{ "open_files", check_open_files },
		{ "keeper", check_keeper },
		{ "launcher", check_launcher },
		{ "qemu", check_qemu },
		{ "firecracker", check_firecracker },
		{ "jailer", check_jailer },
		{ "kvm", check_kvm },
		{ "capacity", check_capacity },
		{ "network", check_network },
		{ "templates", check_templates },
		{ "vms", check_vms },
	};
	size_t count = 0;

	runtime_probe(runtime);
	for (size_t i = 0; i < array_size(checks) && count < max; i++) {
		DoctorCheck *check = &ret[count++];

		*check = (DoctorCheck){ 0 };
		text_copy(check->name, sizeof check->name, checks[i].name);
		checks[i].check(runtime, check);
	}
	return count;
}
