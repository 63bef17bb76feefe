/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/cgroup.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Control groups of our own making, where no jailer makes them. */

enum {
	VALUE_MAX = 4096,
	PROCS_MAX = 1024 * 1024,
};

static int write_file(const char *dir, const char *file, const char *value)
{
	cleanup_free char *path = text_printf("%s/%s", dir, file);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

/* With version 1 a group of cpuset has no CPUs, and nobody can enter it, until it is given some. */
static int inherit(const char *dir, const char *parent, const char *file)
{
	cleanup_free char *ours = text_printf("%s/%s", dir, file);
	cleanup_free char *theirs = text_printf("%s/%s", parent, file);
	cleanup_free char *has = NULL, *value = NULL;

	if (file_read(&has, NULL, ours, VALUE_MAX) < 0 || (has[0] && has[0] != '\n'))
		return 0;
	if (file_read(&value, NULL, theirs, VALUE_MAX) < 0)
		return 0;
	return write_file(dir, file, value);
}

int cgroup_make_dir(const char *dir)
{
	static const char *const cpusets[] = { "cpuset.cpus", "cpuset.mems" };
	const char *slash = strrchr(dir, '/');
	cleanup_free char *parent = text_printf("%.*s", (int)(slash - dir), dir);
	int r = 0;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	for (size_t i = 0; i < array_size(cpusets) && r == 0; i++)
		r = inherit(dir, parent, cpusets[i]);
	return r;
}

int cgroup_move_all(const char *from, const char *to)
{
	cleanup_free char *path = text_printf("%s/cgroup.procs", from);
	cleanup_free char *text = NULL;
	char *rest, *pid;
	int r = file_read(&text, NULL, path, PROCS_MAX);

	for (pid = r < 0 ? NULL : strtok_r(text, "\n", &rest); pid && r == 0;
	     pid = strtok_r(NULL, "\n", &rest)) {
		r = write_file(to, "cgroup.procs", pid);
		if (r == -ESRCH) /* it has ended */
			r = 0;
	}
	return r;
}

/* With version 2 a group has the controllers that its parent hands on. */
static int hand_on(const char *dir)
{
	return write_file(dir, "cgroup.subtree_control", "+cpu +memory +pids");
}

static int make_in(const CgroupHost *host, const char *mount, const char *group)
{
	const char *slash = strrchr(group, '/');
	cleanup_free char *parent = text_printf("%s/%.*s", mount, (int)(slash - group), group);
	cleanup_free char *dir = text_printf("%s/%s", mount, group);
	/* Further up is whose who made it. */
	bool below_root = slash == strchr(group, '/');
	int r = host->version == 2 && below_root ? hand_on(mount) : 0;

	if (r == 0)
		r = cgroup_make_dir(parent);
	if (r == 0 && host->version == 2)
		r = hand_on(parent);
	return r == 0 ? cgroup_make_dir(dir) : r;
}

int cgroup_make(const CgroupHost *host, const char *group, const VmLimits *limits)
{
	CgroupSetting settings[CGROUP_WORDS_MAX];
	size_t mounts = host->version == 2 ? 1 : CGROUP_COUNT_;
	size_t count = cgroup_settings(host, limits, settings);
	int r = 0;

	for (size_t i = 0; i < mounts && r == 0; i++)
		r = make_in(host, host->mounts[i], group);
	for (size_t i = 0; i < count && r == 0; i++) {
		const CgroupSetting *setting = &settings[i];
		cleanup_free char *dir =
			text_printf("%s/%s", host->mounts[setting->controller], group);

		r = write_file(dir, setting->file, setting->value);
	}
	return r;
}
