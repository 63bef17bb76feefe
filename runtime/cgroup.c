/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/cgroup.h"

#include "base/file.h"
#include "base/text.h"

#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <mntent.h>
#include <string.h>

enum {
	FILE_MAX = 64 * 1024,
	CPU_PERIOD = 100000, /* usec, the kernel's default */
	MILLIS = 1000,
	MIB = 1024 * 1024,
};

static const char *const names[] = {
	[CGROUP_CPU] = "cpu",
	[CGROUP_MEMORY] = "memory",
	[CGROUP_PIDS] = "pids",
};
static_assert(array_size(names) == CGROUP_COUNT_, "name every controller");

/* Is @name one of @text's words, which blanks and commas part? */
static bool has_word(const char *text, const char *name)
{
	size_t length = strlen(name);

	while (*text) {
		size_t n = strcspn(text, " ,\n");

		if (n == length && strncmp(text, name, n) == 0)
			return true;
		text += n + (text[n] != '\0');
	}
	return false;
}

/* Version 2 at @dir: are all controllers there to be used? */
static bool has_all(const char *dir)
{
	cleanup_free char *path = text_printf("%s/cgroup.controllers", dir);
	cleanup_free char *text = NULL;

	if (file_read(&text, NULL, path, FILE_MAX) < 0)
		return false;
	for (size_t i = 0; i < CGROUP_COUNT_; i++)
		if (!has_word(text, names[i]))
			return false;
	return true;
}

/* Notes what @mount is of: version 1 controllers, or a whole version 2. */
static void note_mount(CgroupHost *old, CgroupHost *new, const struct mntent *mount)
{
	if (strcmp(mount->mnt_type, "cgroup2") == 0 && !new->version && has_all(mount->mnt_dir)) {
		new->version = 2;
		for (size_t i = 0; i < CGROUP_COUNT_; i++)
			text_copy(new->mounts[i], CGROUP_PATH_MAX, mount->mnt_dir);
	}
	if (strcmp(mount->mnt_type, "cgroup") != 0)
		return;
	for (size_t i = 0; i < CGROUP_COUNT_; i++)
		if (!old->mounts[i][0] && has_word(mount->mnt_opts, names[i]))
			text_copy(old->mounts[i], CGROUP_PATH_MAX, mount->mnt_dir);
}

/*
 * The root of version 2 has no limits of its own, so any group that has one of memory is asked;
 * where there is none yet, whether the kernel can swap at all.
 */
static bool has_swap_new(const char *root)
{
	cleanup_closedir DIR *dir = opendir(root);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		cleanup_free char *memory = text_printf("%s/%s/memory.max", root, entry->d_name);
		cleanup_free char *swap = text_printf("%s/%s/memory.swap.max", root, entry->d_name);

		if (entry->d_name[0] != '.' && access(memory, F_OK) == 0)
			return access(swap, F_OK) == 0;
	}
	return access("/proc/swaps", F_OK) == 0;
}

static bool has_swap(const CgroupHost *host)
{
	const char *root = host->mounts[CGROUP_MEMORY];
	cleanup_free char *file = text_printf("%s/memory.memsw.limit_in_bytes", root);

	return host->version == 2 ? has_swap_new(root) : access(file, F_OK) == 0;
}

int cgroup_find(CgroupHost *ret, const char *mounts, char *why, size_t size)
{
	CgroupHost old = { .version = 1 }, new = { 0 };
	struct mntent mount;
	char line[4096];
	FILE *file = setmntent(mounts ? mounts : "/proc/self/mounts", "re");

	while (file && getmntent_r(file, &mount, line, sizeof line))
		note_mount(&old, &new, &mount);
	if (file)
		(void)endmntent(file);
	for (size_t i = 0; i < CGROUP_COUNT_ && !new.version; i++) {
		if (old.mounts[i][0])
			continue;
		(void)snprintf(why, size, "no control groups with the controller %s", names[i]);
		return -ENOENT;
	}
	*ret = new.version ? new : old;
	ret->swap = has_swap(ret);
	return 0;
}

static uint64_t quota(const VmLimits *limits)
{
	return (uint64_t)limits->cpu_millis * CPU_PERIOD / MILLIS;
}

/* In the order of writing: the limit of memory and swap may not be less than that of memory. */
static size_t settings_old(const CgroupHost *host, const VmLimits *limits,
			   CgroupSetting ret[static CGROUP_WORDS_MAX])
{
	const CgroupSetting settings[] = {
		{ CGROUP_CPU, "cpu.cfs_period_us", "" },
		{ CGROUP_CPU, "cpu.cfs_quota_us", "" },
		{ CGROUP_MEMORY, "memory.limit_in_bytes", "" },
		{ CGROUP_PIDS, "pids.max", "" },
		{ CGROUP_MEMORY, "memory.memsw.limit_in_bytes", "" },
	};

	memcpy(ret, settings, sizeof settings);
	(void)snprintf(ret[0].value, sizeof ret[0].value, "%d", CPU_PERIOD);
	(void)snprintf(ret[1].value, sizeof ret[1].value, "%" PRIu64, quota(limits));
	(void)snprintf(ret[2].value, sizeof ret[2].value, "%" PRIu64, limits->memory_mib * MIB);
	(void)snprintf(ret[3].value, sizeof ret[3].value, "%" PRIu32, limits->pids);
	(void)snprintf(ret[4].value, sizeof ret[4].value, "%" PRIu64, limits->memory_mib * MIB);
	return array_size(settings) - !host->swap;
}

static size_t settings_new(const CgroupHost *host, const VmLimits *limits,
			   CgroupSetting ret[static CGROUP_WORDS_MAX])
{
	const CgroupSetting settings[] = {
		{ CGROUP_CPU, "cpu.max", "" },
		{ CGROUP_MEMORY, "memory.max", "" },
		{ CGROUP_PIDS, "pids.max", "" },
		{ CGROUP_MEMORY, "memory.swap.max", "0" },
	};

	memcpy(ret, settings, sizeof settings);
	(void)snprintf(ret[0].value, sizeof ret[0].value, "%" PRIu64 " %d", quota(limits),
		       CPU_PERIOD);
	(void)snprintf(ret[1].value, sizeof ret[1].value, "%" PRIu64, limits->memory_mib * MIB);
	(void)snprintf(ret[2].value, sizeof ret[2].value, "%" PRIu32, limits->pids);
	return array_size(settings) - !host->swap;
}

size_t cgroup_settings(const CgroupHost *host, const VmLimits *limits,
		       CgroupSetting ret[static CGROUP_WORDS_MAX])
{
	return host->version == 2 ? settings_new(host, limits, ret)
				  : settings_old(host, limits, ret);
}

size_t cgroup_words(const CgroupHost *host, const VmLimits *limits,
		    char words[static CGROUP_WORDS_MAX][CGROUP_WORD_MAX])
{
	CgroupSetting settings[CGROUP_WORDS_MAX];
	size_t count = cgroup_settings(host, limits, settings);

	for (size_t i = 0; i < count; i++)
		(void)snprintf(words[i], CGROUP_WORD_MAX, "%s=%s", settings[i].file,
			       settings[i].value);
	return count;
}

/* The text in @file of the group, without its newline; NULL. To free. */
static char *read_text(const CgroupHost *host, CgroupController controller, const char *group,
		       const char *file)
{
	cleanup_free char *path = text_printf("%s/%s/%s", host->mounts[controller], group, file);
	char *text = NULL;

	if (file_read(&text, NULL, path, FILE_MAX) < 0)
		return NULL;
	if (strlen(text) && text[strlen(text) - 1] == '\n')
		text[strlen(text) - 1] = '\0';
	return text;
}

/* Is a line of @text the number @pid? */
static bool lists(const char *text, pid_t pid)
{
	cleanup_free char *wanted = text_printf("%d", (int)pid);

	return text && has_word(text, wanted);
}

int cgroup_verify(const CgroupHost *host, const char *group, const VmLimits *limits, pid_t pid,
		  Error *err)
{
	CgroupSetting settings[CGROUP_WORDS_MAX];
	size_t count = cgroup_settings(host, limits, settings);

	for (size_t i = 0; i < count; i++) {
		const CgroupSetting *setting = &settings[i];
		cleanup_free char *found =
			read_text(host, setting->controller, group, setting->file);

		if (!text_equal(found, setting->value))
			return error_set(err, ERROR_JAILER, "%s/%s/%s is '%.64s', not '%s'",
					 host->mounts[setting->controller], group, setting->file,
					 found ? found : "", setting->value);
	}
	for (CgroupController i = 0; i < CGROUP_COUNT_; i++) {
		cleanup_free char *members = read_text(host, i, group, "cgroup.procs");

		if (!lists(members, pid))
			return error_set(err, ERROR_JAILER, "the VMM, pid %d, is not in %s/%s",
					 (int)pid, host->mounts[i], group);
	}
	return 0;
}

/* The number in @file, or behind @key in it. */
static uint64_t read_number(const CgroupHost *host, CgroupController controller, const char *group,
			    const char *file, const char *key)
{
	cleanup_free char *text = read_text(host, controller, group, file);
	const char *at = text && key ? strstr(text, key) : text;

	return at ? strtoull(at + (key ? strlen(key) : 0), NULL, 10) : 0;
}

void cgroup_usage(CgroupUsage *ret, const CgroupHost *host, const char *group)
{
	bool new = host->version == 2;

	*ret = (CgroupUsage){
		.memory_bytes = read_number(host, CGROUP_MEMORY, group,
					    new ? "memory.current" : "memory.usage_in_bytes", NULL),
		.memory_peak_bytes =
			read_number(host, CGROUP_MEMORY, group,
				    new ? "memory.peak" : "memory.max_usage_in_bytes", NULL),
		.pids = read_number(host, CGROUP_PIDS, group, "pids.current", NULL),
	};
	if (new)
		ret->cpu_usec = read_number(host, CGROUP_CPU, group, "cpu.stat", "usage_usec ");
	ret->cpu_throttled_usec =
		new ? read_number(host, CGROUP_CPU, group, "cpu.stat", "throttled_usec ")
		    : read_number(host, CGROUP_CPU, group, "cpu.stat", "throttled_time ") / MILLIS;
}

char *cgroup_memory_events(const CgroupHost *host, const char *group)
{
	return text_printf("%s/%s/%s", host->mounts[CGROUP_MEMORY], group,
			   host->version == 2 ? "memory.events" : "memory.oom_control");
}

char *cgroup_own(const CgroupHost *host)
{
	cleanup_free char *text = NULL;
	char *rest, *line;

	if (file_read(&text, NULL, "/proc/self/cgroup", FILE_MAX) < 0)
		return NULL;
	/* "NUMBER:CONTROLLERS:PATH"; in version 2 without any controllers. */
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

		if (!path)
			continue;
		*list++ = *path++ = '\0';
		if (host->version == 2 ? !*list : has_word(list, names[CGROUP_MEMORY]))
			return text_printf("%s%s", host->mounts[CGROUP_MEMORY], path);
	}
	return NULL;
}
