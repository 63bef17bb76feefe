/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/hash_cache.h"

#include "base/file.h"
#include "base/lock.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>
#include <uthash.h>

/* The file: this line, then one for each disk, the one looked for least lately first. */
static const char heading[] = "hearth-hashes 1\n";

enum {
	NUMBERS = 5,         /* of an identity; times before the epoch as two's complement */
	LINE_MAX_SIZE = 192, /* so many of 20 digits, a digest, blanks */
	BYTES_MAX = HASH_CACHE_MAX * LINE_MAX_SIZE,
};

typedef struct Digest {
	DiskIdentity identity;
	char text[DISK_DIGEST_SIZE];
} Digest;

typedef struct Known {
	Digest digest;
	UT_hash_handle hh; /* in the order of use */
} Known;

struct HashCache {
	char *path;
	Lock lock;
	Known *known; /* under lock */
	bool changed; /* under lock: since it was last written */
	bool writing; /* under lock: somebody is */
};

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
static Known *find(HashCache *cache, const DiskIdentity *identity) lock_requires(cache->lock)
{
	Known *known;

	HASH_FIND(hh, cache->known, identity, sizeof *identity, known);
	return known;
}

static void add(HashCache *cache, Known *known) lock_requires(cache->lock)
{
	HASH_ADD(hh, cache->known, digest.identity, sizeof known->digest.identity, known);
}

static void drop(HashCache *cache, Known *known) lock_requires(cache->lock)
{
	HASH_DEL(cache->known, known);
	free(known);
}

/* It is the one looked for last. */
static void touch(HashCache *cache, Known *known) lock_requires(cache->lock)
{
	HASH_DEL(cache->known, known);
	add(cache, known);
}
/* NOLINTEND(readability-function-*) */

static void set(HashCache *cache, const DiskIdentity *identity, const char *digest)
	lock_requires(cache->lock)
{
	Known *known = find(cache, identity);

	if (known)
		drop(cache, known);
	else if (HASH_COUNT(cache->known) >= HASH_CACHE_MAX)
		drop(cache, cache->known);
	known = new0(Known);
	known->digest.identity = *identity;
	text_copy(known->digest.text, sizeof known->digest.text, digest);
	add(cache, known);
}

/* The next word of *@rest as a number. */
static bool read_number(char **rest, uint64_t *ret)
{
	const char *word = strsep(rest, " ");

	return word && text_to_u64(ret, word) == 0;
}

/* A damaged line is a disk that is read again, and a damaged digest one that no disk has. */
static void read_line(HashCache *cache, char *rest) lock_requires(cache->lock)
{
	uint64_t numbers[NUMBERS];

	for (size_t i = 0; i < NUMBERS; i++)
		if (!read_number(&rest, &numbers[i]))
			return;
	if (rest && disk_digest_is_valid(rest))
		set(cache,
		    &(DiskIdentity){ numbers[0], numbers[1], numbers[2], (int64_t)numbers[3],
				     (int64_t)numbers[4] },
		    rest);
}

HashCache *hash_cache_open(const char *path)
{
	HashCache *cache = new0(HashCache);
	cleanup_free char *text = NULL;
	char *rest, *line;

	cache->path = text_dup(path);
	lock_init(&cache->lock);
	file_clear_aside(path);
	if (file_read(&text, NULL, path, BYTES_MAX) < 0 ||
	    strncmp(text, heading, sizeof heading - 1) != 0)
		return cache;
	rest = text + sizeof heading - 1;
	lock_take(&cache->lock);
	while ((line = strsep(&rest, "\n")))
		read_line(cache, line);
	lock_drop(&cache->lock);
	return cache;
}

void hash_cache_close(HashCache *cache)
{
	if (!cache)
		return;
	lock_take(&cache->lock);
	while (cache->known)
		drop(cache, cache->known);
	lock_drop(&cache->lock);
	free(cache->path);
	free(cache);
}

bool hash_cache_find(HashCache *cache, const DiskIdentity *identity,
		     char ret[static DISK_DIGEST_SIZE])
{
	Known *known;
	bool found;

	lock_take(&cache->lock);
	known = find(cache, identity);
	found = known;
	if (known) {
		text_copy(ret, DISK_DIGEST_SIZE, known->digest.text);
		touch(cache, known);
	}
	lock_drop(&cache->lock);
	return found;
}

/* Takes what is to be written, to free; NULL: nothing, or somebody else does. */
static Digest *claim_writing(HashCache *cache, bool go_on, size_t *count)
{
	Digest *digests = NULL;

	lock_take(&cache->lock);
	if (go_on)
		cache->writing = false;
	if (cache->changed && !cache->writing) {
		cache->writing = true;
		cache->changed = false;
		*count = 0;
		digests = new0_array(Digest, HASH_COUNT(cache->known));
		for (const Known *known = cache->known; known; known = known->hh.next)
			digests[(*count)++] = known->digest;
	}
	lock_drop(&cache->lock);
	return digests;
}

static void write_file(const char *path, const Digest *digests, size_t count)
{
	size_t size = sizeof heading + count * LINE_MAX_SIZE;
	cleanup_free char *text = must_realloc(NULL, size, 1);
	char *at = text_append(text, text + size, "%s", heading);

	for (size_t i = 0; i < count; i++) {
		const DiskIdentity *identity = &digests[i].identity;

		at = text_append(at, text + size,
				 "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %s\n",
				 identity->device, identity->inode, identity->size,
				 (uint64_t)identity->mtime, (uint64_t)identity->ctime,
				 digests[i].text);
	}
	(void)!file_write_atomic(path, text, (size_t)(at - text));
}

static void save(HashCache *cache)
{
	size_t count;
	Digest *digests = claim_writing(cache, false, &count);

	while (digests) {
		write_file(cache->path, digests, count);
		free(digests);
		digests = claim_writing(cache, true, &count);
	}
}

void hash_cache_put(HashCache *cache, const DiskIdentity *identity, const char *digest)
{
	lock_take(&cache->lock);
	set(cache, identity, digest);
	cache->changed = true;
	lock_drop(&cache->lock);
	save(cache);
}

void hash_cache_forget(HashCache *cache, const DiskIdentity *identity)
{
	Known *known;

	lock_take(&cache->lock);
	known = find(cache, identity);
	if (known) {
		drop(cache, known);
		cache->changed = true;
	}
	lock_drop(&cache->lock);
	save(cache);
}

int hash_cache_read(HashCache *cache, int fd, const char *path, const DiskProgress *progress,
		    char ret[static DISK_DIGEST_SIZE], Error *err)
{
	DiskIdentity before, after;
	char digest[DISK_DIGEST_SIZE];
	bool settled;
	int r = disk_identity_get(&before, fd);

	if (r < 0)
		return disk_error(err, -r, "look at %s", path);
	settled = disk_identity_is_settled(&before);
	if (disk_hash(digest, fd, path, progress, err) < 0)
		return -1;
	r = disk_identity_get(&after, fd);
	if (r < 0)
		return disk_error(err, -r, "look at %s", path);
	if (!disk_identity_equal(&before, &after))
		return error_set(err, ERROR_ROOTFS, "%s was changed while it was read", path);

	if (settled)
		hash_cache_put(cache, &before, digest);
	text_copy(ret, DISK_DIGEST_SIZE, digest);
	return 0;
}
