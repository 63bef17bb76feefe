/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/vm.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
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
	if (!store_failing(runtime->store, ret->message, sizeof ret->message)) {
		ret->status = CHECK_OK;
		text_copy(ret->message, sizeof ret->message, "the last write succeeded");
		return;
	}
	ret->status = CHECK_MISSING;
	text_copy(ret->remedy, sizeof ret->remedy,
		  "free space on the state directory's disk, or look at its health; writes are "
		  "tried again by themselves");
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
	struct rlimit limit = { 0 };

	(void)runtime;
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	ret->status = limit.rlim_cur >= FILES_WANTED ? CHECK_OK : CHECK_DEGRADED;
	(void)snprintf(ret->message, sizeof ret->message, "%llu descriptors",
		       (unsigned long long)limit.rlim_cur);
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

static void check_network(Runtime *runtime, DoctorCheck *ret)
{
	Network *network = runtime->network;
	Error err = { 0 };
	int r;

	ret->status = CHECK_OK;
	if (!network->ops->look) {
		text_copy(ret->message, sizeof ret->message,
			  "off: what VMs have of interfaces stays down");
		return;
	}
	r = network->ops->look(network, ret->message, sizeof ret->message, &err);
	if (r > 0) {
		ret->status = CHECK_DEGRADED;
		text_copy(ret->remedy, sizeof ret->remedy,
			  "a kernel with BPF (tc, LPM tries, ring buffers), and "
			  "network.enforcement auto or bpf");
	}
	if (r >= 0)
		return;
	ret->status = CHECK_MISSING;
	text_copy(ret->message, sizeof ret->message, err.what);
	text_copy(ret->remedy, sizeof ret->remedy,
		  "start hearthd again: it puts back what others have taken away");
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
		{ "qemu", check_qemu },
		{ "firecracker", check_firecracker },
		{ "jailer", check_jailer },
		{ "kvm", check_kvm },
		{ "network", check_network },
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
