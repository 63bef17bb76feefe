/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/fifo.h"

#include <fcntl.h>
#include <sys/stat.h>

int fifo_open(int *ret, const char *path, uid_t owner)
{
	cleanup_close int fd = -1;
	struct stat st;

	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	if (mkfifo(path, 0600) < 0)
		return -errno;
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISFIFO(st.st_mode))
		return -EINVAL;
	if (owner != (uid_t)-1 && fchown(fd, owner, owner) < 0)
		return -errno;
	*ret = take_fd(fd);
	return 0;
}
