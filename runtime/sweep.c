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

size_t runtime_sweep(Runtime *runtime, int64_t grace)
{
	cleanup_free char *vms = text_printf("%s/vms", runtime->state_dir);
	cleanup_closedir DIR *dir = opendir(vms);
	size_t count, removed = 0;
	const struct dirent *entry;
	char **known;

	if (!dir)
		return 0;
	/* A directory is made only after its VM has entered the table: so the table is read after
	 * the directory was opened, and a name found in neither reading is nobody's. */
	known = known_instances(runtime, &count);
	while ((entry = readdir(dir))) {
		cleanup_free char *path = text_printf("%s/%s", vms, entry->d_name);
		const char *name = entry->d_name;

		if (!is_instance_id(name) || !is_old(path, grace))
			continue;
		if (!bsearch(&name, known, count, sizeof *known, compare) && remove_orphan(path))
			removed++;
	}
	for (size_t i = 0; i < count; i++)
		free(known[i]);
	free(known);
	return removed;
}
