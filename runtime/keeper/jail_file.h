/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A file or block device of the host, made visible in a VMM's jail.
 *
 * It is bind-mounted: nothing is copied, and neither owner nor mode of what
 * other VMs may share ever changes. Where the jail's user may not use the file
 * by its mode, the mount is an ID-mapped one, in which the file's owner is that
 * user (Linux 5.12; ext4, XFS, Btrfs, tmpfs and others). A block device gets a
 * node of the jail's own instead. For single-threaded programs: it forks.
 */

#include "base/error.h"

#include <sys/stat.h>
#include <sys/types.h>

typedef struct JailFile {
	char *name; /* in the jail's root */
	char *path; /* absolute, without symbolic links: it is opened as that or not at all */
	bool read_only;
} JailFile;

/* One opened, on its way into a jail. */
typedef struct JailMount {
	dev_t device;
	mode_t device_mode;
	int tree; /* a mount that is attached to nothing; -1 for a device */
} JailMount;

/**
 * jail_file_open() - take hold of @file for the user @uid
 * @ret:	for jail_mount_release(), also after it has been placed
 * @err:	JAILER: missing, a link, neither file nor device, or of no use to that user
 */
int jail_file_open(JailMount *ret, const JailFile *file, uid_t uid, Error *err) must_check;

/**
 * jail_mount_place() - put it where the jail sees it
 * @root:	descriptor of the jail's root directory, in this process's mount namespace
 * @err:	JAILER
 */
int jail_mount_place(const JailMount *mount, const JailFile *file, int root, uid_t uid, Error *err)
	must_check;

void jail_mount_release(JailMount *mount);
