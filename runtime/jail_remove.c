/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/jail.h"
#include "runtime/launcher.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum {
	END_TIMEOUT = 10 * USEC_PER_SEC,
};

/* Calls @each with the name of every directory in @dir: 0, also if there is none, or -errno. */
static int each_directory(const char *dir, void (*each)(void *user, const char *name), void *user)
{
	cleanup_closedir DIR *open = opendir(dir);
	const struct dirent *entry;

	if (!open)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(open)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			each(user, entry->d_name);
	return 0;
}

typedef struct Removal {
	const char *dir, *instance;
	int result;
} Removal;

static void remove_of_program(void *user, const char *program)
{
	Removal *removal = user;
	cleanup_free char *path = text_printf("%s/%s/%s", removal->dir, program, removal->instance);
	int r = file_remove_tree(path);

	if (r < 0)
		removal->result = r;
}

/* The launcher knows where all of @instance's may be. */
static int end_group(const BackendConfig *config, const char *instance, Error *err)
{
	cleanup_free char *group = text_printf("%s/%s", config->jail.group, instance);
	CgroupHost cgroups;
	char why[256];
	int r;

	if (config->launcher)
		return launcher_end_group(config->launcher, instance, err);
	/* Where there are no control groups there never were jails. */
	if (cgroup_find(&cgroups, NULL, why, sizeof why) < 0)
		return 0;
	r = cgroup_end(&cgroups, group, END_TIMEOUT);
	return r < 0 ? error_set_errno(err, ERROR_JAILER, -r, "end control group %s", group) : 0;
}

int jail_remove(const BackendConfig *config, const char *instance, Error *err)
{
	Removal removal = { .dir = config->jail.dir, .instance = instance };
	int r;

	if (end_group(config, instance, err) < 0)
		return -1;
	/* Of whatever program: it may have had another name when the jail was made. */
	r = each_directory(config->jail.dir, remove_of_program, &removal);
	if (removal.result == 0)
		removal.result = r;
	return removal.result < 0 ? error_set_errno(err, ERROR_JAILER, -removal.result,
						    "remove the jail of %s", instance)
				  : 0;
}

typedef struct Listing {
	const char *dir, *program;
	int64_t grace;
	void (*each)(void *user, const char *instance);
	void *user;
} Listing;

static void list_instance(void *user, const char *instance)
{
	const Listing *listing = user;
	cleanup_free char *path = text_printf("%s/%s/%s", listing->dir, listing->program, instance);
	struct stat st;

	if (lstat(path, &st) == 0 &&
	    clock_is_past((int64_t)st.st_ctim.tv_sec * USEC_PER_SEC, listing->grace))
		listing->each(listing->user, instance);
}

static void list_program(void *user, const char *program)
{
	Listing *listing = user;
	cleanup_free char *dir = text_printf("%s/%s", listing->dir, program);

	listing->program = program;
	(void)!each_directory(dir, list_instance, listing); /* the next sweep sees them */
}

void jail_list(const BackendConfig *config, int64_t grace,
	       void (*each)(void *user, const char *instance), void *user)
{
	Listing listing = { .dir = config->jail.dir, .grace = grace, .each = each, .user = user };

	(void)!each_directory(config->jail.dir, list_program, &listing);
}
