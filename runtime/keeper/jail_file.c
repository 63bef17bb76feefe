/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/jail_file.h"

#include "runtime/keeper/idmap.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* The path was resolved when it was checked: a link in it now has been put there since. */
static int open_exactly(const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* May @uid, with the group of the same number, do by mode what is wanted? */
static bool may_use(const struct stat *st, uid_t uid, bool read_only)
{
	mode_t wanted = read_only ? S_IROTH : S_IROTH | S_IWOTH;

	if (st->st_uid == uid)
		wanted <<= 6;
	else if (st->st_gid == uid)
		wanted <<= 3;
	return (st->st_mode & wanted) == wanted;
}

static int make_tree(JailMount *ret, const JailFile *file, int fd, const struct stat *st, uid_t uid,
		     Error *err)
{
	struct mount_attr attributes = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
			    (file->read_only ? MOUNT_ATTR_RDONLY : 0),
	};
	bool mapped = !may_use(st, uid, file->read_only);
	cleanup_close int map = -1, tree = -1;
	int r;

	tree = open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "bind %s", file->path);
	if (mapped) {
		r = idmap_open(&map, st->st_uid, st->st_gid, uid);
		if (r < 0)
			return error_set_errno(err, ERROR_JAILER, -r, "map the owner of %s",
					       file->path);
		attributes.attr_set |= MOUNT_ATTR_IDMAP;
		attributes.userns_fd = (unsigned)map;
	}
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
		return error_set_errno(err, ERROR_JAILER, errno,
				       mapped ? "%s is not for uid %u to use, and its file system "
						"maps no owners"
					      : "set up the mount of %s for uid %u",
				       file->path, (unsigned)uid);
	ret->tree = take_fd(tree);
	return 0;
}

int jail_file_open(JailMount *ret, const JailFile *file, uid_t uid, Error *err)
{
	cleanup_close int fd = open_exactly(file->path);
	struct stat st;

	*ret = (JailMount){ .tree = -1 };
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "open %s", file->path);
	if (S_ISREG(st.st_mode))
		return make_tree(ret, file, fd, &st, uid, err);
	if (!S_ISBLK(st.st_mode))
		return error_set(err, ERROR_JAILER, "%s is neither a file nor a block device",
				 file->path);
	ret->device = st.st_rdev;
	ret->device_mode = file->read_only ? S_IRUSR : S_IRUSR | S_IWUSR;
	return 0;
}

static int place_device(const JailMount *mount, const JailFile *file, int root, uid_t uid,
			Error *err)
{
	(void)unlinkat(root, file->name, 0); /* an earlier one's, which the VMM has let go of */
	if (mknodat(root, file->name, S_IFBLK | mount->device_mode, mount->device) < 0 ||
	    fchownat(root, file->name, uid, uid, AT_SYMLINK_NOFOLLOW) < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "make a node of %s", file->path);
	return 0;
}

/* A place to mount on: an empty file, perhaps of an earlier mount. */
static int open_place(int root, const char *name)
{
	int fd = openat(root, name, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd >= 0 || errno != EEXIST)
		return fd;
	fd = openat(root, name, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
		return fd;
	(void)close(fd);
	errno = EEXIST;
	return -1;
}

int jail_mount_place(const JailMount *mount, const JailFile *file, int root, uid_t uid, Error *err)
{
	cleanup_close int place = -1;

	if (mount->tree < 0)
		return place_device(mount, file, root, uid, err);
	place = open_place(root, file->name);
	if (place < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "make /%s in the jail",
				       file->name);
	if (move_mount(mount->tree, "", place, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return error_set_errno(err, ERROR_JAILER, errno, "mount %s in the jail",
				       file->path);
	return 0;
}

void jail_mount_release(JailMount *mount)
{
	closep(&mount->tree);
	mount->tree = -1;
}
