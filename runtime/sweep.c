/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/keeper_link.h"
#include "runtime/vm.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/*
 * What belongs to no VM goes. Proof that it was ours: it lies in vms/ of our
 * own state directory, which is locked, under a name such as only we give; a
 * process is killed only if that directory's keeper.json names it with its
 * start time.
 */

enum {
	KILL_TIMEOUT_SEC = 5,
	INSTANCE_DIGITS = 16
};

static bool is_instance_id(const char *name)
{
	return strlen(name) == INSTANCE_DIGITS &&
	       strspn(name, "0123456789abcdef") == INSTANCE_DIGITS;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The instance ids of all VMs, sorted; array and texts to free. */
static char **known_instances(Runtime *runtime, size_t *count)
{
	cleanup_free Vm **all = vm_all(runtime, count);
	char **ids = new0_array(char *, *count);

	for (size_t i = 0; i < *count; i++) {
		ids[i] = text_dup(all[i]->instance_id);
		vm_unref(all[i]);
	}
	qsort(ids, *count, sizeof *ids, compare);
	return ids;
}

static bool is_old(const char *path, int64_t grace)
{
	struct stat st;

	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return false;
	return clock_wall_us() - (int64_t)st.st_ctim.tv_sec * USEC_PER_SEC >= grace;
}

static bool remove_orphan(const char *path)
{
	return keeper_kill(path, (int64_t)KILL_TIMEOUT_SEC * USEC_PER_SEC) == 0 &&
	       file_remove_tree(path) == 0;
}

/* The directories in @vms that look like ours and are older than @grace. */
static char **instances_in(const char *vms, int64_t grace, size_t *count)
{
	cleanup_closedir DIR *dir = opendir(vms);
	const struct dirent *entry;
	char **names = NULL;

	*count = 0;
	while (dir && (entry = readdir(dir))) {
		cleanup_free char *path = text_printf("%s/%s", vms, entry->d_name);

		if (!is_instance_id(entry->d_name) || !is_old(path, grace))
			continue;
		names = must_realloc(names, *count + 1, sizeof *names);
		names[(*count)++] = text_dup(entry->d_name);
	}
	return names;
}

static void free_all(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

size_t runtime_sweep(Runtime *runtime, int64_t grace)
{
	cleanup_free char *vms = text_printf("%s/vms", runtime->state_dir);
	size_t found_count, known_count, removed = 0;
	/* In this order: a directory is made after its VM has entered the table, and is removed
	 * before the VM leaves it. */
	char **found = instances_in(vms, grace, &found_count);
	char **known = known_instances(runtime, &known_count);

	for (size_t i = 0; i < found_count; i++) {
		cleanup_free char *path = text_printf("%s/%s", vms, found[i]);

		if (!bsearch(&found[i], known, known_count, sizeof *known, compare) &&
		    remove_orphan(path))
			removed++;
	}
	free_all(found, found_count);
	free_all(known, known_count);
	return removed;
}
