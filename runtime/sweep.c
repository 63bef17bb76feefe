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
 * own state directory, which is locked, or in the directory of jails, under a
 * name such as only we give; a process is killed only if that directory's
 * keeper.json names it with its start time, or it is in that instance's
 * control group.
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

/* All that there is of an instance: its processes, what its backend made, its run directory last,
 * so that what could not be removed is found again. */
static bool remove_orphan(Runtime *runtime, const char *instance)
{
	cleanup_free char *path = text_printf("%s/vms/%s", runtime->state_dir, instance);

	if (keeper_kill(path, (int64_t)KILL_TIMEOUT_SEC * USEC_PER_SEC) < 0)
		return false;
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++) {
		Backend *backend = runtime->backends[id];
		Error err = { 0 };

		if (backend && backend->ops->remove_leftovers &&
		    backend->ops->remove_leftovers(backend, instance, &err) < 0)
			return false;
	}
	return file_remove_tree(path) == 0;
}

typedef struct Names {
	char **items;
	size_t count;
} Names;

static void names_add(void *user, const char *instance)
{
	Names *names = user;

	if (!is_instance_id(instance))
		return;
	names->items = must_realloc(names->items, names->count + 1, sizeof *names->items);
	names->items[names->count++] = text_dup(instance);
}

/* The instances of which there is something older than @grace; some perhaps twice. */
static void find_instances(Runtime *runtime, int64_t grace, Names *ret)
{
	cleanup_free char *vms = text_printf("%s/vms", runtime->state_dir);
	cleanup_closedir DIR *dir = opendir(vms);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		cleanup_free char *path = text_printf("%s/%s", vms, entry->d_name);

		if (is_old(path, grace))
			names_add(ret, entry->d_name);
	}
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++) {
		Backend *backend = runtime->backends[id];

		if (backend && backend->ops->find_leftovers)
			backend->ops->find_leftovers(backend, grace, names_add, ret);
	}
}

static void free_all(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

size_t runtime_sweep(Runtime *runtime, int64_t grace)
{
	size_t known_count, removed = 0;
	Names found = { 0 };
	char **known;

	/* In this order: a directory is made after its VM has entered the table, and is removed
	 * before the VM leaves it. */
	find_instances(runtime, grace, &found);
	known = known_instances(runtime, &known_count);
	for (size_t i = 0; i < found.count; i++)
		if (!bsearch(&found.items[i], known, known_count, sizeof *known, compare) &&
		    remove_orphan(runtime, found.items[i]))
			removed++;
	free_all(found.items, found.count);
	free_all(known, known_count);
	return removed;
}
