/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The digests of disks, so that none is read twice while it stays as it was.
 *
 * Keyed by identity (runtime/images/disk_identity.h), of which the device may be another one after
 * a reboot: then each disk is read once more. What was read before its identity was settled is not
 * kept. The cache is a file, replaced whole after each addition: of several that add at once one
 * writes for all. It is worth no more than the time it saves: what cannot be read of it is left
 * out, one that cannot be written is kept in memory, and at HASH_CACHE_MAX the disk that was looked
 * for least lately makes way. Safe from any thread.
 */

#include "runtime/images/disk_hash.h"
#include "runtime/images/disk_identity.h"

enum {
	HASH_CACHE_MAX = 4096,
};

typedef struct HashCache HashCache;

/* @path need not exist. */
HashCache *hash_cache_open(const char *path);
void hash_cache_close(HashCache *cache); /* accepts NULL */
DEFINE_CLEANUP(HashCache *, hash_cache_close);

/* Is the digest known? Waits for no disk. */
bool hash_cache_find(HashCache *cache, const DiskIdentity *identity,
		     char ret[static DISK_DIGEST_SIZE]);

/* @identity was settled before the bytes of @digest were read, and was found again after. */
void hash_cache_put(HashCache *cache, const DiskIdentity *identity, const char *digest);

/* If it is in doubt. */
void hash_cache_forget(HashCache *cache, const DiskIdentity *identity);

/**
 * hash_cache_read() - hash @fd now, and keep what comes out if it may be kept
 * @path:	for messages
 *
 * ROOTFS as disk_hash(), and if the disk was changed meanwhile.
 */
int hash_cache_read(HashCache *cache, int fd, const char *path, const DiskProgress *progress,
		    char ret[static DISK_DIGEST_SIZE], Error *err) must_check;
