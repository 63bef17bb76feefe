/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "netfw/tap.h"
#include "runtime/keeper_link.h"
#include "runtime/vm.h"
#include "runtime/vm_taps.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/*
 * What belongs to no VM goes. Proof that it was ours: it lies in vms/ of our
 * own state directory, which is locked, or in the directory of jails, under a
 * name such as only we give; a tap is in our group and has a name of our form,
 * as a chain of iptables has, and its comment; a process is killed only if that directory's
 * keeper.json names it with its start time, or it is in that instance's
 * control group.
 */

enum {
	KILL_TIMEOUT_SEC = 5,
	INSTANCE_DIGITS = 16
};

/* All digits of an instance id, or as many as a tap's name has. */
static bool is_mark(const char *name)
{
	size_t length = strspn(name, "0123456789abcdef");

	return !name[length] && (length == INSTANCE_DIGITS || length == TAP_DIGITS);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of a mark, and an instance id: does it begin with the mark? */
static int compare_mark(const void *mark, const void *instance)
{
	const char *digits = *(char *const *)mark;

	return strncmp(digits, *(char *const *)instance, strlen(digits));
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
	return clock_is_past((int64_t)st.st_ctim.tv_sec * USEC_PER_SEC, grace);
}

/* All that there is of an instance: its processes, what its backend made, its run directory last,
 * so that what could not be removed is found again. */
static int remove_orphan(Runtime *runtime, const char *instance, Error *err)
{
	cleanup_free char *path = text_printf("%s/vms/%s", runtime->state_dir, instance);
	int r = keeper_kill(path, (int64_t)KILL_TIMEOUT_SEC * USEC_PER_SEC);

	if (r < 0)
		return error_set_errno(err, ERROR_VMM_FAILED, -r, "end what runs in %s", path);
	for (VmBackend id = 0; id < VM_BACKEND_COUNT_; id++) {
		Backend *backend = runtime->backends[id];

		if (backend && backend->ops->remove_leftovers &&
		    backend->ops->remove_leftovers(backend, instance, err) < 0)
			return -1;
	}
	if (vm_taps_remove(runtime->network, instance, err) < 0 ||
	    network_remove(runtime->network, instance, err) < 0)
		return -1;
	r = file_remove_tree(path);
	return r < 0 ? error_set_errno(err, ERROR_VMM_FAILED, -r, "remove %s", path) : 0;
}

typedef struct Names {
	char **items;
	size_t count;
} Names;

static void names_add(void *user, const char *instance)
{
	Names *names = user;

	if (!is_mark(instance))
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
	if (runtime->network->ops->find)
		runtime->network->ops->find(runtime->network, names_add, ret);
}

static void free_all(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

/* Is the one at @at named once more, or more exactly, by the one behind it? */
static bool is_named_again(const Names *names, size_t at)
{
	const char *name = names->items[at];

	return at + 1 < names->count && strncmp(names->items[at + 1], name, strlen(name)) == 0;
}

static void sweep_one(Runtime *runtime, const char *instance)
{
	Error err = { 0 };
	bool failed = remove_orphan(runtime, instance, &err) < 0;
	const Leftover leftover = { .instance = instance, .err = failed ? &err : NULL };

	if (!failed)
		runtime->swept++;
	if (runtime->config.swept)
		runtime->config.swept(runtime->config.user, &leftover);
}

void runtime_sweep(Runtime *runtime, int64_t grace)
{
	size_t known_count;
	Names found = { 0 };
	char **known;

	/* In this order: a directory is made after its VM has entered the table, and is removed
	 * before the VM leaves it. */
	find_instances(runtime, grace, &found);
	known = known_instances(runtime, &known_count);
	if (found.count)
		qsort(found.items, found.count, sizeof *found.items, compare);
	for (size_t i = 0; i < found.count; i++)
		if (!is_named_again(&found, i) &&
		    !bsearch(&found.items[i], known, known_count, sizeof *known, compare_mark))
			sweep_one(runtime, found.items[i]);
	free_all(found.items, found.count);
	free_all(known, known_count);
}

uint64_t runtime_leftovers_removed(const Runtime *runtime)
{
	return runtime->swept;
}
