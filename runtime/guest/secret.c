/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/secret.h"

#include "runtime/guest/dir.h"

#include <string.h>
#include <sys/stat.h>

bool guest_secret_is_name(const char *name)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = strlen(name);

	return length >= 1 && length <= 64 && *name != '.' && strspn(name, allowed) == length;
}

static int folder_of(char ret[static PATH_MAX], const char *dir)
{
	return snprintf(ret, PATH_MAX, "%s/secrets", dir) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* How many there are, but for @name. */
static int count_others(const char *folder, const char *name)
{
	cleanup_closedir DIR *dir = opendir(folder);
	const struct dirent *entry;
	int count = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, name) != 0)
			count++;
	return count;
}

int guest_secret_set(const char *dir, const char *name, const void *bytes, size_t length)
{
	char folder[PATH_MAX];
	int r = folder_of(folder, dir);

	if (r == 0)
		r = guest_dir_make(dir);
	if (r == 0 && mkdir(folder, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r == 0)
		r = count_others(folder, name);
	if (r >= GUEST_SECRETS_MAX)
		r = -ENOSPC;
	return r < 0 ? r : guest_dir_write(folder, name, bytes, length);
}

int guest_secret_remove(const char *dir, const char *name)
{
	char folder[PATH_MAX], path[PATH_MAX + 80];
	int r = folder_of(folder, dir);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
