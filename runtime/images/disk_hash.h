/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The SHA-256 of a disk, as `sha256sum` has it. Holes are not read: their zeros are hashed from
 * memory.
 */

#include "runtime/images/disk_file.h"

enum {
	DISK_DIGEST_SIZE = 65, /* lower-case hexadecimal and its NUL */
};

/* Has @text the form of one? */
bool disk_digest_is_valid(const char *text);

/**
 * disk_hash() - read all of @fd
 * @path:	for messages
 * @progress:	may be NULL
 *
 * ROOTFS: CORRUPT if the disk cannot be read or ends early, TIMEOUT if given up. Moves @fd's
 * offset.
 */
int disk_hash(char ret[static DISK_DIGEST_SIZE], int fd, const char *path,
	      const DiskProgress *progress, Error *err) must_check;

/* The same piece by piece, for those who have the bytes anyway. Of one thread at a time. */
typedef struct DiskHasher DiskHasher;

DiskHasher *disk_hasher_new(void);
void disk_hasher_free(DiskHasher *hasher); /* accepts NULL */
DEFINE_CLEANUP(DiskHasher *, disk_hasher_free);

void disk_hasher_add(DiskHasher *hasher, const void *bytes, size_t size);
void disk_hasher_add_zeros(DiskHasher *hasher, uint64_t size);
/* The digest of all that was added; nothing may be added afterwards. */
void disk_hasher_end(DiskHasher *hasher, char ret[static DISK_DIGEST_SIZE]);
