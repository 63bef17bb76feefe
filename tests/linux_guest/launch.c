/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What runtime/launcher.h does where process 1 is systemd. For a guest (tests/e2e/test_systemd.py).
 *
 *	launch look LAUNCHER		which one it is, and whether it works
 *	launch start LAUNCHER NAME WORD...	a keeper, with WORD... for a VMM in a group
 *	launch verify LAUNCHER NAME	is that VMM still in its group, with its limits?
 *	launch end LAUNCHER NAME	of its group
 *	launch jail LAUNCHER		does a jail work whose group is where the VMs' are?
 *
 * It says what it finds in a line, and judges nothing.
 */

#include "base/text.h"
#include "runtime/jail.h"
#include "runtime/keeper_link.h"
#include "runtime/launcher.h"
#include "runtime/vmm_process.h"

#include <string.h>
#include <sys/stat.h>

enum {
	CONSOLE_MAX = 64 * 1024,
	USER = 1900000008,
};

static const char keeper[] = "/bin/hearth-keeper";
static const VmLimits limits = { .cpu_millis = 500, .memory_mib = 32, .pids = 20 };

static int start(const Launcher *launcher, Job *job, char *const *vmm, Error *err)
{
	KeeperConfig config = {
		.keeper_path = keeper,
		.run_dir = job->run_dir,
		.console_max_bytes = CONSOLE_MAX,
		.vmm_argv = vmm,
	};
	char **groups;
	int r;

	(void)mkdir(job->run_dir, 0700);
	if (launcher_prepare(launcher, err) < 0 || launcher_make_group(launcher, job, err) < 0)
		return -1;
	groups = vmm_process_groups(launcher, job, NULL);
	config.groups = groups;
	r = vmm_process_launch(&config, job, err);
	words_free(groups);
	return r;
}

static int verify(const Launcher *launcher, Job *job, Error *err)
{
	cleanup_close int vmm = -1;
	KeeperState state;

	if (keeper_load(&state, job->run_dir) < 0 || keeper_open_vmm(&vmm, &state) < 0)
		return error_set(err, ERROR_VMM_FAILED, "the VMM has ended");
	job->resolved->vmm_pid = (uint32_t)state.vmm.pid;
	if (!launcher_has_limits(launcher))
		return 0;
	job->resolved->cgroup =
		text_printf("%s/%s", launcher_parent(launcher), job->resolved->instance_id);
	job->resolved->limits = new0(VmLimits);
	*job->resolved->limits = limits;
	return launcher_verify_group(launcher, job, err);
}

static int act(const char *verb, Launcher *launcher, const char *name, char *const *vmm, Error *err)
{
	cleanup_free char *run_dir = text_printf("/run/%s", name);
	VmLimits wanted = limits;
	VmSpec spec = { .limits = &wanted };
	VmResolved resolved = { .instance_id = text_dup(name) };
	Job job = { .vm_id = name, .run_dir = run_dir, .spec = &spec, .resolved = &resolved };
	int r = strcmp(verb, "start") == 0    ? start(launcher, &job, vmm, err)
		: strcmp(verb, "verify") == 0 ? verify(launcher, &job, err)
					      : launcher_end_group(launcher, name, err);

	free(resolved.instance_id);
	free(resolved.cgroup);
	free(resolved.limits);
	return r;
}

static void look(Launcher *launcher)
{
	char message[ERROR_WHAT_MAX];
	bool works;

	launcher_test(launcher);
	works = launcher_look(launcher, message, sizeof message);
	printf("launch: %s %s: %s\n", launcher_name(launcher), works ? "works" : "fails", message);
}

static void try_jail(const Launcher *launcher)
{
	const BackendConfig config = {
		.firecracker_path = "/bin/firecracker",
		.jail = { .jailer_path = "/bin/jailer",
			  .dir = "/jails",
			  .group = launcher_parent(launcher),
			  .probe_uid = USER },
	};
	BackendInfo info = { 0 };

	if (jail_probe(&info, &config) < 0)
		printf("launch: jail: a shortage\n");
	printf("launch: jail: %s\n", info.available ? "works" : info.message);
}

int main(int argc, char **argv)
{
	LauncherConfig config = { .parent = "hearth", .keeper_path = keeper };
	cleanup_(launcher_freep) Launcher *launcher = NULL;
	Error err = { 0 };

	if (argc < 3)
		return 2;
	config.wanted = argv[2];
	launcher = launcher_new(&config);
	if (strcmp(argv[1], "look") == 0)
		look(launcher);
	else if (strcmp(argv[1], "jail") == 0)
		try_jail(launcher);
	else if (argc > 3)
		printf("launch: %s %s: %s\n", argv[1], argv[3],
		       act(argv[1], launcher, argv[3], argv + 4, &err) == 0 ? "done" : err.what);
	return 0;
}
