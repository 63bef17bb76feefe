/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/launcher.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/process.h"
#include "base/text.h"

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

struct Launcher {
	LauncherKind kind;
	bool ends_with_pod; /* with its namespace of processes, whatever its groups */
	char *parent, *keepers, *keeper_path;
	CgroupHost host;
	char *enter[HIERARCHIES_MAX]; /* directories of the group of keepers */
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

/* The group of keepers in the hierarchy mounted at @dir: 0; -errno. */
static int add_hierarchy(Launcher *launcher, const char *dir)
{
	char *path;
	int r;

	if (launcher->count == HIERARCHIES_MAX)
		return -ENOSPC;
	path = text_printf("%s/%s", dir, launcher->keepers);
	launcher->enter[launcher->count++] = path;
	r = cgroup_make_dir(path);
	return r;
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

static LauncherKind choose(Launcher *launcher, const LauncherConfig *config)
{
	char why[ERROR_WHAT_MAX] = "";
	bool child = strcmp(config->wanted, "child") == 0;
	int r;

	if (child) {
		say(launcher, true, "keepers are children of the agent, as is asked for");
		return LAUNCHER_CHILD;
	}
	r = cgroup_find(&launcher->host, config->mounts, why, sizeof why);
	if (r == 0)
		r = make_groups(launcher, config->mounts, why, sizeof why);
	if (r < 0 && !config->in_pod && strcmp(config->wanted, "auto") == 0) {
		say(launcher, true, why);
		return LAUNCHER_CHILD;
	}
	say(launcher, r == 0, r < 0 ? why : "not yet tried");
	return LAUNCHER_CGROUP;
}

Launcher *launcher_new(const LauncherConfig *config)
{
	Launcher *launcher = new0(Launcher);

	lock_init(&launcher->lock);
	launcher->parent = text_dup(config->parent);
	launcher->keepers = text_printf("%s-keepers", config->parent);
	launcher->keeper_path = text_dup(config->keeper_path);
	launcher->ends_with_pod = config->in_pod && !has_host_pids();
	launcher->kind = choose(launcher, config);
	return launcher;
}

void launcher_free(Launcher *launcher)
{
	if (!launcher)
		return;
	for (size_t i = 0; i < launcher->count; i++)
		free(launcher->enter[i]);
	free(launcher->parent);
	free(launcher->keepers);
	free(launcher->keeper_path);
	free(launcher);
}

const char *launcher_name(const Launcher *launcher)
{
	static const char *const names[] = {
		[LAUNCHER_CHILD] = "child",
		[LAUNCHER_CGROUP] = "cgroup",
	};
	static_assert(array_size(names) == LAUNCHER_KIND_COUNT_, "name every launcher");

	return names[launcher ? launcher->kind : LAUNCHER_CHILD];
}

/* The first line of @text, /proc/PID/cgroup, that does not end in the group of keepers; NULL: all
 * do. Changes @text. */
static const char *astray(const Launcher *launcher, char *text)
{
	cleanup_free char *wanted = text_printf("/%s", launcher->keepers);
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
		(void)snprintf(message, sizeof message, "keepers run in the control group %s",
			       launcher->keepers);
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
	for (size_t i = 0; launcher && launcher->kind == LAUNCHER_CGROUP && i < launcher->count;
	     i++)
		words_add_option(words, "--enter", launcher->enter[i]);
}

bool launcher_has_limits(const Launcher *launcher)
{
	return launcher && launcher->kind == LAUNCHER_CGROUP;
}

static char *group_of(const Launcher *launcher, const char *instance)
{
	return text_printf("%s/%s", launcher->parent, instance);
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
	resolved->cgroup = group_of(launcher, resolved->instance_id);
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

int launcher_end_group(const Launcher *launcher, const char *instance, Error *err)
{
	cleanup_free char *group = NULL;
	int r;

	if (!launcher_has_limits(launcher))
		return 0;
	group = group_of(launcher, instance);
	r = cgroup_end(&launcher->host, group, END_TIMEOUT);
	return r < 0 ? error_set_errno(err, ERROR_VMM_FAILED, -r, "end control group %s", group)
		     : 0;
}
