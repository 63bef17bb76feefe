/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/image_path.h"

#include "base/text.h"

#include <string.h>

/* Is the resolved @path below the directory @dir, wherever that leads? */
static bool is_below(const char *path, const char *dir)
{
	cleanup_free char *real = realpath(dir, NULL);
	size_t length = real ? strlen(real) : 0;

	if (!real || strncmp(path, real, length) != 0)
		return false;
	return path[length] == '/' || real[length - 1] == '/';
}

int image_path_resolve(char **ret, const char *path, const char *dirs)
{
	cleanup_free char *real = realpath(path, NULL);
	cleanup_free char *copy = text_dup(dirs);
	char *rest = copy;
	const char *dir;

	if (!real)
		return -errno;
	if (!text_equal(dirs, "")) {
		while ((dir = strsep(&rest, ":")))
			if (*dir && is_below(real, dir))
				break;
		if (!dir)
			return -EPERM;
	}
	*ret = take_ptr(real);
	return 0;
}

const char *image_path_problem(int r)
{
	return r == -EPERM ? "in none of the directories that image_dirs names"
			   : strerrordesc_np(-r);
}
