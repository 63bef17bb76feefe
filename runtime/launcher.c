/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/launcher.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/systemd.h"

#include <assert.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>

enum {
	HIERARCHIES_MAX = 24,
	FILE_MAX = 64 * 1024,
	TEST_TIMEOUT = 10 * USEC_PER_SEC,
	END_TIMEOUT = 10 * USEC_PER_SEC,
};

/* The inode of the host's first namespace of processes; the kernel's PROC_PID_INIT_INO. */
static const ino_t host_pids = 0xEFFFFFFC;

static const char slice[] = "hearth.slice";

struct Launcher {
	LauncherKind kind;
	bool ends_with_pod; /* with its namespace of processes, whatever its groups */
	char *service;      /* what systemd is asked for */
	char *declined;     /* why systemd, which is there, is not what launches; or NULL */
	char *keeper_path;
	char *parents[LAUNCHER_KIND_COUNT_]; /* of VMs' groups; below a hierarchy's root */
	char *keepers[LAUNCHER_KIND_COUNT_]; /* their own; NULL for children */
	CgroupHost host;                     /* version 0: there are no control groups */
	char *enter[HIERARCHIES_MAX];        /* directories of the group of keepers */
	size_t count;

	Lock lock;
	bool works;                   /* under lock */
	char message[ERROR_WHAT_MAX]; /* under lock */
};

bool launcher_in_pod(void)
{
	cleanup_free char *text = NULL;

	if (getenv("KUBERNETES_SERVICE_HOST"))
		return true;
	return file_read(&text, NULL, "/proc/self/cgroup", FILE_MAX) == 0 &&
	       strstr(text, "kubepods");
}

static bool has_host_pids(void)
{
	struct stat status;

	return stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == host_pids;
}

static void say(Launcher *launcher, bool works, const char *message)
{
	lock_take(&launcher->lock);
	launcher->works = works;
	text_copy(launcher->message, sizeof launcher->message, message);
	lock_drop(&launcher->lock);
}

static const char *keepers_of(const Launcher *launcher)
{
	return launcher->keepers[launcher->kind];
}

/* The group of keepers in the hierarchy mounted at @dir: 0; -errno. */
static int add_hierarchy(Launcher *launcher, const char *dir)
{
	char *path;

	if (launcher->count == HIERARCHIES_MAX)
		return -ENOSPC;
	path = text_printf("%s/%s", dir, keepers_of(launcher));
	launcher->enter[launcher->count++] = path;
	return cgroup_make_dir(path);
}

/* In every hierarchy: one that is left out holds the keeper in the agent's group. */
static int make_groups(Launcher *launcher, const char *mounts, char *why, size_t size)
{
	FILE *file = setmntent(mounts ? mounts : "/proc/self/mounts", "re");
	struct mntent mount;
	char line[4096];
	int r = 0;

	while (file && r == 0 && getmntent_r(file, &mount, line, sizeof line)) {
		if (strcmp(mount.mnt_type, "cgroup") != 0 && strcmp(mount.mnt_type, "cgroup2") != 0)
			continue;
		r = add_hierarchy(launcher, mount.mnt_dir);
		if (r < 0)
			(void)snprintf(why, size, "make %s: %s",
				       launcher->enter[launcher->count - 1], strerrordesc_np(-r));
	}
	if (file)
		(void)endmntent(file);
	return r;
}

static void forget_groups(Launcher *launcher)
{
	while (launcher->count > 0)
		free(launcher->enter[--launcher->count]);
}

/*
 * The service, unless its group is there, and in it the group of keepers. As what hands on
 * controllers has no processes in version 2, the service's own waits among the keepers: 0; -errno
 * with @why.
 */
static int make_service(const Launcher *launcher, char *why, size_t size)
{
	const char *root = launcher->host.mounts[CGROUP_MEMORY];
	cleanup_free char *dir = text_printf("%s/%s", root, launcher->parents[LAUNCHER_SYSTEMD]);
	cleanup_free char *keepers =
		text_printf("%s/%s", root, launcher->keepers[LAUNCHER_SYSTEMD]);
	int r = access(dir, F_OK) == 0 ? 0
				       : systemd_make_service(launcher->service, slice, why, size);

	if (r < 0)
		return r;
	r = cgroup_make_dir(keepers);
	if (r == 0)
		r = cgroup_move_all(dir, keepers);
	if (r < 0)
		(void)snprintf(why, size, "move the service's process to %s: %s", keepers,
			       strerrordesc_np(-r));
	return r;
}

/* The service that VMs are to be in is there, or made: 0; -errno with @why. */
static int ask_systemd(Launcher *launcher, char *why, size_t size)
{
	if (!systemd_is_init()) {
		text_copy(why, size, "process 1 is not systemd");
		return -ENOENT;
	}
	if (launcher->host.version != 2) {
		text_copy(why, size, "systemd delegates control groups of version 2 alone");
		return -ENOENT;
	}
	return make_service(launcher, why, size);
}

/* What a launcher of this kind needs is there, or made: 0; -errno with @why. */
static int try_kind(Launcher *launcher, const char *mounts, char *why, size_t size)
{
	int r = cgroup_find(&launcher->host, mounts, why, size);

	if (r == 0 && launcher->kind == LAUNCHER_SYSTEMD)
		r = ask_systemd(launcher, why, size);
	return r < 0 ? r : make_groups(launcher, mounts, why, size);
}

/* One that is asked for stays, working or not; and in a pod nothing is taken for it that would not
 * outlive it. */
static void choose(Launcher *launcher, const LauncherConfig *config)
{
	static const LauncherKind kinds[] = { LAUNCHER_SYSTEMD, LAUNCHER_CGROUP };
	bool any = strcmp(config->wanted, "auto") == 0;
	char why[ERROR_WHAT_MAX] = "";

	for (size_t i = 0; i < array_size(kinds); i++) {
		int r;

		launcher->kind = kinds[i];
		if (!any && strcmp(config->wanted, launcher_name(launcher)) != 0)
			continue;
		r = try_kind(launcher, config->mounts, why, sizeof why);
		say(launcher, r == 0, r < 0 ? why : "not yet tried");
		if (r == 0 || !any || (launcher->kind == LAUNCHER_CGROUP && config->in_pod))
			return;
		if (launcher->kind == LAUNCHER_SYSTEMD && systemd_is_init())
			launcher->declined = text_dup(why);
		forget_groups(launcher);
	}
	launcher->kind = LAUNCHER_CHILD;
	say(launcher, true, any ? why : "keepers are children of the agent, as is asked for");
	if (!any) /* to end what other launchers have begun */
		(void)!cgroup_find(&launcher->host, config->mounts, why, sizeof why);
}

Launcher *launcher_new(const LauncherConfig *config)
{
	Launcher *launcher = new0(Launcher);

	lock_init(&launcher->lock);
	launcher->service = text_printf("%s-vms.service", config->parent);
	launcher->parents[LAUNCHER_CHILD] = text_dup(config->parent);
	launcher->parents[LAUNCHER_CGROUP] = text_dup(config->parent);
	launcher->parents[LAUNCHER_SYSTEMD] = text_printf("%s/%s", slice, launcher->service);
	launcher->keepers[LAUNCHER_CGROUP] = text_printf("%s-keepers", config->parent);
	launcher->keepers[LAUNCHER_SYSTEMD] =
		text_printf("%s/keepers", launcher->parents[LAUNCHER_SYSTEMD]);
	launcher->keeper_path = text_dup(config->keeper_path);
	launcher->ends_with_pod = config->in_pod && !has_host_pids();
	choose(launcher, config);
	return launcher;
}

void launcher_free(Launcher *launcher)
{
	if (!launcher)
		return;
	forget_groups(launcher);
	for (LauncherKind i = 0; i < LAUNCHER_KIND_COUNT_; i++) {
		free(launcher->parents[i]);
		free(launcher->keepers[i]);
	}
	free(launcher->service);
	free(launcher->declined);
	free(launcher->keeper_path);
	free(launcher);
}

const char *launcher_name(const Launcher *launcher)
{
	static const char *const names[] = {
		[LAUNCHER_CHILD] = "child",
		[LAUNCHER_CGROUP] = "cgroup",
		[LAUNCHER_SYSTEMD] = "systemd",
	};
	static_assert(array_size(names) == LAUNCHER_KIND_COUNT_, "name every launcher");

	return names[launcher ? launcher->kind : LAUNCHER_CHILD];
}

const char *launcher_parent(const Launcher *launcher)
{
	return launcher->parents[launcher->kind];
}

/* The first line of @text, /proc/PID/cgroup, that does not end in the group of keepers; NULL: all
 * do. Changes @text. */
static const char *astray(const Launcher *launcher, char *text)
{
	cleanup_free char *wanted = text_printf("/%s", keepers_of(launcher));
	char *rest;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		const char *path = strrchr(line, ':');

		if (!path || strcmp(path + 1, wanted) != 0)
			return line;
	}
	return NULL;
}

void launcher_test(Launcher *launcher)
{
	cleanup_(words_clear) Words words = { 0 };
	ProcessResult result = { 0 };
	char message[ERROR_WHAT_MAX];
	const char *line = NULL;
	int r;

	if (!launcher || launcher->kind == LAUNCHER_CHILD || !launcher->count)
		return;
	words_add(&words, launcher->keeper_path);
	launcher_add_words(launcher, &words);
	words_add(&words, "--where");
	r = process_run(&result, words.items, TEST_TIMEOUT);
	if (r < 0)
		(void)snprintf(message, sizeof message, "run %s: %s", launcher->keeper_path,
			       strerrordesc_np(-r));
	else if (result.code != 0)
		(void)snprintf(message, sizeof message, "%.*s", (int)strcspn(result.output, "\n"),
			       result.output);
	else if ((line = astray(launcher, result.output)))
		(void)snprintf(message, sizeof message, "a keeper stays in %s", line);
	else
		(void)snprintf(message, sizeof message, "keepers run in the control group %s%s%s",
			       keepers_of(launcher), launcher->declined ? ", not by systemd: " : "",
			       launcher->declined ? launcher->declined : "");
	if (launcher->ends_with_pod)
		text_copy(message, sizeof message,
			  "keepers end with the pod's PID namespace: it needs hostPID");
	say(launcher, r == 0 && result.code == 0 && !line && !launcher->ends_with_pod, message);
	free(result.output);
}

bool launcher_look(Launcher *launcher, char *message, size_t size)
{
	bool works;

	if (!launcher) {
		text_copy(message, size, "keepers are children of the agent");
		return true;
	}
	lock_take(&launcher->lock);
	works = launcher->works;
	text_copy(message, size, launcher->message);
	lock_drop(&launcher->lock);
	return works;
}

void launcher_add_words(const Launcher *launcher, Words *words)
{
	for (size_t i = 0; launcher && launcher->kind != LAUNCHER_CHILD && i < launcher->count; i++)
		words_add_option(words, "--enter", launcher->enter[i]);
}

int launcher_prepare(const Launcher *launcher, Error *err)
{
	char why[ERROR_WHAT_MAX] = "";

	if (!launcher || launcher->kind != LAUNCHER_SYSTEMD)
		return 0;
	return make_service(launcher, why, sizeof why) < 0
		       ? error_set(err, ERROR_VMM_FAILED, "%s", why)
		       : 0;
}

bool launcher_has_limits(const Launcher *launcher)
{
	return launcher && launcher->kind != LAUNCHER_CHILD;
}

int launcher_make_group(const Launcher *launcher, Job *job, Error *err)
{
	VmResolved *resolved = job->resolved;
	VmLimits limits = spec_limits(job->spec);
	int r;

	if (!launcher_has_limits(launcher))
		return 0;
	if (launcher_end_group(launcher, resolved->instance_id, err) < 0)
		return -1;
	free(resolved->cgroup);
	resolved->cgroup = text_printf("%s/%s", launcher_parent(launcher), resolved->instance_id);
	r = cgroup_make(&launcher->host, resolved->cgroup, &limits);
	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "make the control group %s",
				       resolved->cgroup);
	if (!resolved->limits)
		resolved->limits = new0(VmLimits);
	*resolved->limits = limits;
	return 0;
}

void launcher_add_group(const Launcher *launcher, const Job *job, Words *words)
{
	cleanup_free char *events = NULL;
	size_t count;

	if (!launcher_has_limits(launcher))
		return;
	count = launcher->host.version == 2 ? 1 : CGROUP_COUNT_;
	for (size_t i = 0; i < count; i++)
		words_printf(words, "--vmm-enter", "%s/%s", launcher->host.mounts[i],
			     job->resolved->cgroup);
	events = cgroup_memory_events(&launcher->host, job->resolved->cgroup);
	words_add_option(words, "--memory-events", events);
}

int launcher_verify_group(const Launcher *launcher, const Job *job, Error *err)
{
	const VmResolved *resolved = job->resolved;
	Error found = { 0 };

	if (!launcher_has_limits(launcher))
		return 0;
	if (cgroup_verify(&launcher->host, resolved->cgroup, resolved->limits,
			  (pid_t)resolved->vmm_pid, &found) == 0)
		return 0;
	return error_set(err, ERROR_VMM_FAILED, "%s", found.what);
}

static int end_group(const Launcher *launcher, const char *parent, const char *instance, Error *err)
{
	cleanup_free char *group = text_printf("%s/%s", parent, instance);
	int r = cgroup_end(&launcher->host, group, END_TIMEOUT);

	return r < 0 ? error_set_errno(err, ERROR_VMM_FAILED, -r, "end control group %s", group)
		     : 0;
}

int launcher_end_group(const Launcher *launcher, const char *instance, Error *err)
{
	if (!launcher || !launcher->host.version)
		return 0;
	/* Also what an agent has made that had another launcher. */
	if (end_group(launcher, launcher->parents[LAUNCHER_SYSTEMD], instance, err) < 0)
		return -1;
	return end_group(launcher, launcher->parents[LAUNCHER_CGROUP], instance, err);
}
